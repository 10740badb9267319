"""`python -m arriero.cli`."""

import sys

from arriero.cli.entry import main

if __name__ == "__main__":
    sys.exit(main())

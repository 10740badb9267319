"""arriero: the whole Llama 2 system. Raw text in, an aligned chat model out."""

from arriero._version import __version__

__all__ = ["__version__"]

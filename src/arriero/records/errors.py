"""Errors that a user can cause and mend."""


class UserError(Exception):
    """One clear line that names the thing and the mend.

    The command line prints it without a traceback and exits with code 2. Raise it only for what
    a user can put right: a missing path, a malformed row, an unknown key, a checkpoint of another
    shape, too little disk. A fault of ours stays an ordinary exception.
    """


class Stopped(Exception):  # noqa: N818 - a wish, no error
    """Somebody asked the process to stop, and what it was doing is saved.

    Attributes:
        signal: the number of the signal; shells expect the exit code 128 + signal.
    """

    def __init__(self, signal: int) -> None:
        super().__init__(f"stopped by signal {signal}")
        self.signal = signal

"""Errors that a user can cause and mend."""


class UserError(Exception):
    """One clear line that names the thing and the mend.

    The command line prints it without a traceback and exits with code 2. Raise it only for what
    a user can put right: a missing path, a malformed row, an unknown key, a checkpoint of another
    shape, too little disk. A fault of ours stays an ordinary exception.
    """

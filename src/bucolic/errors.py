"""The errors a user can cause or meet, each with the exit code that tells callers what to do.

Each message is one line: what is wrong, where, and what to do about it.
"""


class BucolicError(Exception):
    """Root of every error that ends in one clear line instead of a traceback."""

    exit_code = 1
    kind = "error"
    retryable = False


class ParamsError(BucolicError):
    """params.yaml, or a value given on the command line, cannot be used as it stands."""

    exit_code = 2
    kind = "params"


class DataError(BucolicError):
    """A file or folder is missing, broken, or not what its reader expects."""

    exit_code = 3
    kind = "data"


class TransientError(BucolicError):
    """Something that may pass by itself: a busy lock, a server that is away (EX_TEMPFAIL)."""

    exit_code = 75
    kind = "transient"
    retryable = True

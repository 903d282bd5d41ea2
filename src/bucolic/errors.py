"""The errors that the public API raises; what they mean is said where they are defined."""

from bucolic.base.errors import BucolicError, DataError, ParamsError, TransientError

__all__ = ["BucolicError", "DataError", "ParamsError", "TransientError"]

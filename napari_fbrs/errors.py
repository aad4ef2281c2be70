"""Errors a user can act on: the message says what was found and what to do."""


class FBRSError(Exception):
    """Base of the errors that are the input's or the machine's, not a defect of the program."""


class InputError(FBRSError, ValueError):
    """An image, a click list or an option cannot be used as given."""


class ModelFileError(FBRSError, ValueError):
    """A model file is missing, damaged, or not a model of this package."""


class MemoryShortageError(FBRSError, MemoryError):
    """A device, or the machine, has too little memory for a computation."""


class CancelledError(FBRSError):
    """The computation was called off before it was finished."""


class PredictionError(FBRSError, ArithmeticError):
    """The network gave something that is no probability."""

"""What can go wrong through no fault of the code: each message is one line that names the remedy."""


class DoprestoreError(Exception):
    """Base of the errors a user can cause; the command line prints it as one line and exits with 1."""


class UsageError(DoprestoreError):
    """A combination of settings that makes no sense; the command line exits with 2."""


class InputError(DoprestoreError):
    """A file that is missing, unreadable, or not what the command needs."""


class OutputError(DoprestoreError):
    """A result that cannot be written where it was asked for."""


class DestinationError(OutputError, UsageError):
    """A place where no result may go: the input, a file that exists, no folder, no known format; exits with 2."""


class NumericalError(DoprestoreError):
    """The optimisation produced NaN or infinity."""

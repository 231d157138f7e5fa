"""Errors that are the user's to mend: one line that names the file, the value and the next step.

Library code raises them; the command line prints the line and exits with code 2.
"""


class AcclimateError(Exception):
    """Base of every error that a user can mend. Anything else that escapes is a bug."""


class DataError(AcclimateError):
    """Images, labels, manifests or splits that cannot be used as they are."""


class BackboneError(AcclimateError):
    """A backbone that cannot be found, loaded or used for what was asked."""


class ConfigError(AcclimateError, ValueError):
    """An option with a value that is out of range, unknown, or at odds with another."""


class RunError(AcclimateError):
    """A run folder that cannot be read, written, resumed or matched to what was asked."""


class TrainingError(AcclimateError):
    """Training that cannot go on, such as a loss that is not finite."""


class LanguageModelError(AcclimateError):
    """A language model that does not answer, or not in a way that can be read."""


class MissingInputError(AcclimateError, AttributeError):
    """A method that asks a batch for a field which its inputs do not name."""

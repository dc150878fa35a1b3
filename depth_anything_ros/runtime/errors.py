"""Exceptions about models, as one family."""


class ModelError(RuntimeError):
    """A model cannot be used: missing, damaged, without a record, or contradicting it. The message names the fix."""


class UnavailableError(ModelError):
    """A backend cannot run any model here: its library or its device is missing."""


class WrongOutputError(ModelError):
    """A network's output is not a map of its input."""


class StaleEngineError(ModelError):
    """A stored engine is intact, but the library that built it rejects it. It must be rebuilt."""


class UnavailablePrecisionError(UnavailableError):
    """A backend runs here, but not in this precision: an instruction, or a package for the build, is missing."""


def in_a_line(error: Exception) -> str:
    """Return a library's message, which can have several lines, as one line."""
    return " ".join(str(error).split())

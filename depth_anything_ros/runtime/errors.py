"""What can go wrong with a model, as one family of exceptions."""


class ModelError(RuntimeError):
    """A model cannot be used: absent, damaged, undescribed, or not what its record says. The message says the fix."""


class UnavailableError(ModelError):
    """A backend cannot run here, whatever the model: its library or its device is missing."""


class WrongOutputError(ModelError):
    """A network ran, and what came out is no map of its input."""


class StaleEngineError(ModelError):
    """A stored engine is whole, and the library that made it refuses it all the same; it must be built anew."""


class UnavailablePrecisionError(UnavailableError):
    """A backend can run here, but not in this precision: an instruction, or what would build the engine, is missing."""


def in_a_line(error: Exception) -> str:
    """A library's own words, which may have several lines, in one."""
    return " ".join(str(error).split())

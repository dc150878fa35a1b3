"""What can go wrong with a model, as one exception."""


class ModelError(RuntimeError):
    """A model cannot be used: absent, damaged, undescribed, or not what its record says. The message says the fix."""

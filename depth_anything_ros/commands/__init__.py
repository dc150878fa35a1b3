"""The sub-commands of `depth_anything_ros`: one module each, with `add_arguments` and `run`."""


class CommandError(RuntimeError):
    """An error that the user can fix. Its message is printed as one line; ``status`` is the exit status."""

    def __init__(self, message: str, status: int = 1) -> None:
        super().__init__(message)
        self.status = status

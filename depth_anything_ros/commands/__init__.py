"""One module a sub-command of `depth_anything_ros`, each with `add_arguments` and `run`."""


class CommandError(RuntimeError):
    """An error a user can mend; its message is printed as one line, and ``status`` is the exit status."""

    def __init__(self, message: str, status: int = 1) -> None:
        super().__init__(message)
        self.status = status

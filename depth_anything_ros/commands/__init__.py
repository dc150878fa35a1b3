"""One module a sub-command of `depth_anything_ros`, each with `add_arguments` and `run`."""


class CommandError(RuntimeError):
    """An error a user can mend; its message is printed as one line and the exit status is 1."""

"""One module a sub-command of `depth_anything_ros`, each with `add_arguments` and `run`."""

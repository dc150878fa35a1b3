"""The command `doctor`: checks of this machine, each in a process of its own with a time limit."""

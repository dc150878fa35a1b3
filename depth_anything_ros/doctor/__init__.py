"""The command `doctor`: checks of this machine, each in its own process with a time limit."""

"""The losses of each stage."""

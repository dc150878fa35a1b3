"""Intrinsics, back-projection, relative to metric. NumPy and OpenCV only; imports nothing of the project."""

"""Intrinsics, back-projection, relative to metric. NumPy and OpenCV only; imports no other room."""

"""Pinhole cameras, distortion, rectification, calibration files. NumPy and OpenCV only."""

"""From a network's map to depth in meters, millimeters, point clouds and files. NumPy and OpenCV only."""

"""NVIDIA GPUs: the driver, memory, graphs, and resizing on the device."""

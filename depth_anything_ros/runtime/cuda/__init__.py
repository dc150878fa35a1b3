"""NVIDIA GPUs: driver, memory, CUDA graphs, and resizing on the device."""

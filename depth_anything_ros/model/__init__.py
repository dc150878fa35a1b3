"""The network, in PyTorch: DINOv2 encoder, DPT decoder, sizes, checkpoints. Imports nothing of the project."""

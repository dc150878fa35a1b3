"""The network, in PyTorch: DINOv2 encoder, DPT decoder, sizes, checkpoints. Imports only the model records."""

"""The PyTorch network: DINOv2 encoder, DPT decoder, sizes, checkpoints. Of the package, imports only zoo and system."""

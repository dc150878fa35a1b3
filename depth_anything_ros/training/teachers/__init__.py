"""Teachers that label unlabeled images: a PyTorch checkpoint, or any network that `predict` runs."""

"""What labels unlabeled images: a checkpoint of ours, or any network that `predict` runs."""

"""From sources to batches: order, mixture, crops, augmentation."""

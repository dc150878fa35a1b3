"""Datasets of images, depth and labels: readers of the published layouts, and packing into shards."""

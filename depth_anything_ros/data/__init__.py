"""Sets of images, depth and labels: read from disk as their owners publish them, and packed into shards."""

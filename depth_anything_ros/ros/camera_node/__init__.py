"""The camera node: publishes a webcam, stream, video or images."""

"""Cameras, network streams, videos and pictures as one kind of source. Knows no ROS."""

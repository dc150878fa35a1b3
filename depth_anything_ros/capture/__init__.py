"""Cameras, network streams, videos and images as sources of one kind. No module here imports ROS."""

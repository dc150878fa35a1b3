"""Images from files, videos and messages to RGB pixels. Imports neither ROS nor torch."""

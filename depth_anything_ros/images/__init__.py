"""Images from files, videos and messages as RGB pixels. Imports neither ROS nor torch."""

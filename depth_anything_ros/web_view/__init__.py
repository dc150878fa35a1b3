"""The page that shows a camera's image, depth and cloud in a browser, and its server. No ROS."""

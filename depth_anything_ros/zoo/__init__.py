"""Models by name: their records, their files and the download. Imports neither torch nor ROS."""

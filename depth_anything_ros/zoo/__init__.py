"""Models by name: their records, where their files are, how they are fetched. Imports neither torch nor ROS."""

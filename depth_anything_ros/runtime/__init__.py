"""Depth from uint8 images, by backends behind one small interface. Imports neither ROS nor torch."""

"""uint8 image to depth, by a backend behind one small interface. Imports neither ROS nor torch."""

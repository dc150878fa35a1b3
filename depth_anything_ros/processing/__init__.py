"""One camera's images to everything that the depth node publishes: parameters, scale, products. Needs no ROS."""

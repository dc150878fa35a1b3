"""The ROS 2 skin: nodes, message packing, parameters. Decides nothing about depth."""

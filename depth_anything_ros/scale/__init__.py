"""Metric scale from sensors: their measurements of depth, fitted to the output of a network.

Start at `metric_scale`. Measurements become references in `sensor_points` (lidar, radar, laser scan, depth camera),
`range_cone` (sonar, infrared), `ground` (camera height and gravity) and `two_view` (the robot's motion). `fit` finds
scale and shift, `tracker` follows them over time, `shape` corrects depth locally, `uncertainty` estimates the error.
"""

"""The depth node: `node` is its life cycle, `camera_stream` the way of one camera's frames."""

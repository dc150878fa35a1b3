"""The process of a node: middleware, signals, logs and the graph."""

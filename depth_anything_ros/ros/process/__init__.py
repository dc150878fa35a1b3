"""What a node's process needs around it: middleware, signals, logs, the graph."""

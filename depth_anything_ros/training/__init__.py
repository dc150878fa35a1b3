"""The loop that trains the network, its stages, and what they minimize."""

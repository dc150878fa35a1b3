"""Metric scale from references: what a sensor knows about depth, fitted to the output of a network."""

"""Procedural scenes with exact depth, ray-cast on the CPU, to train the tiny model."""

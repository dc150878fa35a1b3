"""Engines: compiled models, how they are built and kept."""

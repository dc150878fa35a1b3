"""Engines: compiled models, their builds and their cache."""

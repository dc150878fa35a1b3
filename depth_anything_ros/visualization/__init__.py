"""Depth made visible: colors, captions, panels and drawn point clouds."""

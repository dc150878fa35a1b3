"""Pseudo-labels for millions of packed images: the same bytes whoever computes them, and nothing computed twice."""

"""Pseudo-labels for millions of packed images: any process computes the same bytes, and nothing is computed twice."""

"""Readers of RGB-D sets, alignment, metrics, baselines and reports."""

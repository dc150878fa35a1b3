"""Alignment, metrics, baselines and reports."""

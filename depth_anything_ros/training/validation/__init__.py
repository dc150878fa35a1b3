"""Scores during a run and at its end."""

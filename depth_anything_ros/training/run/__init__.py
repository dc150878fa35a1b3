"""A run's files, and how it stops and resumes."""

"""What Python programs import: models that give results, and training and scores in a few lines.

Import the names from `depth_anything_ros`, which loads them on first use.
"""

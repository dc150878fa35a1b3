"""The benchmark of all backends: each candidate runs in its own process and is measured in turns."""

"""Parts of the demo command: sample input, node processes, and a client of their topics."""

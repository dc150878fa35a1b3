"""What the demo command needs: sample input, node processes, a client of their topics, and pictures of what it got."""

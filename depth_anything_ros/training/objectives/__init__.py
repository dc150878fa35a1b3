"""What each stage minimizes."""

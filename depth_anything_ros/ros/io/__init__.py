"""Topics in and out: subscriptions, publishers, messages, stamps."""

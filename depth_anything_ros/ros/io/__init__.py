"""Subscriptions, publishers, messages and timestamps."""

"""Procedural scenes with exact depth: what the tiny model learns from, ray-cast on the CPU."""

"""Architectures, and nothing else: raw input in, answer out."""

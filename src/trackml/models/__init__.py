"""Architectures, raw input in and answer out, and their description as text."""

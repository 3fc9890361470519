"""Figures made for reading. Each function returns a matplotlib Figure; no global state."""

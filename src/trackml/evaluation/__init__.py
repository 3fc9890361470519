"""Metrics, reports and figures, from arrays. Everything is returned; nothing is logged or saved."""

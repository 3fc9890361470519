"""Fitting models: one epoch loop per framework, one hook and one history for all."""

"""Fitting models: one epoch loop for all frameworks, and what each framework does in it."""

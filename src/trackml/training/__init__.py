"""Fitting models: one epoch loop, and a learner per framework that trains an epoch."""

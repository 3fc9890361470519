"""What MLflow runs to load a model: a copy of the file travels with each, and needs no trackml."""

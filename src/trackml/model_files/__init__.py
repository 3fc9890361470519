"""A model as files without pickle, by framework, and what MLflow is told of it."""

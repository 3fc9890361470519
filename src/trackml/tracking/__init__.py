"""The only package that talks to MLflow: the store, a run, the registry."""

"""The only package that writes to MLflow's store: a run, and the registry."""

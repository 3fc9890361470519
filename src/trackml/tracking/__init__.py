"""The only package that talks to MLflow's store: a run, and the registry."""

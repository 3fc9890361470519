"""What people see of runs in MLflow's UI: names, descriptions, links. Imports no MLflow."""

"""This process: requests to stop it, its output, and the system that it runs on."""

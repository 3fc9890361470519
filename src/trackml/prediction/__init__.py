"""Answers of registered models to files, arrays and tables, as tables that people read."""

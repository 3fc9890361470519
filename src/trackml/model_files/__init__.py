"""A trained model as files without pickle, by framework, with its signature."""

"""A model is what it says: checked before it is logged, in the files that others will load."""

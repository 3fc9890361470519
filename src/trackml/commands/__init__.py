"""Commands of `trackml` that are more than a call."""

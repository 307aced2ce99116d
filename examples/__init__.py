"""The example data, and the demonstration that trains on it."""

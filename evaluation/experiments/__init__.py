"""Experiments: arms (ways to train, or not to) times seeds, all asked the same, with one table."""

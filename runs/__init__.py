"""A run is a folder: its settings, its files, who trains next, what it takes, where it is kept."""

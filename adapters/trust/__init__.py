"""May an adapter be believed: its archive, its settings, its weights, and what is about to be sent."""

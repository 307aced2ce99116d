"""Checkpoints to their owner's private repository, and back."""

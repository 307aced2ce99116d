"""Adapters for other programs: merged, as GGUF, served."""

"""Adapters as things: read, list, find. Light: no torch at import."""

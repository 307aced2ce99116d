"""Replacements of parts of libraries for the chat; each file says of which version, why, and how to drop it."""

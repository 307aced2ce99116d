"""Replacements of library internals for the training process; tests/test_library_contracts.py says when a library moves one."""

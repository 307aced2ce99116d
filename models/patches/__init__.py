"""Replacements of library internals for loading models; tests/test_library_contracts.py says when a library moves one."""

"""Replacements of library internals for the chat; tests/test_library_contracts.py says when a library moves one."""

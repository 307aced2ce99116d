"""Errors, paths, files, words: used by every other folder. Standard library only; imports no other folder of the app."""

"""The adapters of an owner: read, list, find, share. No torch at import."""

"""Which processes and machines train: what works with what, and accelerate's files and command line."""

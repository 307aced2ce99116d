"""An adapter for other programs: merged, as GGUF, served."""

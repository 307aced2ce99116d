"""The chat engine: fits the history, streams a reply, swaps adapters. Knows nothing of Gradio; gets folders, not a library."""

"""The training engine. Runs as its own process; knows nothing of Gradio, chat or the adapter library."""

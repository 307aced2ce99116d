"""OpenAI's interface to the chat engine, below /v1, with API keys; off unless STUDIO_API=1. Knows no page."""

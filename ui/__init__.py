"""The page: the only folder that imports gradio. One file a tab; no torch at import."""

"""The page: the only folder that imports gradio. A folder for each tab; no torch at import."""

"""Is it better: candidates answer the same questions, scores with intervals, what differs. Knows no page."""

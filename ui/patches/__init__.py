"""What the page puts in the place of a library's own part; each file says of which version, why, and how to drop it."""

"""What the training process puts in the place of a library's own part; each file says of which version, why, how to drop it."""

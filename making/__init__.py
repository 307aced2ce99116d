"""Documents, seeds or topics and a teacher become rows to train on, each with its origin. Knows no page."""

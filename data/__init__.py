"""Rows in any common shape to tokens, and the check of them before the start; no page, and torch only where tokens are made."""

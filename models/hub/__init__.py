"""The only access to the Hub: its client, its errors in words, downloads that can be stopped and are checked."""

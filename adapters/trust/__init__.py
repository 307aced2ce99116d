"""Checks of adapters from elsewhere: archive, settings, weights; and of files that are about to be sent."""

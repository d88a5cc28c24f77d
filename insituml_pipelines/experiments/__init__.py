"""Experiments that are written for a user's own data."""

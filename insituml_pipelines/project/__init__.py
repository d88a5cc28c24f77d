"""A project of a user's own: what it is given, and what a newer version of insituml changes."""

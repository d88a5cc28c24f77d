"""Streams of labelled samples, and how data are cut into tasks."""

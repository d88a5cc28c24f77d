"""Toy data: eight Gaussian clusters that move with time."""

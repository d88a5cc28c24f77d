"""One training run, and several side by side."""

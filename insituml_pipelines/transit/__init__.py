"""Learning from a stream: sources, the loop over its events, its runs and its log."""

"""What `insituml watch` shows of a running stream."""

"""What this machine has of what insituml needs, and what is missing for what."""

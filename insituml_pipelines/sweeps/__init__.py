"""Many jobs by one command: what they are called, what is done already, and what came of them."""

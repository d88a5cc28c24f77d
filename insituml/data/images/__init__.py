"""Image sets as they are published, and streams made of them."""

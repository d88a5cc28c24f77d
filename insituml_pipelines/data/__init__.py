"""What differs between the kinds of data, from the raw source to the figure."""

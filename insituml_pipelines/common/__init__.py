"""What all stages share: their command line, the checked configuration, the one user error."""

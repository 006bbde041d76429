"""The strategies, one per file."""

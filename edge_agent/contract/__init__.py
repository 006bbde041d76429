"""What fleet and device must agree on: wire formats and model limits. Standard library only."""

"""What fleet and device share: wire formats, drift bins and the check of a model file. Standard library only."""

"""The command line `nas`: the only package that prints."""

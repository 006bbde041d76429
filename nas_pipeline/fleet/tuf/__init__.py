"""The signed repository: keys, roles, releases."""

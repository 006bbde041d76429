"""The table of stages and one function per stage: what DVC hashes."""

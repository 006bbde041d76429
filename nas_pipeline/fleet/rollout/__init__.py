"""Staged roll-outs: the state machine, its execution, and the registry as a view of it."""

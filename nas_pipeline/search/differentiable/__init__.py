"""Differentiable search: one network that holds all operations, their weights and their mixture learned together."""

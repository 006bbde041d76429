"""Differentiable search: one network that holds all candidates, weighted by parameters that are trained too."""

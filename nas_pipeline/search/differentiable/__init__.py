"""Differentiable architecture search: DARTS, PC-DARTS and GDAS.

A search network contains all candidate operations of a cell, weighted by architecture parameters (alphas), which are
trained together with its weights. A genotype is derived from the trained alphas.

`DifferentiableSearch` (run.py) runs one search. `DifferentiableStrategy` (strategy.py) is the base of the strategies,
for which each search is one trial of the study.
"""

"""The search network: all candidate operations of a cell, weighted by a mixing (mixing.py)."""

"""Derivation of a discrete cell from architecture parameters, under cost bounds."""

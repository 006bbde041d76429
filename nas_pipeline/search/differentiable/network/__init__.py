"""The search network: all candidate operations at once, weighted by a mixing."""

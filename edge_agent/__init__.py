"""The agent of an edge device: downloads and tries signed releases, serves one model, and sends reports."""

__version__ = "0.1.0"

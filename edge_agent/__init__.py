"""The agent of an edge device: fetches signed releases, tries them, serves one model, reports what happened."""

__version__ = "0.1.0"

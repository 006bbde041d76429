"""The sections of params.yaml as frozen pydantic models, one module each.

A stage depends on exactly the sections that it is given, so each section has a file of its own.
"""

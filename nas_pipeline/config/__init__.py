"""params.yaml: its schema, profiles, workspaces and `nas init`."""

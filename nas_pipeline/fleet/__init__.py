"""The signed fleet of devices: its repository (tuf), roll-outs (rollout) and device reports (reports)."""

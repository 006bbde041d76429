"""Every gate: verification, promotion, policy and the paired comparison. Pure functions."""

"""Latency: timing in fresh processes, statistics, and the probes. The catalogue of probes is in `latency.probes`."""

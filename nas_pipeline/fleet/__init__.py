"""Signed releases: what the fleet may run, who said so, and what the devices say of it."""

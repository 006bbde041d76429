"""Signed reports of devices: receiver, intake, drift."""

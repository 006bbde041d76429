"""Identifies the user who performs an action."""

from __future__ import annotations

import getpass


def current_user() -> str:
    """Returns the name of the current user for a history or a journal; `unknown` if the system has none."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user without a name
        return "unknown"

"""What stands in the way of an update: a code that the fleet counts, and one line for the person at the device."""

from __future__ import annotations

from collections.abc import Mapping


class AgentError(Exception):
    """Something may not be used, or did not work. `code` is one of wire.CODES; `figures` are what was measured."""

    def __init__(self, code: str, message: str, figures: Mapping[str, float] | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.figures = dict(figures or {})


class SetupError(Exception):
    """The device is not set up, or another agent is at work: nothing was looked at."""

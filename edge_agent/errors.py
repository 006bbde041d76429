"""Errors of the agent: `AgentError` for an update, `SetupError` for a device that is not ready."""

from __future__ import annotations

from collections.abc import Mapping


class AgentError(Exception):
    """An update is refused or fails.

    Args:
        code: One of `wire.CODES`; the fleet counts reports by it.
        message: One line for the person at the device.
        figures: Measurements of the trial, as far as known.
    """

    def __init__(self, code: str, message: str, figures: Mapping[str, float] | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.figures = dict(figures or {})


class SetupError(Exception):
    """The device is not set up, or another agent is running. The repository was not contacted."""

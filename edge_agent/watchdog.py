"""Notifications for systemd, so that a hung agent is restarted. Without systemd they do nothing.

systemd passes the address of its socket in NOTIFY_SOCKET, and the watchdog interval in microseconds in WATCHDOG_USEC.
An address that starts with @ is in the abstract namespace.

Source: sd_notify(3), sd_watchdog_enabled(3).
"""

from __future__ import annotations

import os
import socket
import time
from contextlib import suppress


def notify(message: str) -> None:
    """Sends a message to the service manager.

    Args:
        message: In the format of sd_notify(3), for example READY=1.
    """
    if address := os.environ.get("NOTIFY_SOCKET"):
        with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
            channel.connect("\0" + address[1:] if address.startswith("@") else address)
            channel.send(message.encode())


def alive() -> None:
    """Resets the watchdog. Called wherever the agent makes progress."""
    notify("WATCHDOG=1")


def sleep(seconds: float) -> None:
    """Sleeps, and resets the watchdog three times per watchdog interval.

    Args:
        seconds: How long to sleep.
    """
    interval_s = int(os.environ.get("WATCHDOG_USEC", "0")) / 3e6 or seconds
    end = time.monotonic() + seconds
    while (left_s := end - time.monotonic()) > 0:
        alive()
        time.sleep(min(left_s, interval_s))

"""Signs of life for systemd: a hung agent is started anew. Without systemd, nothing."""

from __future__ import annotations

import os
import socket
import time
from contextlib import suppress


def notify(message: str) -> None:
    """Tell the service manager (sd_notify)."""
    if address := os.environ.get("NOTIFY_SOCKET"):
        with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
            channel.connect("\0" + address[1:] if address.startswith("@") else address)
            channel.send(message.encode())


def alive() -> None:
    """Something moves."""
    notify("WATCHDOG=1")


def sleep(seconds: float) -> None:
    """Wait, alive."""
    interval = int(os.environ.get("WATCHDOG_USEC", "0")) / 3e6 or seconds
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        alive()
        time.sleep(min(left, interval))

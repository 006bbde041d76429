"""Checks that ports are free: `python -m flows.ports UI=4200 MLflow=5000`, before several servers are started."""

from __future__ import annotations

import socket
import sys
from collections.abc import Sequence

from nas_pipeline.errors import ConfigError

HOST = "127.0.0.1"


def check_port_is_free(port: int, what: str, remedy: str) -> None:
    """Checks that this process can listen on a port of the loopback interface.

    Raises:
        ConfigError: The port is in use or not permitted; the message contains `remedy`.
    """
    try:
        with socket.create_server((HOST, port), reuse_port=False):
            pass
    except (OSError, OverflowError) as error:
        raise ConfigError(f"{what} cannot listen on port {port} of {HOST} ({error}): {remedy}") from None


def main(arguments: Sequence[str]) -> int:
    """Checks the ports in `arguments`. Returns exit status 2, with a line on stderr, if a port is not free."""
    code = 0
    for argument in arguments:
        what, _, port = argument.partition("=")
        try:
            check_port_is_free(
                int(port), what, "stop the process there (`ss -ltnp` shows it; perhaps an earlier `make ui`)"
            )
        except ConfigError as error:
            sys.stderr.write(f"error: {error}\n")
            code = error.exit_code
    return code


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))

"""Says in time that a port is taken. `python -m flows.ports UI=4200 MLflow=5000` before several servers are started."""

from __future__ import annotations

import socket
import sys
from collections.abc import Sequence

from nas_pipeline.errors import ConfigError

HOST = "127.0.0.1"


def see_that_it_is_free(port: int, what: str, remedy: str) -> None:
    """Find out whether somebody listens there, or we may not.

    Raises:
        ConfigError: The port is taken or not ours to take; the message says what to do.
    """
    try:
        with socket.create_server((HOST, port), reuse_port=False):
            pass
    except (OSError, OverflowError) as error:
        raise ConfigError(f"{what} cannot listen on port {port} of {HOST} ({error}): {remedy}") from None


def main(arguments: Sequence[str]) -> int:
    """Exit status 2 and a line for each port that is taken."""
    code = 0
    for argument in arguments:
        what, _, port = argument.partition("=")
        try:
            see_that_it_is_free(
                int(port), what, "end what runs there (`ss -ltnp` names it; perhaps an earlier `make ui`)"
            )
        except ConfigError as error:
            sys.stderr.write(f"error: {error}\n")
            code = error.exit_code
    return code


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))

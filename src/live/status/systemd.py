"""What systemd wants to hear: ready, alive, stopping. A datagram each, as in sd_notify(3)."""

from __future__ import annotations

import socket
from collections.abc import Mapping

READY, ALIVE, STOPPING = "READY=1", "WATCHDOG=1", "STOPPING=1"


def notify(state: str, environment: Mapping[str, str]) -> bool:
    """Tell the service manager `state`; False where none listens, which is no fault."""
    address = environment.get("NOTIFY_SOCKET", "")
    if not address:
        return False
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        try:
            # A leading @ stands for the zero byte of an abstract address.
            sender.sendto(state.encode(), "\0" + address[1:] if address.startswith("@") else address)
        except OSError:
            return False
    return True

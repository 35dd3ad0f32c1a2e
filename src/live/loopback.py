"""An HTTP server on the loopback address that no client can hold up: deadlines, a cap, an end in time."""

from __future__ import annotations

import logging
import socket
import socketserver
import threading
import time
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple

LOOPBACK = "127.0.0.1"
RECEIVE_SECONDS = 5.0
CONNECTIONS = 32
_POLL = 0.05
_LONGEST_LENGTH = 12  # digits of a Content-Length
_LOG = logging.getLogger(__name__)


class _Connection(NamedTuple):
    """deadline   on the monotonic clock, seconds; answering   whether the whole request is here."""

    deadline: float
    answering: bool


class LoopbackServer(ThreadingHTTPServer):
    """Serves each connection in a daemon thread.

    A request, head and body, has to be here within `receive_seconds`, and its answer gone `answer_seconds`
    later: a total for each, whatever trickles in or out meanwhile. Beyond `connections` the oldest one that
    is still sending its request gives way; where all wait for answers, the new one is closed.
    """

    daemon_threads = True
    block_on_close = False
    allow_reuse_address = True
    request_queue_size = 128

    def __init__(
        self,
        port: int,
        handler: type[LoopbackHandler],
        *,
        receive_seconds: float = RECEIVE_SECONDS,
        answer_seconds: float = RECEIVE_SECONDS,
        connections: int = CONNECTIONS,
    ) -> None:
        """Bind `port`, 0 for a free one; OSError where it cannot be had."""
        self._receive_seconds = receive_seconds
        self._answer_seconds = answer_seconds
        self._most = connections
        self._connections: dict[socket.socket, _Connection] = {}
        self._changed = threading.Condition()
        super().__init__((LOOPBACK, port), handler)

    @property
    def port(self) -> int:
        """The port that it listens on."""
        return int(self.server_address[1])

    def server_bind(self) -> None:
        """Bind without asking a name server for our name."""
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = LOOPBACK, self.port

    def serve(self) -> None:
        """Serve until `close`; also after a fault of its own, which is logged."""
        self.serve_forever(poll_interval=_POLL)

    def close(self, timeout: float, *, serving: bool = True) -> None:
        """Stop listening, drop requests that are incomplete, and wait for answers at most `timeout` seconds.

        serving   whether `serve` runs in another thread
        """
        if serving:
            self.shutdown()
        self._drop(answering=False)
        with self._changed:
            self._changed.wait_for(lambda: not self._connections, timeout)
        self._drop(answering=True)
        self.server_close()

    def received(self, connection: socket.socket) -> None:
        """Note that a whole request is here: from now on its answer has its time."""
        with self._changed:
            if connection in self._connections:
                self._connections[connection] = _Connection(time.monotonic() + self._answer_seconds, True)

    def service_actions(self) -> None:
        """Cut connections whose time is over; called several times a second while serving."""
        now = time.monotonic()
        with self._changed:
            for each, state in self._connections.items():
                if state.deadline < now:
                    _cut(each)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Answer a connection in a thread of its own, if there may be one more."""
        with self._changed:
            full = len(self._connections) >= self._most and not self._make_room()
            if not full:
                self._connections[request] = _Connection(time.monotonic() + self._receive_seconds, False)
        if full:
            self.shutdown_request(request)
            return
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        """Close a connection and forget it."""
        super().shutdown_request(request)
        with self._changed:
            self._connections.pop(request, None)
            self._changed.notify_all()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Log what a connection failed of; one that was cut or closed by the client is no fault."""
        _LOG.debug("a connection of %s failed", client_address, exc_info=True)

    def _make_room(self) -> bool:
        sending = [each for each, state in self._connections.items() if not state.answering]
        if not sending:
            return False
        _cut(sending[0])
        del self._connections[sending[0]]
        return True

    def _drop(self, *, answering: bool) -> None:
        with self._changed:
            for each, state in self._connections.items():
                if answering or not state.answering:
                    _cut(each)


def _cut(connection: socket.socket) -> None:
    """Wake the thread that reads or writes; it closes the socket."""
    try:
        connection.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass


class LoopbackHandler(BaseHTTPRequestHandler):
    """What the handlers of loopback servers share: strict bodies, whole answers, 500 for a fault of ours."""

    server: LoopbackServer
    timeout = RECEIVE_SECONDS
    server_version = "lockstep"
    sys_version = ""

    def handle_one_request(self) -> None:
        """Handle a request; a fault of ours is logged and answered with 500."""
        try:
            super().handle_one_request()
        except OSError:
            raise
        except Exception:
            _LOG.exception("%s: a request failed", self.server_version)
            self.send(HTTPStatus.INTERNAL_SERVER_ERROR, b"internal error; see the log\n", "text/plain")

    def body(self, limit: int) -> bytes | tuple[HTTPStatus, str]:
        """Return the body, at most `limit` bytes, or the status and reason of a refusal."""
        lengths = self.headers.get_all("Content-Length", [])
        if len(lengths) != 1 or not lengths[0].isascii() or not lengths[0].isdigit():
            return HTTPStatus.LENGTH_REQUIRED, "give one Content-Length in digits"
        if len(lengths[0]) > _LONGEST_LENGTH or int(lengths[0]) > limit:
            shown = lengths[0] if len(lengths[0]) <= _LONGEST_LENGTH else f"{len(lengths[0])} digits of"
            return HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"{shown} bytes: at most {limit}; post fewer at once"
        content = self.rfile.read(int(lengths[0]))
        if len(content) < int(lengths[0]):
            return (
                HTTPStatus.BAD_REQUEST,
                f"{len(content)} of {lengths[0]} bytes arrived; retry the same request",
            )
        return content

    def send(
        self, status: HTTPStatus | int, body: bytes, kind: str, headers: tuple[tuple[str, str], ...] = ()
    ) -> None:
        """Send a whole answer."""
        self.send_response(status)
        for name, value in (("Content-Type", kind), *headers, ("Content-Length", str(len(body)))):
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Keep requests out of the log unless somebody looks for them."""
        _LOG.debug(format, *args)

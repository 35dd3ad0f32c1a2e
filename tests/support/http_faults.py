"""A real HTTP server on loopback that behaves as badly as it is told, and remembers what arrived."""

from __future__ import annotations

import itertools
import json
import socket
import ssl
import threading
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any

Behaviour = Callable[[socket.socket, threading.Event], None]

OK = {"success": True, "id": "7d2f", "payload": {}}


def answer(status: int = 200, body: Any = None, headers: Mapping[str, str] | None = None) -> Behaviour:
    """Answer with `status`; a body that is no bytes is sent as JSON."""
    content = body if isinstance(body, bytes) else json.dumps(OK if body is None else body).encode()

    def behave(connection: socket.socket, released: threading.Event) -> None:
        connection.sendall(_head(status, len(content), headers or {}) + content)

    return behave


def cut(status: int = 200) -> Behaviour:
    """Send the head of an answer, announce a body, and drop the connection."""

    def behave(connection: socket.socket, released: threading.Event) -> None:
        connection.sendall(_head(status, 1000, {}) + b'{"success"')

    return behave


def broken_chunks(connection: socket.socket, released: threading.Event) -> None:
    """Begin a chunked body and break off within a chunk."""
    connection.sendall(b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nff\r\n{"success"')


def drop(connection: socket.socket, released: threading.Event) -> None:
    """Close without a word."""


def reset(connection: socket.socket, released: threading.Event) -> None:
    """Close with a reset."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")


def hang(connection: socket.socket, released: threading.Event) -> None:
    """Say nothing until the server is closed."""
    released.wait()


def garbage(connection: socket.socket, released: threading.Event) -> None:
    """Answer with bytes that are no HTTP."""
    connection.sendall(b"\x00\xff no such protocol\r\n\r\n")


def drip(whole: bytes, *, after: bytes = b"", pause: float = 0.02) -> Behaviour:
    """Send `after` at once, then a byte at a time for ever: `whole`, and its last byte again and again."""

    def behave(connection: socket.socket, released: threading.Event) -> None:
        connection.sendall(after)
        for each in itertools.chain(whole, itertools.repeat(whole[-1])):
            if released.wait(pause):
                return
            connection.sendall(bytes([each]))

    return behave


def flood(first: bytes, again: bytes) -> Behaviour:
    """Send `first`, then `again` as fast and as long as anybody reads it."""

    def behave(connection: socket.socket, released: threading.Event) -> None:
        connection.sendall(first)
        piece = again * max(1, 65_536 // len(again))
        while not released.is_set():
            connection.sendall(piece)

    return behave


def raw(whole: bytes) -> Behaviour:
    """Send bytes and close."""

    def behave(connection: socket.socket, released: threading.Event) -> None:
        connection.sendall(whole)

    return behave


OK_HEAD = b"HTTP/1.1 200 OK\r\n"
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"

# What a server can do so that an answer never ends, each with what the sender learns: nothing, or a status.
ENDLESS: dict[str, tuple[Behaviour, str]] = {
    "no answer": (hang, "unanswered"),
    "drip in the status line": (drip(OK_HEAD[:-2]), "unanswered"),
    "drip in a header": (drip(b"X-A: b", after=OK_HEAD), "unanswered"),
    "drip in the body": (drip(b" ", after=OK_HEAD + b"Content-Length: 1000\r\n\r\n"), "answered"),
    "drip in a body without length": (drip(b" ", after=OK_HEAD + b"\r\n"), "answered"),
    "drip in a chunk": (drip(b" ", after=OK_HEAD + b"Transfer-Encoding: chunked\r\n\r\nfff\r\n"), "answered"),
    "100 Continue a byte at a time": (drip(CONTINUE * 1000), "unanswered"),
    "100 Continue without end": (flood(b"", CONTINUE), "unanswered"),
    "103 Early Hints without end": (flood(b"", b"HTTP/1.1 103 Early Hints\r\nA: b\r\n\r\n"), "unanswered"),
    "a status line without end": (flood(b"HTTP/1.1 200 ", b"O"), "unanswered"),
    "a header without end": (flood(OK_HEAD + b"X-A: ", b"b"), "unanswered"),
    "headers without end": (flood(OK_HEAD, b"X-A: b\r\n"), "unanswered"),
    "a body of a gigabyte": (flood(OK_HEAD + b"Content-Length: 1073741824\r\n\r\n", b"x"), "answered"),
    "a body without end": (flood(OK_HEAD + b"\r\n", b"x"), "answered"),
    "chunks without end": (
        flood(OK_HEAD + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n"),
        "answered",
    ),
    "a chunk's extension without end": (
        flood(OK_HEAD + b"Transfer-Encoding: chunked\r\n\r\n1;a=", b"x"),
        "answered",
    ),
    "trailers without end": (
        flood(OK_HEAD + b"Transfer-Encoding: chunked\r\n\r\n0\r\n", b"X-A: b\r\n"),
        "answered",
    ),
}


def _head(status: int, length: int, headers: Mapping[str, str]) -> bytes:
    lines = [f"HTTP/1.1 {status} Told So", f"Content-Length: {length}", "Connection: close"]
    return "\r\n".join([*lines, *(f"{name}: {value}" for name, value in headers.items()), "", ""]).encode()


class FaultServer:
    """Behaves for the n-th request as the n-th of `behaviours` says, and as the last one from then on.

    greeting   what it does with a connection before it reads the request
    choose     picks the behaviour for a request instead
    tls        wraps each connection; a handshake that fails ends it
    requests   (path, decoded JSON body) of every request that was read completely
    """

    def __init__(
        self,
        *behaviours: Behaviour,
        listening: bool = True,
        greeting: Behaviour | None = None,
        choose: Callable[[tuple[str, Any]], Behaviour] | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._behaviours = behaviours
        self._greeting = greeting
        self._choose = choose
        self._tls = tls
        self._socket = socket.create_server(("127.0.0.1", 0)) if listening else _bound()
        self._released = threading.Event()
        self._arrived = threading.Condition()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._workers: list[threading.Thread] = []
        self.requests: list[tuple[str, Any]] = []
        if listening:
            self._thread.start()

    @property
    def url(self) -> str:
        scheme = "https" if self._tls else "http"
        return f"{scheme}://127.0.0.1:{self.port}/hook/s3cr3t-passw0rd"

    @property
    def port(self) -> int:
        return int(self._socket.getsockname()[1])

    def listen(self) -> None:
        """Begin to take connections, which were refused so far."""
        self._socket.listen()
        self._thread.start()

    def wait_for(self, count: int) -> None:
        """Wait until `count` requests have arrived."""
        with self._arrived:
            assert self._arrived.wait_for(lambda: len(self.requests) >= count, timeout=10)

    def __enter__(self) -> FaultServer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._released.set()
        if self._thread.is_alive():
            self._socket.shutdown(socket.SHUT_RDWR)
            self._thread.join()
        self._socket.close()
        for worker in self._workers:
            worker.join()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            worker = threading.Thread(target=self._handle, args=(connection,), daemon=True)
            self._workers.append(worker)
            worker.start()

    def _handle(self, connection: socket.socket) -> None:
        try:
            if self._greeting is not None:
                self._greeting(connection, self._released)
            if self._tls is not None:
                connection = self._tls.wrap_socket(connection, server_side=True)
        except OSError:
            connection.close()
            return
        with connection:
            try:
                request = _read(connection)
            except OSError:
                return
            if request is None:
                return
            with self._arrived:
                behaviour = self._behaviour(request)
                self.requests.append(request)
                self._arrived.notify_all()
            try:
                behaviour(connection, self._released)
            except OSError:
                return

    def _behaviour(self, request: tuple[str, Any]) -> Behaviour:
        if self._choose is not None:
            return self._choose(request)
        return self._behaviours[min(len(self.requests), len(self._behaviours) - 1)]


def _bound() -> socket.socket:
    """A port that is taken and refuses connections."""
    bound = socket.socket()
    bound.bind(("127.0.0.1", 0))
    return bound


def _read(connection: socket.socket) -> tuple[str, Any] | None:
    """Return (path, body) of a whole request, or None where it breaks off or is no HTTP."""
    data = b""
    while b"\r\n\r\n" not in data:
        chunk = connection.recv(65_536)
        if not chunk or not (data + chunk).startswith(b"POST"):
            return None
        data += chunk
    head, body = data.split(b"\r\n\r\n", 1)
    fields = dict(line.split(": ", 1) for line in head.decode().splitlines()[1:])
    while len(body) < int(fields["Content-Length"]):
        chunk = connection.recv(65_536)
        if not chunk:
            return None
        body += chunk
    return head.decode().split(" ", 2)[1], json.loads(body)

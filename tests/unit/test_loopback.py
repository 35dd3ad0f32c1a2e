"""The loopback server against clients that drip, flood, stall and lie. Real sockets."""

from __future__ import annotations

import logging
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from http import HTTPStatus

import pytest

from lockstep.live.loopback import LOOPBACK, LoopbackHandler, LoopbackServer

GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
TOTAL = 0.3


class Slow(LoopbackHandler):
    """Answers with the body; `/wait` when it may, `/fault` never, `/long` with very much."""

    may_answer = threading.Event()

    def do_GET(self) -> None:
        self.server.received(self.connection)
        if self.path == "/wait":
            self.may_answer.wait(20)
        if self.path == "/fault":
            raise ZeroDivisionError
        self.send(200, b"x" * (50_000_000 if self.path == "/long" else 4), "text/plain")

    def do_POST(self) -> None:
        body = self.body(1_000)
        if isinstance(body, bytes):
            self.server.received(self.connection)
            self.send(HTTPStatus.OK, body, "text/plain")
        else:
            self.send(body[0], body[1].encode(), "text/plain")


class Running:
    """A served port, and clients of it."""

    def __init__(self, connections: int = 8, answer_seconds: float = 5.0) -> None:
        self.server = LoopbackServer(
            0, Slow, receive_seconds=TOTAL, answer_seconds=answer_seconds, connections=connections
        )
        self.clients = ExitStack()
        self._thread = threading.Thread(target=self.server.serve)
        self._thread.start()

    def client(self, *pieces: bytes) -> socket.socket:
        made = self.clients.enter_context(socket.create_connection((LOOPBACK, self.server.port), timeout=10))
        for piece in pieces:
            made.sendall(piece)
        return made

    def close(self, timeout: float = 1.0) -> float:
        """Close the server; return the seconds that it took."""
        began = time.monotonic()
        self.server.close(timeout)
        self._thread.join(5)
        assert not self._thread.is_alive()
        return time.monotonic() - began


@pytest.fixture
def running() -> Iterator[Running]:
    Slow.may_answer.clear()
    made = Running()
    yield made
    Slow.may_answer.set()
    made.close()
    made.clients.close()


def answer(client: socket.socket) -> bytes:
    """Return all that comes until the end, which a cut connection has too."""
    found = b""
    try:
        while piece := client.recv(65_536):
            found += piece
    except ConnectionError:
        pass
    return found


def sent(client: socket.socket, piece: bytes) -> bool:
    """Send a piece; return whether the connection still stands."""
    try:
        client.sendall(piece)
    except OSError:
        return False
    return True


def status(text: bytes) -> int:
    return int(text.split(b" ", 2)[1]) if text else 0


def post(head: str, body: bytes = b"") -> bytes:
    return f"POST / HTTP/1.1\r\nHost: x\r\n{head}\r\n".encode() + body


@pytest.mark.parametrize(
    "drip",
    [b"G", b"GET / HTTP/1.1\r\nX: ", post("Content-Length: 900\r\n", b"some of it")],
    ids=["request line", "header", "body"],
)
def test_a_request_that_drips_is_cut_when_its_time_is_over(running: Running, drip: bytes) -> None:
    client, began = running.client(drip), time.monotonic()
    while sent(client, b"a"):
        assert time.monotonic() - began < TOTAL + 1.0
        time.sleep(0.02)


def test_an_answer_that_nobody_reads_is_cut(running: Running) -> None:
    running.close()
    other = Running(answer_seconds=TOTAL)
    client, began = other.client(b"GET /long HTTP/1.1\r\n\r\n"), time.monotonic()
    while other.server._connections or time.monotonic() < began + 0.1:
        assert time.monotonic() < began + 5
        time.sleep(0.02)
    assert len(answer(client)) < 50_000_000
    other.close()
    other.clients.close()


def test_dripping_clients_keep_nobody_out(running: Running) -> None:
    for _ in range(40):
        running.client(b"GET / HTTP/1.1\r\nX: ")
        assert len(running.server._connections) <= 8
    assert status(answer(running.client(GET))) == 200


def test_where_all_wait_for_answers_the_next_is_closed(running: Running) -> None:
    waiting = [running.client(b"GET /wait HTTP/1.1\r\n\r\n") for _ in range(8)]
    while sum(state.answering for state in running.server._connections.values()) < 8:
        time.sleep(0.01)
    assert answer(running.client(GET)) == b""
    Slow.may_answer.set()
    assert [status(answer(each)) for each in waiting] == [200] * 8


def test_the_end_does_not_wait_for_requests_that_are_incomplete(running: Running) -> None:
    for _ in range(5):
        running.client(b"GET / HTTP/1.1\r\nX: ")
    assert running.close(timeout=30.0) < 2.0


def test_the_end_waits_for_whole_requests(running: Running) -> None:
    client = running.client(b"GET /wait HTTP/1.1\r\n\r\n")
    while not any(state.answering for state in running.server._connections.values()):
        time.sleep(0.01)
    threading.Timer(0.2, Slow.may_answer.set).start()
    assert running.close(timeout=20.0) < 5.0
    assert status(answer(client)) == 200


def test_the_end_does_not_wait_for_ever(running: Running) -> None:
    client = running.client(b"GET /wait HTTP/1.1\r\n\r\n")
    while not any(state.answering for state in running.server._connections.values()):
        time.sleep(0.01)
    assert running.close(timeout=0.2) < 2.0
    assert answer(client) == b""


@pytest.mark.parametrize(
    ("head", "body", "expected"),
    [
        ("Content-Length: 4\r\n", b"abcd", 200),
        ("", b"", 411),
        ("Content-Length: -1\r\n", b"", 411),
        ("Content-Length: +4\r\n", b"abcd", 411),
        ("Content-Length: ٤\r\n", b"abcd", 411),
        ("Content-Length: 4\r\nContent-Length: 5\r\n", b"abcd", 411),
        ("Transfer-Encoding: chunked\r\n", b"4\r\nabcd\r\n0\r\n\r\n", 411),
        ("Content-Length: 1001\r\n", b"", 413),
        ("Content-Length: " + "9" * 5_000 + "\r\n", b"", 413),
        ("X: " + "y" * 70_000 + "\r\n", b"", 431),
        ("X: y\r\n" * 200, b"", 431),
    ],
)
def test_lengths(running: Running, head: str, body: bytes, expected: int) -> None:
    client = running.client(post(head, body))
    assert status(answer(client)) == expected


def test_a_body_that_is_cut_short_is_said(running: Running) -> None:
    client = running.client(post("Content-Length: 9\r\n", b"abc"))
    client.shutdown(socket.SHUT_WR)
    found = answer(client)
    assert status(found) == 400
    assert b"3 of 9 bytes arrived" in found


def test_a_fault_of_ours_is_logged_and_answered(running: Running, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR):
        assert status(answer(running.client(b"GET /fault HTTP/1.1\r\n\r\n"))) == 500
    assert "ZeroDivisionError" in caplog.text
    assert status(answer(running.client(GET))) == 200

"""One POST to real sockets on loopback: it ends in time whatever a server does, and knows what left."""

from __future__ import annotations

import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from lockstep.errors import ConfigError
from lockstep.http_post import LONGEST_BODY, Endpoint, Lookups, PostAttempt, endpoint, post
from support.http_faults import (
    CONTINUE,
    ENDLESS,
    FaultServer,
    answer,
    broken_chunks,
    drip,
    flood,
    hang,
    raw,
)

SHORT, SLACK = 0.2, 0.5  # seconds: a deadline, and how late `post` may be
HOOK = "/hook/s3cr3t-passw0rd"
ELSEWHERE = SecretStr(f"https://example.com{HOOK}")
CERTIFICATE = Path(__file__).resolve().parents[1] / "support" / "localhost.pem"
MEBI = 1 << 20


def to(server: FaultServer) -> Endpoint:
    return endpoint(SecretStr(server.url), purpose="hook")


def timed(where: Endpoint, body: bytes = b"{}", *, connect: float = SHORT, **options: Any) -> PostAttempt:
    """Post with short deadlines; the sum of them must hold."""
    began = time.monotonic()
    attempt = post(where, body, {}, connect_seconds=connect, answer_seconds=SHORT, **options)
    assert time.monotonic() - began < connect + SHORT + SLACK
    return attempt


# --- deadlines ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("what", list(ENDLESS))
def test_an_answer_that_never_ends_is_cut(what: str) -> None:
    behaviour, kind = ENDLESS[what]
    with FaultServer(behaviour) as server:
        attempt = timed(to(server))
    assert (attempt.kind, attempt.body) == (kind, b"")
    assert attempt.status == (200 if kind == "answered" else 0)
    assert len(server.requests) == 1, "a byte left, and so it must say"


@pytest.mark.parametrize("what", [each for each in ENDLESS if "without end" in each or "gigabyte" in each])
def test_an_answer_that_is_too_long_does_not_take_until_the_deadline(what: str) -> None:
    """Or it would keep a core busy, and fill the memory, for as long as it may last."""
    behaviour, kind = ENDLESS[what]
    began = time.monotonic()
    with FaultServer(behaviour) as server:
        attempt = post(to(server), b"{}", {}, connect_seconds=5.0, answer_seconds=20.0)
    assert attempt.kind == kind
    assert time.monotonic() - began < 10.0


def test_a_plain_timeout_per_read_would_wait_for_ever() -> None:
    """Negative control: with a second per `recv` and no total, the drip goes on."""
    with FaultServer(drip(b"HTTP/1.1 200 OK", pause=0.05)) as server:
        connection = socket.create_connection(("127.0.0.1", server.port), timeout=1.0)
        with connection:
            connection.sendall(b"POST / HTTP/1.1\r\nContent-Length: 2\r\n\r\n{}")
            began = time.monotonic()
            while time.monotonic() - began < 2 * SHORT + SLACK:
                assert connection.recv(100)


def test_a_server_that_does_not_read_blocks_the_request_for_so_long_only() -> None:
    with FaultServer(answer(), greeting=hang) as server:
        attempt = timed(to(server), bytes(24 * MEBI))
    assert (attempt.kind, attempt.detail) == ("unanswered", "sent, but no answer within 0.2 s")


@pytest.mark.parametrize("greeting", [hang, drip(b"\x16\x03\x03\x40\x00\x00"), raw(b"no TLS at all\r\n")])
def test_a_tls_handshake_that_hangs_drips_or_fails_sent_nothing(greeting: Any) -> None:
    with FaultServer(answer(), greeting=greeting) as server:
        url = SecretStr(server.url.replace("http:", "https:"))
        attempt = timed(endpoint(url, purpose="hook"))
    assert attempt.kind == "not_sent"
    assert server.requests == []


def test_a_certificate_that_nobody_vouches_for_sent_nothing(tls: ssl.SSLContext) -> None:
    with FaultServer(answer(), tls=tls) as server:
        attempt = timed(to(server), connect=5.0)
    assert attempt.kind == "not_sent"
    assert "CERTIFICATE_VERIFY_FAILED" in attempt.detail
    assert server.requests == []


@pytest.fixture
def tls() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(CERTIFICATE)
    return context


def trusted(server: FaultServer) -> Endpoint:
    return to(server)._replace(tls=ssl.create_default_context(cafile=str(CERTIFICATE)))


def test_the_same_holds_over_tls(tls: ssl.SSLContext) -> None:
    with FaultServer(answer(), drip(b"HTTP/1.1 200 OK"), flood(b"", CONTINUE), hang, tls=tls) as server:
        fine, *cut = [timed(trusted(server), connect=5.0) for _ in range(4)]
    assert (fine.kind, fine.status) == ("answered", 200)
    assert b'"success": true' in fine.body
    assert [each.kind for each in cut] == ["unanswered"] * 3
    assert [path for path, _ in server.requests] == [HOOK] * 4


@pytest.fixture
def deaf() -> Iterator[int]:
    """A port that takes no connection and refuses none: its queue is full."""
    with ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        for _ in range(4):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(listener.getsockname())
        yield listener.getsockname()[1]


def test_a_connection_that_hangs_sent_nothing(deaf: int) -> None:
    attempt = timed(endpoint(SecretStr(f"http://127.0.0.1:{deaf}{HOOK}"), purpose="hook"))
    assert (attempt.kind, attempt.detail) == ("not_sent", "no connection within 0.2 s")


def resolved(*ports: int) -> Lookups:
    entries = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port)) for port in ports]
    return Lookups(lambda *_, **__: entries)


def test_an_address_that_hangs_leaves_time_for_the_next_one(deaf: int) -> None:
    with FaultServer(answer()) as server:
        where = endpoint(SecretStr(f"http://localhost:{server.port}{HOOK}"), purpose="hook")
        attempt = timed(where, connect=1.0, lookups=resolved(deaf, server.port))
    assert (attempt.kind, attempt.status) == ("answered", 200)


def test_a_name_lookup_that_hangs_sent_nothing_and_costs_one_thread() -> None:
    released, asked = threading.Event(), []

    def resolve(host: str, *_: Any, **__: Any) -> list[Any]:
        asked.append(host)
        released.wait()
        return []

    lookups, where = Lookups(resolve), endpoint(ELSEWHERE, purpose="hook")
    attempts = [timed(where, lookups=lookups) for _ in range(3)]
    assert {(each.kind, each.detail) for each in attempts} == {("not_sent", "no connection within 0.2 s")}
    assert asked == ["example.com"]
    released.set()
    for _ in range(2):
        assert "the name has no address" in timed(where, lookups=lookups).detail
    assert len(asked) > 1, "what was given up is asked anew"


@pytest.mark.parametrize(
    "error", [socket.gaierror(-2, "Name or service not known"), UnicodeError("label too long")]
)
def test_a_name_without_an_address_sent_nothing(error: Exception) -> None:
    def resolve(*_: Any, **__: Any) -> list[Any]:
        raise error

    attempt = timed(endpoint(ELSEWHERE, purpose="hook"), lookups=Lookups(resolve))
    assert attempt.kind == "not_sent"
    assert type(error).__name__ in attempt.detail


# --- what is read -------------------------------------------------------------------------------------


def test_interim_answers_are_read_over() -> None:
    whole = b"HTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\n" + CONTINUE + b"HTTP/1.1 201 Made\r\n\r\n{}"
    with FaultServer(raw(CONTINUE + whole)) as server:
        attempt = timed(to(server))
    assert (attempt.kind, attempt.status, attempt.body) == ("answered", 201, b"{}")


@pytest.mark.parametrize("size", [LONGEST_BODY, LONGEST_BODY + 1])
@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_is_whole_or_nothing(size: int, chunked: bool) -> None:
    body = b'{"success": true}'.ljust(size)
    if chunked:
        head = b"Transfer-Encoding: chunked"
        body = b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
    else:
        head = b"Content-Length: %d" % len(body)
    with FaultServer(raw(b"HTTP/1.1 200 OK\r\n" + head + b"\r\n\r\n" + body)) as server:
        attempt = timed(to(server))
    assert attempt.status == 200
    assert len(attempt.body) == (size if size == LONGEST_BODY else 0)


def test_a_caller_says_how_long_a_body_may_be() -> None:
    body, head = b" " * (LONGEST_BODY + 1), b"HTTP/1.1 200 OK\r\nContent-Length: 65537\r\n\r\n"
    with FaultServer(raw(head + body)) as server:
        attempt = post(to(server), b"{}", {}, connect_seconds=1, answer_seconds=5, longest=len(body))
        assert (len(attempt.body), attempt.detail) == (len(body), "status 200")
        attempt = post(to(server), b"{}", {}, connect_seconds=1, answer_seconds=5, longest=len(body) - 1)
        assert (attempt.body, attempt.detail) == (b"", "status 200, answer longer than 65,536 bytes")
    with FaultServer(raw(head + body[:-1])) as server:
        attempt = post(to(server), b"{}", {}, connect_seconds=1, answer_seconds=5, longest=len(body))
        assert (attempt.body, attempt.detail) == (b"", "status 200, answer cut short")


@pytest.mark.parametrize(
    "whole",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: " + b"9" * 5_000 + b"\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-5\r\n{}\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\n{}\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 429 Later\r\nRetry-After: Wed, 99 Foo 99999 99:99:99 +9999999\r\nDate: x\r\n\r\n",
        b"HTTP/1.1 2000 OK\r\n\r\n",
        b"HTTP/7.1 200 OK\r\n\r\n",
        b"",
    ],
)
def test_no_answer_raises(whole: bytes) -> None:
    with FaultServer(raw(whole)) as server:
        timed(to(server))


def test_a_body_that_breaks_off_within_a_chunk_is_none() -> None:
    with FaultServer(broken_chunks) as server:
        assert timed(to(server)).body == b""


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"Retry-After": "12"}, 12.0),
        ({"Retry-After": "0.25"}, 0.25),
        ({"Retry-After": "9" * 400}, float("inf")),
        ({"Retry-After": "Wed, 06 Mar 2024 15:00:09 GMT", "Date": "Wed, 06 Mar 2024 15:00:00 GMT"}, 9.0),
        ({"Retry-After": "Wed, 06 Mar 2024 14:00:00 GMT", "Date": "Wed, 06 Mar 2024 15:00:00 GMT"}, 0.0),
        ({"Retry-After": "Wed, 06 Mar 2024 15:00:09 GMT"}, None),
        ({"Retry-After": "soon"}, None),
        ({"Retry-After": "nan"}, None),
        ({"Retry-After": "-1"}, None),
        ({}, None),
    ],
)
def test_retry_after_is_a_number_or_a_date(headers: dict[str, str], seconds: float | None) -> None:
    with FaultServer(answer(429, b"", headers)) as server:
        assert timed(to(server)).retry_after == seconds


def test_a_header_that_would_break_out_of_its_line_is_not_sent() -> None:
    with FaultServer(answer()) as server:
        for value in ("a\r\nX-B: c", "ü"):
            attempt = post(to(server), b"{}", {"X-A": value}, connect_seconds=1, answer_seconds=1)
            assert attempt.kind == "not_sent"
    assert server.requests == []


# --- addresses ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "fault"),
    [
        (f"http://example.com{HOOK}", "must begin with https"),
        (f"ftp://example.com{HOOK}", "must begin with https"),
        ("s3cr3t-passw0rd", "no valid host"),
        (f"https://{HOOK}", "no valid host"),
        (f"https://a..b{HOOK}", "no valid host"),
        (f"https://{'a' * 64}.com{HOOK}", "no valid host"),
        (f"https://exa%6dple.com{HOOK}", "no valid host"),
        (f"https://-example.com{HOOK}", "no valid host"),
        (f"https://exam*ple.com{HOOK}", "no valid host"),
        ("https://example.com", "no path"),
        ("https://example.com/", "no path"),
        (f"https://example.com{HOOK}ü", "outside ASCII"),
        (f"https://example.com{HOOK}?key=ü", "outside ASCII"),
        (f"https://example.com{HOOK} ", "a space"),
        (f"https://example.com{HOOK}\n", "a space"),
        (f"https://example.com/ho\tok{HOOK}", "a space"),
        (f"https://example.com{HOOK}\x00", "control character"),
        (f"https://example.com{HOOK}\u200b", "control character"),
        (f"\ufeffhttps://example.com{HOOK}", "control character"),
        ("https://example.com:s3cr3t-passw0rd/", "cannot be read"),
        (f"https://example.com:65536{HOOK}", "cannot be read"),
        (f"https://example.com:0{HOOK}", "port 0"),
        ("https://[s3cr3t-passw0rd/", "cannot be read"),
        (f"https://me:s3cr3t-passw0rd@example.com{HOOK}", "user name"),
        (f"https://example.com{HOOK}#s3cr3t-passw0rd", "fragment"),
    ],
)
def test_an_address_is_refused_at_the_start_in_one_line_without_showing_it(url: str, fault: str) -> None:
    with pytest.raises(ConfigError, match=rf"^hook: its URL .*{fault}") as refused:
        endpoint(SecretStr(url), purpose="hook")
    assert "passw0rd" not in str(refused.value)
    assert len(str(refused.value).splitlines()) == 1


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]"])
def test_plain_http_may_stay_on_this_machine(host: str) -> None:
    where = endpoint(SecretStr(f"http://{host}:8080/hook?key=1"), purpose="hook")
    assert not where.secure
    assert (where.host, where.port) == (host.strip("[]"), 8080)
    assert where.path.get_secret_value() == "/hook?key=1"
    assert "key" not in repr(where)


def test_a_name_outside_ascii_becomes_what_is_looked_up() -> None:
    where = endpoint(SecretStr(f"https://bücher.example{HOOK}"), purpose="hook")
    assert (where.host, where.port, where.secure) == ("xn--bcher-kva.example", 443, True)


def test_no_certificate_authorities_are_noticed_at_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "none.pem"))
    monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path / "none"))
    with pytest.raises(ConfigError, match=r"TLS: no certificate authorities in .*SSL_CERT_FILE"):
        endpoint(ELSEWHERE, purpose="hook")

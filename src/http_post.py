"""One HTTP POST within a deadline, which knows whether a byte of the request may have left.

The deadline is a total: whatever a name server or a web server does, a byte at a time included, `post`
returns within `connect_seconds + answer_seconds`. It goes straight to the host: no proxy, no redirect.
"""

from __future__ import annotations

import errno
import io
import re
import socket
import ssl
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from contextlib import closing
from email.utils import parsedate_to_datetime
from http.client import HTTPException, HTTPMessage, HTTPResponse
from ipaddress import ip_address
from typing import Any, Literal, NamedTuple, Protocol
from urllib.parse import SplitResult, urlsplit

from pydantic import SecretStr

from lockstep.errors import ConfigError

LONGEST_HEAD = 65_536  # bytes of status lines and headers, interim answers included
LONGEST_BODY = 65_536  # bytes, where a caller does not ask for more
_SWITCHING_PROTOCOLS = 101
_LABEL = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?", re.IGNORECASE)
_SECONDS = re.compile(r"\d+(\.\d+)?", re.ASCII)


class PostAttempt(NamedTuple):
    """How one POST ended.

    kind     `not_sent`: no byte of the request left. `unanswered`: some may have, and no whole head of an
             answer came back. `answered`: with `status`; `body` is empty where it was cut short or too
             long, as `detail` says
    detail   why, in words, without the address
    retry_after   seconds that the server asked to wait, or None
    """

    kind: Literal["not_sent", "unanswered", "answered"]
    detail: str
    status: int = 0
    body: bytes = b""
    retry_after: float | None = None


class Endpoint(NamedTuple):
    """Where to post: a host in ASCII, and path and query, which are a secret since they hold a password."""

    host: str
    port: int
    path: SecretStr
    tls: ssl.SSLContext | None

    @property
    def secure(self) -> bool:
        """Whether it is reached over TLS."""
        return self.tls is not None


class Post(Protocol):
    """The call of `post`, for whoever replaces it."""

    def __call__(
        self,
        to: Endpoint,
        body: bytes,
        headers: Mapping[str, str],
        *,
        connect_seconds: float,
        answer_seconds: float,
    ) -> PostAttempt:
        """Post once."""


# Where to post: everything that could fail later, in a thread, is checked here


def endpoint(url: SecretStr, *, purpose: str) -> Endpoint:
    """Return the parts of `url`; ConfigError, without the address, where it is no https URL with a path.

    Plain http is allowed to this machine alone. A host name outside ASCII becomes its IDNA form.
    """
    value = url.get_secret_value()
    if any(character.isspace() or not character.isprintable() for character in value):
        raise ConfigError(f"{purpose}: its URL holds a space or a control character; copy it again")
    try:
        parts = urlsplit(value)
        port = parts.port
    except ValueError as error:
        raise ConfigError(f"{purpose}: its URL cannot be read (host or port); copy it again") from error
    host = _host(parts, purpose)
    secure = parts.scheme == "https"
    if not secure and not (parts.scheme == "http" and _is_loopback(host)):
        raise ConfigError(f"{purpose}: its URL must begin with https://")
    if parts.username is not None or parts.fragment or port == 0:
        raise ConfigError(f"{purpose}: its URL has a user name, a fragment or port 0; copy it again")
    path = f"{parts.path}?{parts.query}" if parts.query else parts.path
    if parts.path in ("", "/") or not path.isascii():
        raise ConfigError(f"{purpose}: its URL has no path, or one outside ASCII; copy it again")
    tls = _tls(purpose) if secure else None
    return Endpoint(host, port or (443 if secure else 80), SecretStr(path), tls)


def _host(parts: SplitResult, purpose: str) -> str:
    """Return the host as it is looked up and named in a certificate."""
    name = parts.hostname or ""
    if _is_address(name):
        return name
    try:
        ascii_name = name.encode("idna").decode()
    except UnicodeError:
        ascii_name = ""
    if not all(_LABEL.fullmatch(label) for label in ascii_name.removesuffix(".").split(".")):
        raise ConfigError(f"{purpose}: its URL has no valid host name; copy it again, completely")
    return ascii_name


def _is_address(host: str) -> bool:
    try:
        return bool(ip_address(host)) and "%" not in host
    except ValueError:
        return False


def _is_loopback(host: str) -> bool:
    return host == "localhost" or (_is_address(host) and ip_address(host).is_loopback)


def _tls(purpose: str) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context()
    except (OSError, ValueError) as error:
        raise ConfigError(f"{purpose}: TLS: {_reason(error)}; fix OpenSSL's configuration") from error
    where = ssl.get_default_verify_paths()
    if not context.cert_store_stats()["x509_ca"] and where.capath is None:
        raise ConfigError(
            f"{purpose}: TLS: no certificate authorities in {where.openssl_cafile}; install ca-certificates, "
            f"or fix {where.openssl_cafile_env}"
        )
    return context


# Posting


class Deadline:
    """A moment on the steady clock that the sum of many waits must not pass."""

    def __init__(self, seconds: float) -> None:
        self._end = time.monotonic() + seconds

    def left(self) -> float:
        """Return the seconds that are left, more than 0; TimeoutError when there are none."""
        left = self._end - time.monotonic()
        if left <= 0.0:
            raise TimeoutError
        return left


def post(
    to: Endpoint,
    body: bytes,
    headers: Mapping[str, str],
    *,
    connect_seconds: float,
    answer_seconds: float,
    longest: int = LONGEST_BODY,
    lookups: Lookups | None = None,
) -> PostAttempt:
    """Post `body` once. Never raises for what a network or a server may do.

    connect_seconds   for name lookup, connection and TLS handshake together: until then nothing was sent
    answer_seconds    for sending the request and reading the whole answer
    longest           bytes of the answer's body; a longer one is not read to its end
    """
    try:
        request = _request(to, body, headers)
        connection = _connected(to, Deadline(connect_seconds), lookups or LOOKUPS)
    except (OSError, ValueError, RuntimeError) as error:
        return PostAttempt("not_sent", f"no connection{_because(error, connect_seconds)}")
    with closing(connection):
        deadline = Deadline(answer_seconds)
        try:
            _send(connection, request, deadline)
            incoming = _Incoming(connection, deadline)
            response = _Response(incoming, method="POST")  # type: ignore[arg-type]
            response.begin()
        except (OSError, HTTPException, ValueError) as error:
            return PostAttempt("unanswered", f"sent, but no answer{_because(error, answer_seconds)}")
        with closing(response):
            return _answered(response, incoming, longest)


def _request(to: Endpoint, body: bytes, headers: Mapping[str, str]) -> bytes:
    """Return the bytes to send; ValueError for a header that would break out of its line."""
    name = f"[{to.host}]" if ":" in to.host else to.host
    fields = {
        "Host": name if to.port == (443 if to.secure else 80) else f"{name}:{to.port}",
        "User-Agent": "lockstep",
        "Accept-Encoding": "identity",
        "Connection": "close",
        **headers,
        "Content-Length": str(len(body)),
    }
    lines = [f"POST {to.path.get_secret_value()} HTTP/1.1"]
    lines += [f"{key}: {text}" for key, text in fields.items()]
    if not all(line.isascii() and line.isprintable() for line in lines):
        raise ValueError("a header or the path holds a character that is not printable ASCII")
    return "\r\n".join([*lines, "", ""]).encode("ascii") + body


class Lookups:
    """Name lookups that can be given up.

    Nothing can interrupt the resolver of the system. One that hangs is left behind in a daemon thread, and
    whoever asks for the same name again waits for that one: a name costs one thread at most.
    """

    def __init__(self, resolve: Callable[..., list[Any]] = socket.getaddrinfo) -> None:
        self._resolve = resolve
        self._lock = threading.Lock()
        self._running: dict[tuple[str, int], Future[list[Any]]] = {}

    def addresses(self, host: str, port: int, deadline: Deadline) -> list[Any]:
        """Return the entries of `getaddrinfo`; OSError where there are none, TimeoutError where it hangs."""
        if _is_address(host):
            return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
        with self._lock:
            found = self._running.get((host, port)) or self._begin(host, port)
        return found.result(deadline.left())

    def _begin(self, host: str, port: int) -> Future[list[Any]]:
        found: Future[list[Any]] = Future()

        def look() -> None:
            try:
                addresses = self._resolve(host, port, type=socket.SOCK_STREAM)
            except BaseException as error:
                self._forget(host, port)
                found.set_exception(error)
            else:
                self._forget(host, port)
                found.set_result(addresses)

        threading.Thread(target=look, name=f"lookup {host}", daemon=True).start()
        self._running[host, port] = found
        return found

    def _forget(self, host: str, port: int) -> None:
        with self._lock:
            self._running.pop((host, port), None)


LOOKUPS = Lookups()


def _connected(to: Endpoint, deadline: Deadline, lookups: Lookups) -> socket.socket:
    """Return a connection to the first address that answers; each gets a fair part of the time left."""
    addresses = lookups.addresses(to.host, to.port, deadline)
    refusal: OSError = ConnectionError(errno.EADDRNOTAVAIL, "the name has no address")
    for number, (family, _, _, _, address) in enumerate(addresses):
        plain = socket.socket(family, socket.SOCK_STREAM)
        try:
            plain.settimeout(deadline.left() / (len(addresses) - number))
            plain.connect(address)
        except OSError as error:
            plain.close()
            refusal = error
            continue
        return plain if to.tls is None else _secured(plain, to.tls, to.host, deadline)
    raise refusal


def _secured(plain: socket.socket, tls: ssl.SSLContext, host: str, deadline: Deadline) -> socket.socket:
    """Return the connection after a TLS handshake, for all of which a socket's timeout holds together."""
    with closing(plain):  # a no-op when the handshake succeeds: the new socket has taken it over
        plain.settimeout(deadline.left())
        return tls.wrap_socket(plain, server_hostname=host)


def _send(connection: socket.socket, request: bytes, deadline: Deadline) -> None:
    rest = memoryview(request)
    while rest:
        connection.settimeout(deadline.left())
        rest = rest[connection.send(rest) :]


class AnswerTooLong(OSError):
    """An answer with more bytes than anybody needs."""


class _Incoming(io.RawIOBase):
    """What a server sends back, within a deadline and an allowance of bytes."""

    def __init__(self, connection: socket.socket, deadline: Deadline) -> None:
        self._connection = connection
        self._deadline = deadline
        self._allowance = LONGEST_HEAD

    def makefile(self, mode: str) -> io.BufferedReader:
        """Return itself, buffered, as a socket would; `HTTPResponse` asks for it."""
        return io.BufferedReader(self)

    def allow(self, bytes_more: int) -> None:
        """Let more bytes come."""
        self._allowance += bytes_more

    def readable(self) -> bool:
        """Return True."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Read what is there, waiting for the first byte until the deadline; 0 at the end."""
        if self._allowance <= 0:
            raise AnswerTooLong
        self._connection.settimeout(self._deadline.left())
        count = self._connection.recv_into(buffer)
        self._allowance -= count
        return count


class _Response(HTTPResponse):
    """An answer that reads over all interim ones, 103 as well as 100."""

    def begin(self) -> None:
        """Read until the head of the final answer is complete."""
        super().begin()
        while 100 <= self.status < 200 and self.status != _SWITCHING_PROTOCOLS:
            self.headers = None  # type: ignore[assignment]  # a response with headers has begun
            super().begin()


def _answered(response: HTTPResponse, incoming: _Incoming, longest: int) -> PostAttempt:
    incoming.allow(2 * longest)  # chunks have heads of their own
    short = ", answer cut short"
    try:
        body = response.read(longest + 1)
        # What the server announced and did not send: `read` with a length does not complain.
        wrong = f", answer longer than {longest:,} bytes" if len(body) > longest else short
        complete = len(body) <= longest and not response.length
    except AnswerTooLong:
        body, complete, wrong = b"", False, f", answer longer than {longest:,} bytes"
    except (OSError, HTTPException, ValueError):
        body, complete, wrong = b"", False, short
    detail = f"status {response.status}" + ("" if complete else wrong)
    return PostAttempt(
        "answered", detail, response.status, body if complete else b"", _retry_after(response.headers)
    )


def _retry_after(headers: HTTPMessage) -> float | None:
    """Return the seconds in Retry-After: a number, or a date that is measured from the answer's own Date."""
    value = headers.get("Retry-After", "").strip()
    if _SECONDS.fullmatch(value):
        return float(value)
    try:
        wait = parsedate_to_datetime(value) - parsedate_to_datetime(headers.get("Date", ""))
    except (TypeError, ValueError, IndexError, OverflowError):
        return None
    return max(0.0, wait.total_seconds())


def _because(error: Exception, seconds: float) -> str:
    """Return why there is none: in time, or at all."""
    if isinstance(error, TimeoutError) and error.errno is None:
        return f" within {seconds:g} s"
    return f": {_reason(error)}"


def _reason(error: Exception) -> str:
    # Not str(error): some of them quote what was sent or where to.
    text = error.strerror if isinstance(error, OSError) else None
    return f"{type(error).__name__} ({text})" if text else type(error).__name__

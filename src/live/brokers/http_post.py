"""One HTTP POST that knows whether a byte of the request may have left."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from contextlib import closing
from email.utils import parsedate_to_datetime
from http.client import HTTPConnection, HTTPException, HTTPMessage, HTTPResponse, HTTPSConnection
from ipaddress import ip_address
from typing import Literal, NamedTuple
from urllib.parse import urlsplit

from pydantic import SecretStr

from lockstep.errors import LiveError

_LONGEST_BODY = 65_536


class Attempt(NamedTuple):
    """How one POST ended.

    kind     `not_sent`: no byte of the request left. `unanswered`: some may have, and no status came
             back. `answered`: with `status`; `body` is empty where it was cut short or too long
    detail   why, in words, without the address
    retry_after   seconds that the server asked to wait, or None
    """

    kind: Literal["not_sent", "unanswered", "answered"]
    detail: str
    status: int = 0
    body: bytes = b""
    retry_after: float | None = None


class Endpoint(NamedTuple):
    """Where to post; the address is a secret, since it holds a password."""

    secure: bool
    host: str
    port: int | None
    path: SecretStr


def endpoint(url: SecretStr, *, purpose: str) -> Endpoint:
    """Return the parts of `url`; LiveError, without the address, where it is no https URL with a path.

    Plain http is allowed to this machine alone.
    """
    try:
        parts = urlsplit(url.get_secret_value())
        port = parts.port
    except ValueError as error:
        raise LiveError(f"{purpose}: its URL cannot be read; copy it again") from error
    if not parts.hostname or parts.path in ("", "/"):
        raise LiveError(f"{purpose}: its URL has no host or no path; copy it again, completely")
    secure = parts.scheme == "https"
    if not secure and not (parts.scheme == "http" and _is_loopback(parts.hostname)):
        raise LiveError(f"{purpose}: its URL must begin with https://")
    path = f"{parts.path}?{parts.query}" if parts.query else parts.path
    return Endpoint(secure, parts.hostname, port, SecretStr(path))


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def post(
    to: Endpoint, body: bytes, headers: Mapping[str, str], *, connect_seconds: float, answer_seconds: float
) -> Attempt:
    """Post `body` once. Never raises for what a network or a server may do."""
    connection = _connection(to, connect_seconds)
    with closing(connection):
        try:
            connection.connect()
            connection.sock.settimeout(answer_seconds)
        except OSError as error:
            return Attempt("not_sent", f"no connection: {_reason(error)}")
        try:
            connection.request("POST", to.path.get_secret_value(), body, dict(headers))
            response = connection.getresponse()
        except (OSError, HTTPException) as error:
            return Attempt("unanswered", f"sent, but no answer: {_reason(error)}")
        with closing(response):
            return _answered(response)


def _connection(to: Endpoint, timeout: float) -> HTTPConnection:
    if to.secure:
        return HTTPSConnection(to.host, to.port, timeout=timeout, context=ssl.create_default_context())
    return HTTPConnection(to.host, to.port, timeout=timeout)


def _answered(response: HTTPResponse) -> Attempt:
    try:
        body = response.read(_LONGEST_BODY)
        # What the server announced and did not send: `read` with a length does not complain.
        complete = not response.length
    except (OSError, HTTPException):
        body, complete = b"", False
    detail = f"status {response.status}" + ("" if complete else ", answer cut short")
    return Attempt(
        "answered", detail, response.status, body if complete else b"", _retry_after(response.headers)
    )


def _retry_after(headers: HTTPMessage) -> float | None:
    """Return the seconds in Retry-After: a number, or a date that is measured from the answer's own Date."""
    value = headers.get("Retry-After", "").strip()
    if value.isascii() and value.isdigit():
        return float(value)
    try:
        wait = parsedate_to_datetime(value) - parsedate_to_datetime(headers.get("Date", ""))
    except (TypeError, ValueError):
        return None
    return max(0.0, wait.total_seconds())


def _reason(error: OSError | HTTPException) -> str:
    # Not str(error): some of them quote what was sent or where to.
    text = error.strerror if isinstance(error, OSError) else None
    return f"{type(error).__name__} ({text})" if text else type(error).__name__

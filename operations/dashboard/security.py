"""Who may see the dashboard: a token in a file, a session in a cookie, and what is asked of every request."""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
import time
from collections.abc import Awaitable, Callable, MutableMapping
from http import HTTPStatus
from http.cookies import CookieError, SimpleCookie
from pathlib import Path
from typing import Any

from starlette.responses import PlainTextResponse, Response

from lockstep.errors import ConfigError
from lockstep.secrets import Secrets

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
ASGIApp = Callable[[Scope, Receive, Send], Awaitable[None]]

HOSTS = frozenset(("127.0.0.1", "localhost", "[::1]"))
LOGIN = "/login"
STATIC = "/static/"
SESSION_SECONDS = 12 * 3_600
_COOKIE = "lockstep_dashboard"
_READS = frozenset(("GET", "HEAD"))
# Figures have their height, heat maps their shades and plotly all its looks in style attributes. Scripts are
# files of this server, without exception.
_POLICY = (
    "default-src 'self'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; "
    "object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
_HEADERS = (
    (b"content-security-policy", _POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
)


def token_of(path: Path) -> str:
    """Return the token in a file; a file that is missing is made, readable by its owner alone.

    ConfigError where it cannot be made, LiveError where other users can read it, or it holds no token.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as error:
        if path.exists():
            return Secrets({}).read("dashboard token", variable=None, file=path).get_secret_value()
        raise ConfigError(
            f"{path}: {error.strerror}: the token cannot be written; name another file with --token-file"
        ) from error
    token = secrets.token_urlsafe(32)
    with os.fdopen(handle, "w", encoding="ascii") as file:
        file.write(f"{token}\n")
    return token


class LoginSessions:
    """Tells who knows the token. A session is a time and a code that only the token makes; none is kept.

    clock   seconds since 1970

    >>> sessions = LoginSessions("a token of more than twelve letters", clock=lambda: 1_000.0)
    >>> sessions.holds(sessions.begun()), sessions.holds("1e9.feed"), sessions.knows("another one")
    (True, False, False)
    """

    def __init__(self, token: str, *, clock: Callable[[], float] = time.time) -> None:
        self._token = token.encode()
        self._key = hashlib.sha256(b"lockstep dashboard session\0" + self._token).digest()
        self._clock = clock

    def knows(self, token: str) -> bool:
        """Whether this is the token, in a time that does not depend on how much of it is right."""
        return hmac.compare_digest(token.encode(), self._token)

    def begun(self) -> str:
        """Return the value of a new session's cookie."""
        return self._signed(int(self._clock()) + SESSION_SECONDS)

    def holds(self, value: str) -> bool:
        """Whether a cookie is of a session that has not ended."""
        until = value.partition(".")[0]
        if not (until.isascii() and until.isdigit() and len(until) < 16):
            return False
        return hmac.compare_digest(value.encode(), self._signed(int(until)).encode()) and (
            int(until) > self._clock()
        )

    def _signed(self, until: int) -> str:
        code = hmac.new(self._key, str(until).encode(), hashlib.sha256).hexdigest()
        return f"{until}.{code}"


def set_session(answer: Response, sessions: LoginSessions) -> None:
    """Let an answer begin a session in the browser."""
    answer.set_cookie(
        _COOKIE, sessions.begun(), max_age=SESSION_SECONDS, path="/", httponly=True, samesite="strict"
    )


class Guard:
    """Refuses a request before any page sees it, and sets the headers of every answer.

    400 for a Host that is not this machine's (a page elsewhere whose name leads here), 405 for anything but
    GET and HEAD, except the login; 401 without a session or a token, except for styles and scripts.

    unknown   answers a request without a session; it is given the path
    """

    def __init__(self, app: ASGIApp, *, sessions: LoginSessions, unknown: Callable[[str], Response]) -> None:
        self._app = app
        self._sessions = sessions
        self._unknown = unknown

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or hand it on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def guarded(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), *_HEADERS]
            await send(message)

        refusal = self._refusal(scope)
        await (self._app if refusal is None else refusal)(scope, receive, guarded)

    def _refusal(self, scope: Scope) -> Response | None:
        headers = [(name.lower(), value.decode("latin-1")) for name, value in scope["headers"]]
        hosts = [value for name, value in headers if name == b"host"]
        if len(hosts) != 1 or not _is_own(hosts[0]):
            return PlainTextResponse(
                "this host is not served here; open the dashboard as http://localhost\n",
                HTTPStatus.BAD_REQUEST,
            )
        path, method = scope["path"], scope["method"]
        if method not in _READS and (path, method) != (LOGIN, "POST"):
            return PlainTextResponse(
                "the dashboard only reads\n", HTTPStatus.METHOD_NOT_ALLOWED, {"allow": "GET, HEAD"}
            )
        if path == LOGIN or path.startswith(STATIC) or self._is_known(headers):
            return None
        return self._unknown(path)

    def _is_known(self, headers: list[tuple[bytes, str]]) -> bool:
        for name, value in headers:
            if name == b"authorization":
                scheme, _, token = value.partition(" ")
                if scheme.lower() == "bearer" and self._sessions.knows(token.strip()):
                    return True
            elif name == b"cookie" and self._sessions.holds(_session_in(value)):
                return True
        return False


def _is_own(host: str) -> bool:
    """Whether a Host header names this machine; the port may be that of a tunnel."""
    name, colon, port = host.rpartition(":") if not host.endswith("]") else (host, "", "")
    return (name if colon else host).lower() in HOSTS and (not colon or port.isdigit())


def _session_in(cookies: str) -> str:
    try:
        found = SimpleCookie(cookies).get(_COOKIE)
    except CookieError:
        return ""
    return found.value if found else ""

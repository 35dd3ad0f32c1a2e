"""The dashboard's server: Starlette on the loopback address, a process of its own that only reads."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import socket
import threading
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import uvicorn
from markupsafe import Markup
from plotly.offline import get_plotlyjs
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import (
    HTMLResponse,
    JSONResponse,
    PlainTextResponse,
    RedirectResponse,
    Response,
    StreamingResponse,
)
from starlette.routing import Route

from lockstep.errors import LiveError
from lockstep.live.loopback import LOOPBACK
from lockstep.live.status.monitor import monitor_file
from lockstep.models.manifest_file import MANIFEST
from operations.dashboard.changes import Changes
from operations.dashboard.metrics import metrics_text
from operations.dashboard.page import DashboardPage, DashboardSources
from operations.dashboard.registry import PAGES
from operations.dashboard.security import LOGIN, STATIC, Guard, LoginSessions, set_session
from research.report import page as kit
from research.report.style import SCRIPT, STYLE

STALE_SECONDS = 60.0
"""Seconds without a heartbeat after which an engine counts as not running."""
KEPT_SECONDS = 1.0
"""Seconds that a page may be shown again without being made again."""
_LONGEST_LOGIN = 4_096  # bytes
_WRONG_PAUSE = 0.5  # seconds that a wrong token costs
_LAST_ANSWERS = 2  # seconds that answers may take at a stop
_HELP = "It is the line in the token file; the command that started the dashboard printed where that is."
_LOGGER = logging.getLogger("lockstep.dashboard")
_FAULT = "This page cannot be shown: the dashboard has a fault. Its log says more; the other pages go on."

Piece = tuple[str, Markup]


class _Files:
    """Styles and scripts, each once in memory, under addresses that change with their content."""

    def __init__(self) -> None:
        folder = Path(__file__).with_name("static")
        self._files = {
            "page.css": (STYLE + (folder / "dashboard.css").read_text(encoding="utf-8")).encode(),
            "plotly.js": get_plotlyjs().encode(),
            "page.js": SCRIPT.encode(),
            "dashboard.js": (folder / "dashboard.js").read_bytes(),
        }
        self._digests = {name: hashlib.sha256(text).hexdigest()[:16] for name, text in self._files.items()}
        self.styles = (self._address("page.css"),)
        self.scripts = tuple(map(self._address, ("plotly.js", "page.js", "dashboard.js")))

    def _address(self, name: str) -> str:
        return f"{STATIC}{self._digests[name]}/{name}"

    def answer(self, request: Request) -> Response:
        """Return a file, for a browser to keep; 404 under an address of another version."""
        name = request.path_params["name"]
        if self._digests.get(name) != request.path_params["digest"]:
            return PlainTextResponse("no such file\n", HTTPStatus.NOT_FOUND)
        kind = "text/css" if name.endswith(".css") else "text/javascript"
        keep = {"cache-control": "public, max-age=31536000, immutable"}
        return Response(self._files[name], media_type=kind, headers=keep)


class _Built:
    """The pieces of one page, made once for all browsers that ask within the same moment."""

    def __init__(
        self, page: DashboardPage, sources: DashboardSources, changes: Changes, clock: Callable[[], int]
    ) -> None:
        self._page = page
        self._sources = sources
        self._changes = changes
        self._clock = clock
        self._lock = threading.Lock()
        self._made = 0.0
        self._number = -1
        self._pieces: tuple[Piece, ...] = ()

    def pieces(self) -> tuple[Piece, ...]:
        """Return the pieces, each with its digest; a fault of the page becomes a sentence in its place."""
        with self._lock:
            number = self._changes.number
            if number != self._number or time.monotonic() - self._made > KEPT_SECONDS:
                made = self._build()
                self._pieces = tuple(
                    (hashlib.sha256(each.encode()).hexdigest()[:16], each) for each in made if each
                )
                self._number, self._made = number, time.monotonic()
            return self._pieces

    def _build(self) -> Sequence[Markup]:
        try:
            return self._page.build(self._sources, self._clock())
        except Exception:
            # The page of an emergency: one fault must not take the others away.
            _LOGGER.exception("page %s cannot be made", self._page.name)
            return (kit.header(self._page.title, "", ()), kit.caveats("A fault", [_FAULT]))


class _Answers:
    """What is answered under each address."""

    def __init__(
        self,
        sources: DashboardSources,
        sessions: LoginSessions,
        pages: Sequence[DashboardPage],
        clock: Callable[[], int],
    ) -> None:
        kept = (each.database for each in (sources.monitoring, sources.retraining) if each is not None)
        self.changes = Changes(
            [sources.live.journal, *kept],
            [
                sources.live.status, monitor_file(sources.live.status), sources.store.folder / MANIFEST,
                sources.live.switches.kill_file, sources.live.switches.halt_file,
            ],
        )  # fmt: skip
        self.files = _Files()
        self._sessions = sessions
        self._pages: Mapping[str, DashboardPage] = {each.name: each for each in pages}
        self._built = {each.name: _Built(each, sources, self.changes, clock) for each in pages}
        self._metrics = partial(metrics_text, sources.live.status, clock, stale_seconds=STALE_SECONDS)
        self._first = pages[0].name

    def make_ready(self) -> None:
        """Make the first page."""
        self._built[self._first].pieces()

    def start(self, request: Request) -> Response:
        """Lead to the first page."""
        return RedirectResponse(f"/{self._first}", HTTPStatus.SEE_OTHER)

    def page(self, request: Request) -> Response:
        """Return a whole page."""
        page = self._pages.get(request.path_params["name"])
        if page is None:
            return PlainTextResponse("there is no such page\n", HTTPStatus.NOT_FOUND)
        links = [(f"/{each.name}", each.title, each is page) for each in self._pages.values()]
        text = kit.served_page(
            f"{page.title} - Lockstep",
            self._built[page.name].pieces(),
            page=page.name,
            links=links,
            styles=self.files.styles,
            scripts=self.files.scripts,
        )
        return HTMLResponse(text, headers=_NOT_KEPT)

    def pieces(self, request: Request) -> Response:
        """Return the pieces of a page, for the script of one that is open."""
        built = self._built.get(request.path_params["name"])
        if built is None:
            return PlainTextResponse("there is no such page\n", HTTPStatus.NOT_FOUND)
        return JSONResponse({"pieces": built.pieces()}, headers=_NOT_KEPT)

    async def stream(self, request: Request) -> Response:
        """Tell of changes until the browser or the server goes."""
        return StreamingResponse(
            self.changes.stream(), media_type="text/event-stream", headers={"cache-control": "no-store"}
        )

    def metrics(self, request: Request) -> Response:
        """Return what Prometheus reads."""
        return Response(self._metrics(), media_type=CONTENT_TYPE_PLAIN_0_0_4, headers=_NOT_KEPT)

    async def login(self, request: Request) -> Response:
        """Begin a session for the right token; show the form for a GET."""
        if request.method != "POST":
            return self._form(self._first, "", HTTPStatus.OK)
        body = b""
        async for chunk in request.stream():
            body += chunk
            if len(body) > _LONGEST_LOGIN:
                return PlainTextResponse("too long for a token\n", HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
        given = parse_qs(body.decode("utf-8", "replace"))
        page = given.get("page", [""])[0]
        page = page if page in self._pages else self._first
        if not self._sessions.knows(given.get("token", [""])[0].strip()):
            await asyncio.sleep(_WRONG_PAUSE)
            return self._form(page, "This is not the token.", HTTPStatus.UNAUTHORIZED)
        answer = RedirectResponse(f"/{page}", HTTPStatus.SEE_OTHER, _NOT_KEPT)
        set_session(answer, self._sessions)
        return answer

    def unknown(self, path: str) -> Response:
        """Answer somebody who has no session: with the form where a page was asked for."""
        name = path.removeprefix("/")
        if name and name not in self._pages:
            return PlainTextResponse("log in, or send the token as a bearer token\n", HTTPStatus.UNAUTHORIZED)
        return self._form(name or self._first, "", HTTPStatus.UNAUTHORIZED)

    def _form(self, page: str, refusal: str, status: HTTPStatus) -> Response:
        text = kit.login_page(
            "Lockstep dashboard", _HELP, refusal=refusal, page=page, styles=self.files.styles
        )
        return HTMLResponse(text, status, {**_NOT_KEPT, "www-authenticate": "Bearer"})


_NOT_KEPT = {"cache-control": "no-store"}


def dashboard_app(
    sources: DashboardSources,
    *,
    token: str,
    pages: Sequence[DashboardPage] = PAGES,
    clock: Callable[[], int] = time.time_ns,
) -> Starlette:
    """Return the application; `app.state.changes` tells its streams to end.

    token   that gives access; pages   in the order of their links, the first one at `/`
    clock   UTC ns, for ages
    """
    sessions = LoginSessions(token)
    answers = _Answers(sources, sessions, pages, clock)

    @asynccontextmanager
    async def running(app: Starlette) -> AsyncIterator[None]:
        looking = asyncio.create_task(answers.changes.run())
        # The first page of a long journal takes longest, and somebody is about to ask for it.
        ready = asyncio.create_task(asyncio.to_thread(answers.make_ready))
        try:
            yield
        finally:
            looking.cancel()
            ready.cancel()

    app = Starlette(
        routes=[
            Route("/", answers.start),
            Route("/changes", answers.stream),
            Route("/metrics", answers.metrics),
            Route(LOGIN, answers.login, methods=["GET", "POST"]),
            Route("/pieces/{name}", answers.pieces),
            Route(f"{STATIC}{{digest}}/{{name}}", answers.files.answer),
            Route("/{name}", answers.page),
        ],
        middleware=[Middleware(Guard, sessions=sessions, unknown=answers.unknown)],
        lifespan=running,
    )
    app.state.changes = answers.changes
    return app


def bound(port: int) -> socket.socket:
    """Return a socket that listens on a loopback port, 0 for any; LiveError where it is taken."""
    found = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        found.bind((LOOPBACK, port))
        found.listen()  # A browser that is quicker than the server waits.
    except OSError as error:
        found.close()
        raise LiveError(f"dashboard: port {port}: {error.strerror}; choose another with --port") from error
    return found


class _Server(uvicorn.Server):
    """Ends its streams first: a browser that waits for changes would hold up a stop."""

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        app: Any = self.config.app
        await app.state.changes.close()
        await super().shutdown(sockets)


def server_of(app: Starlette) -> uvicorn.Server:
    """Return what serves the application: `run(sockets=[bound(port)])` until SIGTERM or SIGINT."""
    config = uvicorn.Config(
        app,
        log_level="warning",
        access_log=False,
        server_header=False,
        date_header=False,
        timeout_graceful_shutdown=_LAST_ANSWERS,
        proxy_headers=False,
    )
    return _Server(config)

"""Cassettes: what a language model was asked and what it answered, a line each, to be answered from again.

A cassette is a file of JSON lines. It is written while a session goes on, before anything is made of an
answer, so that a session that was killed asks nothing twice, and one that is made again asks nothing at all.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from lockstep.errors import AgentError
from lockstep.identity import json_digest, json_text
from lockstep.settings import parse_json

_COUNTS = ("number", "tokens_in", "tokens_out", "status")


@dataclass(frozen=True, kw_only=True)
class Exchange:
    """One request and its answer; no header of either, so no key.

    request      SHA-256 (hex) of the request's content; session: of what does not change in a session
    number       of the proposal that it was for, from 1
    knowledge_until   ISO date up to which the model may have read the history
    tokens_in, tokens_out   as the server counts them, or estimated from the bytes
    status, body   of the answer; failure: why there is no whole answer, empty where there is one
    """

    request: str
    session: str
    number: int
    model: str
    knowledge_until: str
    tokens_in: int
    tokens_out: int
    status: int
    body: str
    failure: str = ""


@dataclass(frozen=True, kw_only=True)
class Spent:
    """What requests came to.

    >>> Spent(requests=1, tokens_in=2, tokens_out=3).tokens
    5
    """

    requests: int = 0
    tokens_in: int = 0
    tokens_out: int = 0

    @property
    def tokens(self) -> int:
        """Of requests and answers together."""
        return self.tokens_in + self.tokens_out

    @classmethod
    def of(cls, exchanges: Iterable[Exchange]) -> Spent:
        """Return what some exchanges came to."""
        found = list(exchanges)
        return cls(
            requests=len(found),
            tokens_in=sum(each.tokens_in for each in found),
            tokens_out=sum(each.tokens_out for each in found),
        )


class Cassette:
    """The exchanges of a file, in the order in which they were made; AgentError where a line is none.

    A last line that breaks off, of a process that was killed, counts as not written.

    >>> import tempfile
    >>> tape = Cassette(Path(tempfile.mkdtemp()) / "new.jsonl")
    >>> tape.answer("0" * 64) is None
    True
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._whole = 0
        self._by_request: dict[str, Exchange] = {}
        if path.exists():
            self._read()

    def answer(self, request: str) -> Exchange | None:
        """Return what was answered to a request, None where it was not asked."""
        return self._by_request.get(request)

    def of_session(self, session: str, until: int) -> list[Exchange]:
        """Return the exchanges of a session for its proposals up to a number."""
        return [
            each for each in self._by_request.values() if each.session == session and each.number <= until
        ]

    def keep(self, exchange: Exchange) -> None:
        """Write an exchange down; AgentError where the file cannot be written."""
        line = (json_text(asdict(exchange)) + "\n").encode()
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("r+b" if self.path.exists() else "wb") as file:
                file.seek(self._whole)
                file.write(line)
                file.truncate()
        except OSError as error:
            raise AgentError(f"{self.path}: cannot be written: {error.strerror}; make room") from error
        self._whole += len(line)
        self._by_request[exchange.request] = exchange

    def _read(self) -> None:
        try:
            content = self.path.read_bytes()
        except OSError as error:
            raise AgentError(f"{self.path}: cannot be read: {error.strerror}") from error
        for number, line in enumerate(content.splitlines(keepends=True), start=1):
            if not line.endswith(b"\n"):
                break
            exchange = self._exchange(number, line)
            self._by_request[exchange.request] = exchange
            self._whole += len(line)

    def _exchange(self, number: int, line: bytes) -> Exchange:
        try:
            return _exchange(parse_json(line))
        except (ValueError, TypeError) as error:
            raise AgentError(
                f"{self.path}:{number}: is no exchange with a language model: {error}; restore the file"
            ) from error


def request_hash(about: str, answers: Sequence[str]) -> str:
    """Return the SHA-256 (hex) of a request: of what the model is told, and of what it answered so far.

    How a library spells the request does not matter.
    """
    return json_digest([about, *answers])


def _exchange(content: Any) -> Exchange:
    names = {each.name for each in fields(Exchange)}
    if not isinstance(content, dict) or set(content) != names:
        raise ValueError(f"expected {', '.join(sorted(names))}")
    for name, value in content.items():
        expected = int if name in _COUNTS else str
        if type(value) is not expected:
            raise ValueError(f"{name} {json.dumps(value)[:40]}: expected {expected.__name__}")
    return Exchange(**content)

"""One request to a language model: from the cassette, or over the network, within all limits.

Whatever the library above does, a request leaves this process here alone: to the one address of the settings,
without a redirect, with a total time-out, for an answer of at most a megabyte. The key is added here, and an
answer that gives it away is not kept.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import Field, SecretStr, model_validator

from lockstep.errors import AgentError, BudgetSpent, ConfigError, LiveError, NoProposal
from lockstep.http_post import Endpoint, PostAttempt, endpoint, post
from lockstep.identity import json_text
from lockstep.secrets import Secrets
from lockstep.settings import Settings, parse_json
from research.agents.cassettes import Cassette, Exchange, Spent, request_hash

OFFLINE = "LOCKSTEP_LLM_OFFLINE"
"""Environment variable; set, a session is answered from its cassette alone."""
MOST_REQUESTS = 3
"""For one proposal, whatever goes wrong."""
MOST_BYTES = 1_000_000
"""Of an answer that are read; more than `KEPT_BYTES` are not kept."""
KEPT_BYTES = 128_000
FAILED = "language model: no answer: "
"""Begins what is said of a proposal that came to nothing because of the server."""

_PURPOSE = "language model"
_USAGE = ("prompt_tokens", "completion_tokens")
_BYTES_PER_TOKEN = 3
_MOST_TOKENS = 10_000_000
_CONNECT_SECONDS = 10.0
_FIRST_WAIT = 0.2
_CUT_SHORT = "answer cut short"
_QUOTED = 200
_MILLION = 1_000_000.0
_TOO_MANY = 429
# The same request would be answered the same, until somebody corrects something.
_TO_CORRECT = {
    401: "the key is refused; correct it",
    402: "the account has no means left; fill it",
    403: "the key is refused; correct it",
    404: "there is no such address or model; correct url or model",
}


class LlmBudget(Settings):
    """What a session may spend; money in the currency of the prices, None: no limit."""

    requests: Annotated[int, Field(ge=1)] = 300
    tokens: Annotated[int, Field(ge=1)] = 3_000_000
    money: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None


class LlmPrice(Settings):
    """Of a million tokens."""

    input: Annotated[float, Field(ge=0, allow_inf_nan=False)]
    output: Annotated[float, Field(ge=0, allow_inf_nan=False)]


class LlmSettings(Settings):
    """Which language model a session asks, and within which limits.

    url              that `/chat/completions` is added to: https, or http to this machine
    model            as the server calls it
    knowledge_until  up to when it may have read the history; of an unknown model, today
    key_variable, key_file   where the key is; neither: the server needs none
    output           `tool`, `native` or `prompted`: how the server is asked for JSON
    answer_tokens    that an answer may have
    seconds          for one answer, all of it; longest_wait: before a request is made again
    cassette         file; "": one for each session, under `agents` of the results

    >>> LlmSettings(url="http://127.0.0.1:8080/v1", model="small", knowledge_until="2024-06-30").output
    'tool'
    """

    url: str
    model: Annotated[str, Field(min_length=1, max_length=200)]
    knowledge_until: date
    key_variable: str | None = None
    key_file: Path | None = None
    output: Annotated[str, Field(pattern="^(tool|native|prompted)$")] = "tool"
    answer_tokens: Annotated[int, Field(ge=100, le=100_000)] = 4_000
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    seconds: Annotated[float, Field(gt=0, le=600)] = 60.0
    longest_wait: Annotated[float, Field(ge=0, le=600)] = 1.0
    budget: LlmBudget = LlmBudget()
    price: LlmPrice | None = None
    cassette: str = ""

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.budget.money is not None and self.price is None:
            raise ValueError("budget.money: nothing can be counted without a price; give price")
        if self.key_variable is not None and self.key_file is not None:
            raise ValueError("key_variable and key_file are given; give one")
        if "?" in self.url:
            raise ValueError("url: has a query, which a session would keep; a key has its own place")

        return self

    @property
    def address(self) -> Endpoint:
        """Where to post; ConfigError where `url` is none."""
        return endpoint(SecretStr(f"{self.url.rstrip('/')}/chat/completions"), purpose=_PURPOSE)

    def money(self, spent: Spent) -> float:
        """Return what tokens cost, 0 without prices."""
        if self.price is None:
            return 0.0
        return (self.price.input * spent.tokens_in + self.price.output * spent.tokens_out) / _MILLION


@dataclass(frozen=True, kw_only=True)
class Asked:
    """For what requests are made.

    session   hash of what does not change in it; number: of the proposal
    about     hash of what the model is told
    """

    session: str
    number: int
    about: str


class Wire:
    """Answers the requests of one proposal; see `exchange`."""

    def __init__(self, settings: LlmSettings, cassette: Cassette, asked: Asked) -> None:
        self._settings, self._cassette, self._asked = settings, cassette, asked
        self._place = 0
        self._made = cassette.of_session(asked.session, asked.number - 1)
        self.error: AgentError | None = None

    def exchange(self, content: Mapping[str, Any]) -> bytes:
        """Return the body of an answer, JSON of known depth. What is raised is kept as `error`, too.

        NoProposal where there is no whole answer within three requests, BudgetSpent where no request may be
        made, AgentError where somebody has to correct something first.
        """
        try:
            while True:
                found = self._once(content)
                if not found.failure:
                    return _without_usage(found.body)
                if self._place >= MOST_REQUESTS or not _may_pass(found):
                    raise NoProposal(f"{FAILED}{found.failure}")
        except AgentError as error:
            self.error = error
            raise

    def _once(self, content: Mapping[str, Any]) -> Exchange:
        """Make one request, or find it in the cassette."""
        if self._place >= MOST_REQUESTS:
            raise NoProposal(f"language model: no valid answer in {MOST_REQUESTS} requests")
        body = json_text(content).encode()
        self._require_budget(len(body))
        own = self._made[len(self._made) - self._place :]
        request = request_hash(self._asked.about, [each.body for each in own])
        known = self._cassette.answer(request)
        if known is None:
            known = self._ask(request, body)
        self._place += 1
        self._made = [*self._made, known]
        return known

    def _require_budget(self, size: int) -> None:
        """Raise BudgetSpent where the next request could cost more than is left."""
        settings, budget = self._settings, self._settings.budget
        spent = Spent.of(self._made)
        next_one = Spent(tokens_in=size // _BYTES_PER_TOKEN, tokens_out=settings.answer_tokens)
        limits = (
            ("requests", spent.requests, 1, budget.requests),
            ("tokens", spent.tokens, next_one.tokens, budget.tokens),
            ("money", settings.money(spent), settings.money(next_one), budget.money),
        )
        for name, used, more, most in limits:
            if most is not None and used + more > most:
                raise BudgetSpent(
                    f"language model: {used:,.6g} of {most:,.6g} {name} are spent, and the next request may "
                    f"take {more:,.6g}; the session ends with what it has"
                )

    def _ask(self, request: str, body: bytes) -> Exchange:
        if os.environ.get(OFFLINE):
            raise AgentError(
                f"{self._cassette.path}: the cassette has no answer for this request ({request[:12]}, "
                f"proposal {self._asked.number}); what the model is told changed, or {OFFLINE} is to be unset"
            )
        secrets, headers = self._headers()
        attempt = self._posted(body, headers)
        text, failure = _read(attempt)
        if text and secrets is not None and secrets.scrub(text) != text:
            text, failure = "", "it gives away the key; nothing of it is kept"
        self._require_right(attempt, secrets)
        tokens_in, tokens_out = _tokens(text, body)
        found = Exchange(
            request=request,
            session=self._asked.session,
            number=self._asked.number,
            model=self._settings.model,
            knowledge_until=self._settings.knowledge_until.isoformat(),
            tokens_in=tokens_in,
            tokens_out=tokens_out,
            status=attempt.status,
            body="" if failure else text,
            failure=failure,
        )
        self._cassette.keep(found)
        if failure and _may_pass(found) and self._place + 1 < MOST_REQUESTS:
            wait = _FIRST_WAIT * 2**self._place if attempt.retry_after is None else attempt.retry_after
            time.sleep(min(wait, self._settings.longest_wait))
        return found

    def _posted(self, body: bytes, headers: Mapping[str, str]) -> PostAttempt:
        """Post once; AgentError where there is no connection, after a second try."""
        settings = self._settings
        for final in (False, True):
            attempt = post(
                settings.address, body, headers,
                connect_seconds=min(_CONNECT_SECONDS, settings.seconds), answer_seconds=settings.seconds,
                longest=MOST_BYTES,
            )  # fmt: skip
            if attempt.kind != "not_sent":
                break
            if final:
                raise AgentError(
                    f"language model: {attempt.detail}; correct url, or start the server; then resume"
                )
            time.sleep(min(_FIRST_WAIT, settings.longest_wait))
        return attempt

    def _headers(self) -> tuple[Secrets | None, dict[str, str]]:
        settings, headers = self._settings, {"Content-Type": "application/json", "Accept": "application/json"}
        if settings.key_variable is None and settings.key_file is None:
            return None, headers
        secrets = Secrets(os.environ)
        try:
            key = secrets.read(
                "key of the language model", variable=settings.key_variable, file=settings.key_file
            )
        except LiveError as error:
            raise ConfigError(str(error)) from None
        return secrets, {**headers, "Authorization": f"Bearer {key.get_secret_value()}"}

    def _require_right(self, attempt: PostAttempt, secrets: Secrets | None) -> None:
        """Raise AgentError for an answer that would come again until somebody corrects something."""
        status = attempt.status
        if 300 <= status < 400:
            raise AgentError(
                f"language model: status {status}, a redirect, and none is followed; give the url it leads to"
            )
        if not 400 <= status < 500 or status in (408, _TOO_MANY):
            return
        what = _TO_CORRECT.get(status, "the request is refused")
        said = attempt.body.decode("utf-8", "replace")
        said = said if secrets is None else secrets.scrub(said)
        quoted = " ".join("".join(each if each.isprintable() else " " for each in said).split())[:_QUOTED]
        raise AgentError(f"language model: status {status}: {what}" + (f": {quoted!r}" if quoted else ""))


def _may_pass(exchange: Exchange) -> bool:
    """Whether the same request may be answered a moment later."""
    if exchange.status == 200:
        return exchange.failure.endswith(_CUT_SHORT)
    return exchange.status in (0, 408, _TOO_MANY) or exchange.status >= 500


def _read(attempt: PostAttempt) -> tuple[str, str]:
    """Return the text of an answer and why it is none, one of them empty."""
    if attempt.kind != "answered":
        return "", attempt.detail
    if attempt.status == _TOO_MANY:
        return "", "status 429, too many requests"
    if attempt.status != 200:
        return "", f"status {attempt.status}, the server failed" if attempt.status >= 500 else attempt.detail
    if not attempt.body:
        return "", attempt.detail if "answer" in attempt.detail else "the answer is empty"
    if len(attempt.body) > KEPT_BYTES:
        return "", f"the answer has {len(attempt.body):,} bytes; at most {KEPT_BYTES:,} are kept"
    if attempt.body.lstrip()[:1] == b"<":
        return "", "a page of HTML, and no JSON; url leads to something else"
    try:
        text = attempt.body.decode()
        parse_json(text)
    except (UnicodeDecodeError, ConfigError) as error:
        return "", f"the answer {error}" if isinstance(error, ConfigError) else "the answer is no UTF-8"
    return text, ""


def _without_usage(text: str) -> bytes:
    """Return an answer without the tokens that the server counts: `_tokens` has judged them."""
    content = parse_json(text)
    if isinstance(content, dict):
        content.pop("usage", None)
    return json_text(content).encode()


def _tokens(text: str, body: bytes) -> tuple[int, int]:
    """Return the tokens of a request and its answer: as counted by the server, else estimated."""
    usage: Any = None
    if text:
        content = parse_json(text)
        usage = content.get("usage") if isinstance(content, dict) else None
    counted = [usage.get(each) for each in _USAGE] if isinstance(usage, dict) else []
    known = [each for each in counted if type(each) is int and 0 <= each <= _MOST_TOKENS]
    if len(known) == len(_USAGE):
        return known[0], known[1]
    return -(-len(body) // _BYTES_PER_TOKEN), -(-len(text) // _BYTES_PER_TOKEN)

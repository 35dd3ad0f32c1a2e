"""The dialogue for one proposal, on pydantic-ai: the only file that imports it, when a model is asked.

What is answered must be of the schema and mean something; else the model is told why, twice at most.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import httpx2
from openai import AsyncOpenAI
from pydantic import BaseModel, ValidationError
from pydantic_ai import Agent, ModelRetry, NativeOutput, PromptedOutput, ToolOutput, UsageLimits
from pydantic_ai.exceptions import AgentRunError, ContentFilterError
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.profiles.openai import OpenAIModelProfile
from pydantic_ai.providers.openai import OpenAIProvider
from pydantic_ai.settings import ModelSettings

from lockstep.errors import ConfigError, FeatureError, NoProposal
from lockstep.settings import first_problem
from research.agents.llm_wire import MOST_REQUESTS, LlmSettings, Wire

_NO_KEY = "the wire adds the key"
_OURS = "api.openai.com"
# A call of a tool without an id gets one at random, which would make each request another one.
_RANDOM_ID = re.compile(r"pyd_ai_[0-9a-f]+")
_LONGEST = 300

Answered = TypeVar("Answered", bound=BaseModel)
Read = TypeVar("Read")


class _Transport(httpx2.AsyncBaseTransport):
    """Hands requests to the wire."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        text = _RANDOM_ID.sub("pyd_ai", (await request.aread()).decode())
        body = self._wire.exchange(json.loads(text))
        return httpx2.Response(200, headers={"content-type": "application/json"}, content=body)


def ask(
    settings: LlmSettings,
    wire: Wire,
    *,
    instructions: str,
    message: str,
    seed: int,
    answer: type[Answered],
    read: Callable[[Answered], Read],
) -> Read:
    """Return what `read` makes of the answer to a message.

    read   raises a ConfigError or FeatureError of one line for an answer that means nothing

    NoProposal, saying what was wrong last, where no answer is one; other errors as of `Wire.exchange`.
    """
    found: list[Read] = []

    def required(given: Answered) -> Answered:
        try:
            found.append(read(given))
        except (ConfigError, FeatureError) as error:
            raise ModelRetry(str(error)) from error
        return given

    async def dialogue() -> None:
        model = _model(settings, wire)
        asked = ModelSettings(max_tokens=settings.answer_tokens, seed=seed)
        if settings.temperature is not None:
            asked["temperature"] = settings.temperature
        agent = Agent(
            model,
            output_type=_output(settings.output, answer),
            instructions=instructions,
            model_settings=asked,
            retries={"tools": MOST_REQUESTS - 1, "output": MOST_REQUESTS - 1},
        )
        agent.output_validator(required)
        async with model.client:
            await agent.run(message, usage_limits=UsageLimits(request_limit=MOST_REQUESTS))

    try:
        with ThreadPoolExecutor(1) as thread:  # a notebook has an event loop of its own
            thread.submit(asyncio.run, dialogue()).result()
    except (AgentRunError, ValueError, TypeError, AttributeError, LookupError, RecursionError) as error:
        # All but the first: what the library makes of an answer that has not the shape of one.
        if wire.error is not None:
            raise wire.error from None
        raise NoProposal(f"language model: {_reason(error, answer)}") from None
    return found[-1]


def _model(settings: LlmSettings, wire: Wire) -> OpenAIChatModel:
    client = AsyncOpenAI(
        base_url=settings.url,
        api_key=_NO_KEY,
        max_retries=0,
        http_client=httpx2.AsyncClient(transport=_Transport(wire), trust_env=False),
    )
    profile = OpenAIModelProfile(
        openai_chat_supports_max_completion_tokens=settings.address.host == _OURS,
        openai_supports_strict_tool_definition=False,
    )
    return OpenAIChatModel(settings.model, provider=OpenAIProvider(openai_client=client), profile=profile)


def _output(how: str, answer: type[Answered]) -> Any:
    if how == "native":
        return NativeOutput(answer, name="proposal", strict=False)
    if how == "prompted":
        return PromptedOutput(answer, name="proposal")
    return ToolOutput(answer, name="propose", description="Propose one strategy.", strict=False)


def _reason(error: BaseException, answer: type[BaseModel]) -> str:
    """Return what was wrong with the last answer, on one line."""
    if isinstance(error, ContentFilterError):
        return f"refuses to answer: {_short(str(error))}"
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ValidationError):
            return f"no valid answer: {_short(first_problem(answer, cause))}"
        if isinstance(cause, ModelRetry):
            return f"no valid answer: {_short(cause.message)}"
        cause = cause.__cause__ or cause.__context__
    if not isinstance(error, AgentRunError):
        return "no valid answer: it has not the shape of a chat completion"
    return f"no valid answer: {_short(str(error))}"


def _short(text: str) -> str:
    line = " ".join("".join(each if each.isprintable() else " " for each in text).split())
    return line if len(line) <= _LONGEST else f"{line[: _LONGEST // 3]} … {line[-_LONGEST // 2 :]}"

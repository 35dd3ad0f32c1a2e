"""A researcher that asks a language model: it proposes by a schema, within a budget, and on record.

Nothing that it answers is run. What the schema does not hold, ids that are none, and answers that no server
should give are refused, each with a line that says why. All exchanges are kept in a cassette, by which the
session can be made again without a network.
"""

from __future__ import annotations

from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any, ClassVar

from pydantic import Field

from lockstep.desk import results_folder
from lockstep.errors import BudgetSpent, ConfigError
from lockstep.features.feature_registry import default_registry
from lockstep.identity import json_digest
from lockstep.settings import Settings, suggestion, validated
from lockstep.strategy.config import Distance
from lockstep.strategy.specs.conditions import SCORE, ModelVeto, Tree, Weight, comparisons
from research.agents.cassettes import Cassette
from research.agents.llm_context import INSTRUCTIONS, known_id, told
from research.agents.llm_wire import FAILED, Asked, LlmSettings, Wire
from research.agents.proposal import SPEC_FIELDS, Proposal, ResearchContext
from research.agents.specs import ALIAS, SpecTerms, meaning_of, with_ids
from research.zoo.model_spec import ModelSpec, Task

MOST_FAILURES = 5
"""Proposals in a row that come to nothing because of the server, before the session ends with what it has."""

_NEEDED = ("pydantic_ai", "openai")


class AskedModel(Settings):
    """A model that the strategy reads as `model:ALIAS`."""

    alias: Annotated[str, Field(pattern="^[a-z][a-z0-9_]{0,31}$")]
    task: Task
    horizon: Annotated[int, Field(ge=1, le=20)] = 1
    features: Annotated[tuple[str, ...], Field(min_length=1, max_length=16)]
    estimator: str = "hist_gradient_boosting"
    members: Annotated[int, Field(ge=1, le=8)] = 1


class StrategyAnswer(Settings):
    """One strategy: conditions for entries and exits, models that they read, and why it should work.

    There is no field for costs, capital, size, execution, sessions or code.
    """

    long_entry: Tree | None = None
    long_exit: Tree | None = None
    short_entry: Tree | None = None
    short_exit: Tree | None = None
    score: Annotated[tuple[Weight, ...], Field(max_length=8)] = ()
    veto: ModelVeto | None = None
    max_bars: Annotated[int, Field(ge=1, le=1_000)] | None = None
    stop: Distance | None = None
    target: Distance | None = None
    models: Annotated[tuple[AskedModel, ...], Field(max_length=8)] = ()
    rationale: Annotated[str, Field(max_length=1_000)] = ""
    parents: Annotated[tuple[int, ...], Field(max_length=8)] = ()
    change: Annotated[str, Field(max_length=300)] = ""


class LlmResearcher:
    """Asks a language model; options as of `LlmSettings`.

    ConfigError where options are none, or where what the extra `agents` installs is not there.

    >>> LlmResearcher(url="http://127.0.0.1:1/v1", model="m", knowledge_until="2024-06-30").name
    'llm'
    """

    name: ClassVar[str] = "llm"
    least: ClassVar[int] = 1
    replayable: ClassVar[bool] = False

    def __init__(self, **options: Any) -> None:
        self.settings = validated(LlmSettings, options, where="options of the researcher llm")
        _ = self.settings.address
        if missing := [each for each in _NEEDED if find_spec(each) is None]:
            raise ConfigError(
                f"researcher llm: {missing[0]} is not installed; install it: pip install 'lockstep[agents]'"
            )

    def propose(self, context: ResearchContext) -> Proposal:
        """Return what the model proposes after these trials.

        NoProposal where it gives none in three requests, BudgetSpent where no request may be made, AgentError
        where the server cannot be asked at all, or the cassette has no answer and may not be added to.
        """
        from research.agents.llm_dialogue import ask

        _require_server(context)
        settings, session, message = self.settings, session_of(self.settings, context), told(context)
        seed = int(context.random.integers(2**31))
        how = settings.model_dump(include={"model", "output", "answer_tokens", "temperature"})
        about = json_digest([how, seed, INSTRUCTIONS, message])
        asked = Asked(session=session, number=context.number, about=about)
        wire = Wire(settings, Cassette(self._cassette(session)), asked)
        return ask(
            settings,
            wire,
            instructions=INSTRUCTIONS,
            message=message,
            seed=seed,
            answer=StrategyAnswer,
            read=lambda answer: proposal_of(answer, context),
        )

    def _cassette(self, session: str) -> Path:
        if self.settings.cassette:
            return Path(self.settings.cassette)
        return results_folder("agents") / f"llm-{session[:16]}.jsonl"


def session_of(settings: LlmSettings, context: ResearchContext) -> str:
    """Return the SHA-256 (hex) of what does not change while a session goes on; where the server is may."""
    return json_digest(
        [
            settings.model_dump(
                mode="json", exclude={"url", "key_variable", "key_file", "seconds", "cassette"}
            ),
            context.goal,
            context.seed,
            context.number + context.left,
            [asdict(each) for each in context.catalogue],
            [each.column for each in context.models],
            [each.id for each in context.earlier],
        ]
    )


def proposal_of(answer: StrategyAnswer, context: ResearchContext) -> Proposal:
    """Return the proposal of an answer.

    ConfigError or FeatureError, naming no instrument, where it reads what is not offered or means nothing.
    """
    content = answer.model_dump(mode="json", by_alias=True, exclude_none=True)
    spec = {name: content[name] for name in SPEC_FIELDS if content.get(name)}
    models = {each.alias: _spec(each) for each in answer.models}
    if len(models) < len(answer.models):
        raise ConfigError("models: two have one alias; give each its own")
    columns = {known_id(place): each.column for place, each in enumerate(context.models, start=1)}
    offered = _offered(context)
    for each in _ids(answer):
        _require_offered(each, offered, {*columns, *(f"{ALIAS}{alias}" for alias in models)})
    for model in answer.models:
        for each in model.features:
            _require_offered(each, offered, set())
    trials = {each.number for each in context.trials}
    if strange := [each for each in answer.parents if each not in trials]:
        raise ConfigError(f"parents: {strange[0]} is no trial of this session")
    proposal = Proposal(
        spec=with_ids(spec, columns),
        models=models,
        kind=context.kind,
        move="llm",
        rationale=answer.rationale,
        parents=answer.parents,
        change=answer.change,
    )
    kind = meaning_of(proposal, SpecTerms(), context.models).kind
    if kind not in context.kinds and context.kinds:
        raise ConfigError(f"is of the kind {kind}, and none is to be made; {context.kind} is asked for")
    return proposal


def _spec(model: AskedModel) -> ModelSpec:
    return validated(ModelSpec, model.model_dump(exclude={"alias"}), where=f"model {model.alias}")


def _ids(answer: StrategyAnswer) -> list[str]:
    """Return every id that an answer reads, as it is written."""
    trees = (answer.long_entry, answer.long_exit, answer.short_entry, answer.short_exit)
    found = [operand for tree in trees for each in comparisons(tree) for operand in each.operands]
    found += [each.id for each in answer.score]
    found += [answer.veto.id] if answer.veto is not None else []
    found += [
        each.feature for each in (answer.stop, answer.target) if each is not None and each.atr is not None
    ]
    return [each for each in dict.fromkeys(found) if each != SCORE]


def _offered(context: ResearchContext) -> set[str]:
    """Return the names of the features of the catalogue, whatever their parameters."""
    parse = default_registry().parse
    return {term.feature.name for entry in context.catalogue for term in parse(entry.id).terms}


def _require_offered(feature_id: str, offered: set[str], models: set[str]) -> None:
    shown = repr(feature_id[:60])
    if feature_id.startswith(ALIAS):
        if feature_id not in models:
            raise ConfigError(f"id {shown}: there is no such model{suggestion(feature_id[:60], models)}")
        return
    for term in default_registry().parse(feature_id).terms:
        if term.symbol is not None or term.timeframe is not None:
            raise ConfigError(
                f"id {shown}: reads other bars, which are not offered; leave out what follows @"
            )
        if term.feature.name not in offered:
            raise ConfigError(f"id {shown}: is not in the catalogue; name one that is")


def _require_server(context: ResearchContext) -> None:
    """Raise BudgetSpent where the last proposals all came to nothing because of the server."""
    last = context.trials[-MOST_FAILURES:]
    failed = [each for each in last if each.findings and each.findings[0].startswith(FAILED)]
    if len(failed) == MOST_FAILURES:
        raise BudgetSpent(
            f"language model: the server did not answer for {MOST_FAILURES} proposals in a row, last: "
            f"{last[-1].findings[0].removeprefix(FAILED)}; the session ends with what it has"
        )

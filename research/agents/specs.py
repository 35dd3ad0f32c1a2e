"""From a proposal to a configuration that can be evaluated, or to one line that says why there is none.

A model that a proposal asks for has no version yet: it is read under a stand-in, `model:NAME#DIGITS`, which
names the question and the way to answer it. So two proposals that mean the same have one `config_hash`,
whatever they call their models, and whoever evaluates puts a version in its place.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Protocol

from pydantic import Field

from lockstep.errors import ConfigError, FeatureError
from lockstep.features.columns import source_keys
from lockstep.features.derived import is_derived
from lockstep.features.feature_registry import default_registry
from lockstep.market.history import History, SeriesKey
from lockstep.market.timeframe import Timeframe
from lockstep.settings import Settings, shown, suggestion, validated
from lockstep.strategy.config import (
    AgeLimits,
    ClockTime,
    FixedSize,
    Positive,
    RiskSize,
    SessionWindow,
    VolatilitySize,
    ids_read_by,
)
from lockstep.strategy.families.rules import RulesConfig
from lockstep.strategy.specs.conditions import SCORE, comparisons
from research.agents.proposal import (
    SPEC_FIELDS,
    KnownModel,
    Niche,
    Proposal,
    StrategyKind,
    TrialMeasures,
)
from research.zoo.model_spec import ModelSpec

ALIAS = "model:"
MODEL_FAMILY = "model"
"""Family of a model's answers, in the place where features have theirs."""

_STAND_IN = re.compile(r"model:(?P<name>[a-z]+_h[1-9]\d?)#(?P<digits>[0-9a-f]{12})")
_ALIAS = re.compile(r"[a-z][a-z0-9_]{0,31}")
_DIGITS = 12
_PROBABILITIES = ("direction", "regime")
_EXPOSURES, _HOLDINGS = (0.05, 0.2, 0.5), (2.0, 5.0, 15.0)


class TrialEvaluator(Protocol):
    """Measures configurations on training bars; keeps no record of them."""

    def evaluate(self, configs: Sequence[RulesConfig]) -> list[TrialMeasures]:
        """Return the measures of each configuration; a LockstepError where one cannot be evaluated."""


class SpecTerms(Settings):
    """What a spec has from the human, and no researcher may say; fields as of `StrategyConfig`.

    >>> SpecTerms(timeframe="1h", auto_close="15:55").capital
    100000.0
    """

    timeframe: str = "1d"
    capital: Positive = 100_000.0
    size: Annotated[FixedSize | RiskSize | VolatilitySize, Field(discriminator="kind")] = FixedSize()
    window: SessionWindow | None = None
    auto_close: ClockTime | None = None
    max_age: AgeLimits = AgeLimits()


@dataclass(frozen=True, kw_only=True)
class SpecGround:
    """Where a spec is to be evaluated.

    history   the bars that there are; models: those of the zoo that may be named by their column
    """

    symbol: str
    terms: SpecTerms
    history: History
    models: Sequence[KnownModel] = field(default=())

    @property
    def key(self) -> SeriesKey:
        """The traded series."""
        return SeriesKey(self.symbol, Timeframe.parse(self.terms.timeframe))


@dataclass(frozen=True, kw_only=True)
class AgentSpec:
    """A proposal that can be evaluated.

    config   reads its models under stand-ins; models: by stand-in, what it stands for
    kind     by what its conditions read, whatever the researcher takes it for
    """

    config: RulesConfig
    models: Mapping[str, ModelSpec]
    kind: StrategyKind


def spec_of(proposal: Proposal, ground: SpecGround, *, name: str = "agent") -> AgentSpec:
    """Return what a proposal means; ConfigError or FeatureError of one line where it is refused.

    Refused are fields that are the human's, unknown ids, bars that are not there, constants outside a range,
    more than a spec may hold, and models that are asked for and not read, or read and not asked for.
    """
    found = meaning_of(proposal, ground.terms, ground.models, name=name)
    _require_there(found.config, found.models, ground)
    return found


def meaning_of(
    proposal: Proposal, terms: SpecTerms, known: Sequence[KnownModel] = (), *, name: str = "agent"
) -> AgentSpec:
    """Return what `spec_of` does, whatever bars there are.

    known   models of the zoo that may be named by their column
    """
    where = "proposal"
    if not isinstance(proposal.spec, Mapping):
        raise ConfigError(f"{where}: spec {shown(proposal.spec)}: expected a mapping")
    for each in proposal.spec:
        if each not in SPEC_FIELDS:
            raise ConfigError(f"{where}: {_not_yours(str(each))}")
    given = terms.model_dump(exclude_none=True)
    config = validated(RulesConfig, {**given, **proposal.spec, "name": name}, where=where)
    models: dict[str, ModelSpec] = {}
    if any(is_derived(each) for each in config.written_ids):
        stand_ins = dict(_stand_ins(config, proposal, known))
        models = {stand_in: spec for stand_in, spec in stand_ins.values()}
        renamed = with_ids(config.model_dump(mode="json"), {old: new for old, (new, _) in stand_ins.items()})
        config = validated(RulesConfig, renamed, where=where)
    _require_read(proposal, where)
    _require_answers(config, models, where)
    return AgentSpec(config=config, models=models, kind=kind_of(config))


def config_of(proposal: Proposal, ground: SpecGround, *, name: str = "agent") -> RulesConfig:
    """Return the configuration of a proposal; refusals as of `spec_of`."""
    return spec_of(proposal, ground, name=name).config


def stand_in(spec: ModelSpec) -> str:
    """Return the id under which a model is read that has no version yet.

    >>> stand_in(ModelSpec(task="regime", features=("ibs",)))[:16]
    'model:regime_h1#'
    """
    return f"{ALIAS}{spec.name}#{spec.digest[:_DIGITS]}"


def is_stand_in(feature_id: str) -> bool:
    """Whether an id is one of `stand_in`."""
    return _STAND_IN.fullmatch(feature_id) is not None


def with_versions(config: RulesConfig, columns: Mapping[str, str]) -> RulesConfig:
    """Return a configuration that reads versions of models, by stand-in, in the place of these."""
    if not columns:
        return config
    renamed = with_ids(config.model_dump(mode="json"), columns)
    return validated(RulesConfig, renamed, where=config.name)


def with_ids(content: Any, names: Mapping[str, str]) -> Any:
    """Return plain values of a spec with some ids replaced, wherever one stands as a value."""
    if isinstance(content, Mapping):
        return {name: with_ids(each, names) for name, each in content.items()}
    if isinstance(content, list | tuple):
        return [with_ids(each, names) for each in content]
    return names.get(content, content) if isinstance(content, str) else content


def entry_ids(config: RulesConfig) -> tuple[str, ...]:
    """Return the ids that the entries read, sorted: of their conditions, of a score, of the veto."""
    found = {
        each
        for tree in (config.long_entry, config.short_entry)
        for comparison in comparisons(tree)
        for each in comparison.operands
    }
    if SCORE in found:
        found |= {each.id for each in config.score}
    if config.veto is not None:
        found.add(config.veto.id)
    return tuple(sorted(found - {SCORE}))


def kind_of(config: RulesConfig) -> StrategyKind:
    """Return the kind of a strategy: `technical`, `hybrid` or `ml`, by the ids of its conditions."""
    ids = config.written_ids
    models = sum(is_derived(each) for each in ids)
    if not models:
        return "technical"
    return "ml" if models == len(ids) else "hybrid"


def niche_of(config: RulesConfig, measures: TrialMeasures) -> Niche:
    """Return the cell of the archive that a trial belongs to."""
    ids = entry_ids(config)
    side = "both" if config.long_entry and config.short_entry else "long" if config.long_entry else "short"
    trades = sum(each.trades for each in measures.folds)
    held = math.fsum(each.holding * each.trades for each in measures.folds if each.trades)
    exposure = math.fsum(each.exposure for each in measures.folds) / max(1, len(measures.folds))
    return Niche(
        feature=family_of_id(ids[0]) if ids else "none",
        side=side,
        exposure=sum(exposure >= each for each in _EXPOSURES),
        holding=sum((held / trades if trades else 0.0) > each for each in _HOLDINGS),
    )


def family_of_id(feature_id: str) -> str:
    """Return the family of the catalogue that an id belongs to, `model` for a model's answer."""
    if is_derived(feature_id):
        return MODEL_FAMILY
    return default_registry().parse(feature_id).terms[0].feature.family


def _not_yours(name: str) -> str:
    if name in {*RulesConfig.model_fields} - {*SPEC_FIELDS}:
        return f"{name} is not a researcher's to say; leave it out: {', '.join(SPEC_FIELDS)} are"
    return f"unknown key {name[:60]!r}{suggestion(name[:60], SPEC_FIELDS)}"


def _stand_ins(
    config: RulesConfig, proposal: Proposal, known: Sequence[KnownModel]
) -> Iterator[tuple[str, tuple[str, ModelSpec]]]:
    """Yield, for every id of a model as it is written, its stand-in and its spec."""
    columns = {each.column: each.spec for each in known}
    for written in config.written_ids:
        if not is_derived(written):
            continue
        alias = written.removeprefix(ALIAS)
        if alias in proposal.models:
            spec = proposal.models[alias]
        elif written in columns:
            spec = columns[written]
        else:
            raise ConfigError(f"proposal: {written[:80]}: {_no_model(written, alias, proposal, known)}")
        yield written, (stand_in(spec), spec)


def _no_model(written: str, alias: str, proposal: Proposal, known: Sequence[KnownModel]) -> str:
    if _ALIAS.fullmatch(alias):
        return f"no model is asked for under this name{suggestion(alias, proposal.models)}"
    try:
        default_registry().parse(written)
    except FeatureError as error:
        return str(error).partition(": ")[2]
    names = ", ".join(each.column for each in known)
    return f"is no model of the zoo that answers on every bar; name one of {names or 'none, there is none'}"


def _require_read(proposal: Proposal, where: str) -> None:
    text = str(proposal.spec)
    for alias, spec in proposal.models.items():
        if not _ALIAS.fullmatch(alias):
            raise ConfigError(f"{where}: model {alias[:40]!r}: a name is like calm or up_5; rename it")
        if not re.search(rf"{ALIAS}{alias}\b", text):
            raise ConfigError(f"{where}: model {alias!r} is asked for and not read; read it, or drop it")
        for each in spec.features:
            if is_derived(each):
                raise ConfigError(f"{where}: model {alias!r}: reads {each[:60]}, a model; name features only")
            default_registry().parse(each)


def _require_answers(config: RulesConfig, models: Mapping[str, ModelSpec], where: str) -> None:
    """Refuse constants that a model never answers."""
    trees = (config.long_entry, config.long_exit, config.short_entry, config.short_exit)
    asked = [(each.id, each.constants) for tree in trees for each in comparisons(tree)]
    if config.veto is not None:
        asked.append((config.veto.id, (config.veto.at_least,)))
    for feature_id, constants in asked:
        if feature_id in models and models[feature_id].task in _PROBABILITIES:
            for value in constants:
                if not 0.0 <= value <= 1.0:
                    raise ConfigError(
                        f"{where}: condition on {feature_id}: {value:g} is outside its range, 0 to 1; "
                        "correct it"
                    )


def _require_there(config: RulesConfig, models: Mapping[str, ModelSpec], ground: SpecGround) -> None:
    """Refuse ids that nobody knows, and those of bars that are not there."""
    beside = [*ids_read_by(config.stop), *ids_read_by(config.target)]
    if of_model := next((each for each in beside if is_derived(each)), None):
        raise ConfigError(f"proposal: stop and target read features, not {of_model[:60]}; name one")
    named = [each for each in config.written_ids if each not in models]
    asked = [each for spec in models.values() for each in spec.features]
    plan = default_registry().plan(_each_once([*named, *beside, *asked]), ground.key)
    for key in source_keys(plan, ground.history.markets):
        if key not in ground.history.bars:
            there = ", ".join(sorted(map(str, ground.history.bars)))
            raise ConfigError(f"proposal: reads bars of {key}, and there are those of {there}; drop it")


def _each_once(ids: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(ids))

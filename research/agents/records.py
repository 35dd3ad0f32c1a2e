"""Proposals and trials as JSON and back: what the strategy database holds of them, to the last bit."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, fields
from typing import Any

from lockstep.identity import text_digest
from lockstep.strategy.families.rules import RulesConfig
from lockstep.strategy.specs.conditions import comparisons
from research.agents.proposal import (
    FoldMeasures,
    Niche,
    Proposal,
    Status,
    Trial,
    TrialMeasures,
)
from research.agents.specs import entry_ids, family_of_id
from research.zoo.model_spec import ModelSpec

MOST_BYTES = 64_000
"""A larger proposal is not kept, only its size and its hash; no spec is nearly as large."""

_NUMBERS = ("fitness", "sharpe", "largest", "missing")


def written(content: Any) -> str:
    """Return JSON in one spelling; what is not a number in JSON, such as NaN, as a text."""
    return json.dumps(content, sort_keys=True, allow_nan=False, ensure_ascii=False)


def proposal_content(proposal: Proposal) -> dict[str, Any]:
    """Return a proposal as plain values, whatever somebody put into it.

    One that is too large, or nested without end, is not kept: it comes back without a spec, and says so.
    """
    try:
        content = {
            "spec": _plain(proposal.spec),
            "models": {str(name): _model(each) for name, each in proposal.models.items()},
            "kind": proposal.kind,
            "move": str(proposal.move),
            "rationale": str(proposal.rationale),
            "parents": [int(each) for each in proposal.parents],
            "from_id": proposal.from_id,
            "change": str(proposal.change),
        }
        size = len(text := written(content))
        if size <= MOST_BYTES:
            return content
        reason = f"proposal: is {size:,} bytes long, {text_digest(text)[:12]}; at most {MOST_BYTES:,}"
    except RecursionError:
        reason = "proposal: nested without end; make it flatter"
    return {**proposal_content(Proposal(spec={}, kind=proposal.kind, move="none")), "rationale": reason}


def read_proposal(content: Mapping[str, Any]) -> Proposal:
    """Return the proposal of `proposal_content`."""
    models = {name: ModelSpec.model_validate(each) for name, each in content["models"].items()}
    return Proposal(
        spec=content["spec"],
        models=models,
        kind=content["kind"],
        move=content["move"],
        rationale=content["rationale"],
        parents=tuple(content["parents"]),
        from_id=content["from_id"],
        change=content["change"],
    )


def outcome_content(trial: Trial) -> dict[str, Any]:
    """Return what came of a trial as plain values."""
    return {
        "kind": trial.proposal.kind,
        "measures": None if trial.measures is None else _measures(trial.measures),
        "niche": None if trial.niche is None else asdict(trial.niche),
        "findings": list(trial.findings),
        "same_as": trial.same_as,
        "versions": dict(trial.versions),
    }


def read_trial(
    number: int, id: int, proposal: Proposal, status: Status, content: Mapping[str, Any]
) -> Trial:  # fmt: skip
    """Return the trial of a proposal and of `outcome_content`."""
    measures, niche = content["measures"], content["niche"]
    return Trial(
        number=number,
        id=id,
        proposal=_of_kind(proposal, content["kind"]),
        status=status,
        measures=None if measures is None else read_measures(measures),
        niche=None if niche is None else Niche(**niche),
        findings=tuple(content["findings"]),
        same_as=content["same_as"],
        versions=content["versions"],
    )


def read_measures(content: Mapping[str, Any]) -> TrialMeasures:
    """Return measures of an outcome."""
    return TrialMeasures(
        **{name: _number(content[name]) for name in _NUMBERS},
        folds=tuple(_fold(each) for each in content["folds"]),
        by_regime={name: _number(each) for name, each in content["by_regime"].items()},
        behaviour=content["behaviour"],
    )


def exploration_vector(config: RulesConfig) -> dict[str, float]:
    """Return where in the space of strategies a spec lies.

    By family of features the share of the comparisons that read it; then the side (1 long, -1 short, 0 both),
    the number of comparisons, whether there are stop and target, and the longest hold, 0 for none.

    >>> config = RulesConfig(name="dip", long_entry={"id": "ibs", "below": 0.2}, max_bars=3)
    >>> exploration_vector(config)["side"], exploration_vector(config)["longest"]
    (1.0, 3.0)
    """
    trees = (config.long_entry, config.long_exit, config.short_entry, config.short_exit)
    found = [each for tree in trees for each in comparisons(tree)]
    families = [family_of_id(each) for each in (*entry_ids(config), *_exit_ids(config))]
    vector = {f"family {name}": families.count(name) / len(families) for name in sorted(set(families))}
    return {
        **vector,
        "side": float(config.long_entry is not None) - float(config.short_entry is not None),
        "comparisons": float(len(found)),
        "stop": float(config.stop is not None),
        "target": float(config.target is not None),
        "longest": float(config.max_bars or 0),
    }


def _exit_ids(config: RulesConfig) -> list[str]:
    trees = (config.long_exit, config.short_exit)
    found = {operand for tree in trees for each in comparisons(tree) for operand in each.operands}
    return sorted(found - {"score"})


def _of_kind(proposal: Proposal, kind: Any) -> Proposal:
    return Proposal(**{each.name: getattr(proposal, each.name) for each in fields(proposal)} | {"kind": kind})


def _model(spec: Any) -> Any:
    return spec.model_dump(mode="json") if isinstance(spec, ModelSpec) else _plain(spec)


def _plain(value: Any) -> Any:
    """Return a value as JSON has it: names as texts, numbers that are none as texts."""
    if isinstance(value, Mapping):
        return {str(name): _plain(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    if isinstance(value, bool | str) or value is None:
        return value
    if isinstance(value, int):
        return value
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else str(value)
    return str(value)


def _measures(measures: TrialMeasures) -> dict[str, Any]:
    return {
        **{name: _or_none(getattr(measures, name)) for name in _NUMBERS},
        "folds": [{name: _or_none(value) for name, value in asdict(each).items()} for each in measures.folds],
        "by_regime": {name: _or_none(value) for name, value in measures.by_regime.items()},
        "behaviour": measures.behaviour,
    }


def _fold(content: Mapping[str, Any]) -> FoldMeasures:
    rest = {name: _number(each) for name, each in content.items() if name not in ("number", "trades")}
    return FoldMeasures(number=content["number"], trades=content["trades"], **rest)


def _or_none(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None if math.isnan(value) else str(value)
    return value


def _number(value: Any) -> float:
    return math.nan if value is None else float(value)

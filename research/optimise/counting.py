"""Configurations of a portfolio in the ledger: each is a trial of every family that it trades."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

from lockstep.identity import OPTIMISING, code_hash, json_digest
from research.ledger.ledger import Ledger, Trials
from research.ledger.spaces import TrialSpace
from research.ledger.tables import OK
from research.optimise.streams import PortfolioStreams

KIND = "portfolio"
_DIGITS = 32

Count = Callable[[Sequence[Any]], None]


def uncounted_trials(configurations: Sequence[Any]) -> None:
    """Count nothing: of a run whose result nobody keeps."""


def trial_counter(ledger: Ledger, streams: PortfolioStreams, *, now: datetime) -> Count:
    """Return what enters configurations into the ledger, before they are evaluated.

    A configuration is anything that JSON can say: a method, a set of limits. On the same streams, by the same
    plan and code, it is the same trial however often it is run. An optimisation learns from results, so that
    nothing of it counts as declared. Orders of the lanes are no trials: none is ever chosen.
    """
    where: Mapping[str, Any] = {
        "plan": streams.plan.plan_hash,
        "dates": str(streams.dates),
        "streams": {symbol: dict(each.source) for symbol, each in streams.lanes.items()},
        "code": code_hash(OPTIMISING),
    }
    families = {each.family: symbol for symbol, each in reversed(list(streams.lanes.items()))}
    space = {KIND: (json_digest(where),)}
    for family, symbol in families.items():
        declared = TrialSpace(
            proposer=KIND, symbol=symbol, windows=(), fields=space, size=None, learns=True
        )  # fmt: skip
        ledger.declare(declared, family, streams.dates, now=now)

    def count(configurations: Sequence[Any]) -> None:
        for family, symbol in families.items():
            names = [json_digest([where, family, each])[:_DIGITS] for each in configurations]
            trials = Trials(
                family=family,
                symbol=symbol,
                dates=streams.dates,
                kind=KIND,
                evaluations=dict.fromkeys(names, OK),
            )
            ledger.record(trials, now=now)

    return count

"""`RiskReport`: value at risk and expected shortfall of a subject, shared out and judged."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ParamSpec, TypeVar

from lockstep.errors import DataError
from lockstep.portfolio.session_changes import newest_changes
from lockstep.portfolio.var import DEFAULT, METHODS, TAILS, Method, TailRisk, tail_risk
from lockstep.portfolio.var_decomposition import VarDecomposition, var_decomposition
from research.risk.forecasts import JudgedForecasts, judged_own, judged_today
from research.risk.parts import measured_parts
from research.risk.section import RiskPart
from research.risk.subject import RiskSubject

Given = ParamSpec("Given")
Found = TypeVar("Found")
Refused = str
TODAY, OWN = "today", "own"


@dataclass(frozen=True, kw_only=True, eq=False)
class RiskReport:
    """What was measured of a subject. A text stands for what could not be measured, and says why.

    levels      by method and tail, of today's positions with reserved entries, USD
    lanes       by tail: the default method's numbers by lane
    own         by tail, of the account's own P&L, historical, all of its sessions
    judged      `today`: forecasts for today's positions, had they always been held; `own`: for those of each
                evening, against the account's own P&L; by tail
    scenarios   what today's positions may earn in the next session, (S,), by the default method
    parts       of the plugs, by name
    """

    subject: RiskSubject
    tails: Sequence[float]
    levels: Mapping[Method, Mapping[float, TailRisk | Refused]]
    lanes: Mapping[float, VarDecomposition]
    own: Mapping[float, TailRisk | Refused]
    judged: Mapping[str, Mapping[float, JudgedForecasts | Refused]]
    parts: Mapping[str, RiskPart]
    seed: int

    def level(self, tail: float) -> TailRisk:
        """Return the numbers of the default method."""
        found = self.levels[DEFAULT][tail]
        assert isinstance(found, TailRisk)
        return found

    def judged_of(self, whose: str) -> dict[float, JudgedForecasts]:
        """Return the forecasts of one kind that could be judged, by tail."""
        found = self.judged[whose].items()
        return {tail: each for tail, each in found if isinstance(each, JudgedForecasts)}

    @property
    def failed(self) -> bool:
        """Whether a gate of one of the parts has failed."""
        return any(part.failed for part in self.parts.values())

    def plot(self) -> Any:
        """Return the figure of what the next session may bring."""
        from research.report.views import on_paper
        from research.risk.figures import scenarios

        return on_paper(scenarios(self))

    def _repr_html_(self) -> str:
        from research.risk.page import risk_fragment

        return risk_fragment(self)


def measure(subject: RiskSubject, *, tails: Sequence[float] = TAILS, seed: int = 0) -> RiskReport:
    """Return the risk of a subject.

    tails   of which the numbers are wanted, (0, .5); seed: of the backtests' p-values

    DataError, saying how many it needs, for a history that is too short for a tail.

    >>> import numpy as np
    >>> days = np.arange("2020-01-01", "2021-12-31", dtype="datetime64[D]")
    >>> changes = np.random.default_rng(0).normal(size=(days.size, 1)) * 100
    >>> desk = RiskSubject(kind="desk", name="a desk", as_of=days[-1].item(), stamp=0, capital=1e5,
    ...                    positions={"ES": 2.0}, reserved={}, dates=days, changes=changes, closes={})
    >>> round(measure(desk, tails=(0.05,)).level(0.05).var)
    323
    """
    lanes = {tail: _shared_out(subject, tail) for tail in tails}
    others: dict[Method, Mapping[float, TailRisk | Refused]] = {
        method: {tail: _or_refused(_numbers, subject, tail, method) for tail in tails}
        for method in METHODS
        if method != DEFAULT
    }
    return RiskReport(
        subject=subject,
        tails=tuple(tails),
        levels={DEFAULT: {tail: each.total for tail, each in lanes.items()}, **others},
        lanes=lanes,
        own={tail: _or_refused(_own, subject, tail) for tail in tails},
        judged={
            TODAY: {tail: _or_refused(judged_today, subject, tail, seed=seed) for tail in tails},
            OWN: {tail: _or_refused(judged_own, subject, tail, seed=seed) for tail in tails},
        },
        parts=measured_parts(subject),
        seed=seed,
    )


def _numbers(subject: RiskSubject, tail: float, method: Method) -> TailRisk:
    return tail_risk(newest_changes(subject.changes, tail, method) * subject.exposed, tail, method=method)


def _shared_out(subject: RiskSubject, tail: float) -> VarDecomposition:
    return var_decomposition(
        newest_changes(subject.changes, tail, DEFAULT), subject.exposed, subject.symbols, tail
    )


def _own(subject: RiskSubject, tail: float) -> TailRisk:
    if subject.own is None:
        raise DataError(f"{subject.name}: its own results are not known")
    return tail_risk(subject.own.pnl, tail, method="historical")


def _or_refused(
    function: Callable[Given, Found], *given: Given.args, **named: Given.kwargs
) -> Found | Refused:
    try:
        return function(*given, **named)
    except DataError as error:
        return str(error)

"""One variant or one candidate, run by hand in Backtrader: what a search or a registration said of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from lockstep.errors import ConfigError
from lockstep.market.dates import DateRange, Day
from lockstep.market.history import History, SeriesKey
from lockstep.market.loader import load_history
from lockstep.models.store import ModelStore
from lockstep.settings import validated
from lockstep.strategy.config import StrategyConfig
from lockstep.strategy.family import load_strategy
from operations.contenders import Contender
from research.backtest.result import BacktestResult
from research.backtest.run import run_backtest
from research.experiments.comparison import StrategyComparison, compare
from research.experiments.execution import Lab
from research.experiments.paths import placed, require_known
from research.ledger.candidates import ForwardCandidate, candidate_named
from research.ledger.doors import open_door
from research.ledger.versions import TradedVersion


def changed(base: StrategyConfig, changes: Mapping[str, Any]) -> StrategyConfig:
    """Return a strategy with other values at some paths, see `research.experiments.paths`.

    ExperimentError for an unknown path, with the nearest one; ConfigError for a value that breaks a rule, and
    for changes that change nothing.
    """
    spelled = ", ".join(f"{path}={value}" for path, value in changes.items())
    require_known(changes, base, where="--set")
    content = {**placed(base.model_dump(), changes), "name": f"{base.name}, {spelled}"}
    found = validated(type(base), content, where=f"--set {spelled}")
    if found.config_hash == base.config_hash:
        raise ConfigError(f"--set {spelled}: is what {base.name} does already; change something")
    return found


def changes_of(assignments: Iterable[str]) -> dict[str, Any]:
    """Return what `entry.high=0.25` and its like say, values read as YAML.

    >>> changes_of(["entry.high=0.25", "stop.percent=null"])
    {'entry.high': 0.25, 'stop.percent': None}
    """
    found: dict[str, Any] = {}
    for each in assignments:
        path, equals, value = each.partition("=")
        if not equals or not path or path in found:
            what = "is given twice" if path in found else "is no path=value"
            raise ConfigError(f"--set {each}: {what}; write --set entry.high=0.25, once for each path")
        try:
            found[path] = yaml.safe_load(value)
        except yaml.YAMLError as error:
            raise ConfigError(f"--set {each}: the value is no YAML; quote it") from error
    if not found:
        raise ConfigError("evaluate variant: nothing to change; give --set entry.high=0.25")
    return found


def evaluate_variant(
    lab: Lab, strategy: Path, changes: Mapping[str, Any], symbol: str, *,
    start: Day, end: Day, data_dir: Path | None, source: str | None,
) -> StrategyComparison:  # fmt: skip
    """Run a strategy and a variant of it over the same bars; both are counted as trials."""
    base = load_strategy(strategy)
    pair = (base, changed(base, changes))
    return compare(lab, pair, symbol, start=start, end=end, data_dir=data_dir, source=source)


@dataclass(frozen=True, kw_only=True, eq=False)
class CandidateBacktest:
    """A candidate over its history, and over the sessions since its registration; None where there are none.

    lines   to print: looks at sealed dates
    """

    candidate: ForwardCandidate
    past: BacktestResult
    since: BacktestResult | None
    lines: tuple[str, ...]


def backtest_candidate(
    lab: Lab, name: str, *, data_dir: Path | None = None, source: str | None = None
) -> CandidateBacktest:
    """Run a candidate in Backtrader, and in the compiled engine beside it, on the bars of the files.

    Its evidence is that of `candidates update`, on bars as they were first seen; here are the bars of today.

    Raises: ExperimentError for an unknown candidate, or one that is not what was registered; EngineMismatch.
    """
    candidate = candidate_named(lab.ledger, name)
    contender = Contender.of_candidate(candidate)
    history = load_history(
        contender.symbol, data_dir, timeframe=contender.config.bars, context=contender.keys(lab.book),
        book=lab.book, source=source,
    )  # fmt: skip
    first, last = candidate.content["history"]
    version = _version(contender)
    lines: list[str] = []

    def run(span: DateRange) -> BacktestResult:
        key = SeriesKey(contender.symbol, contender.config.bars)
        lines.extend(
            open_door(
                lab.ledger, history, key, span, purpose=f"backtest of candidate {name}", now=lab.now(),
                families=lab.families,
            )
            if version is None
            else version.count_look(history, span, lab.ledger, now=lab.now())
        )  # fmt: skip
        return run_backtest(
            contender.config, history, contender.symbol, span=span, veto=contender.veto, verify=True,
            model=None if version is None else version.origin,
        )  # fmt: skip

    since = _since(candidate, contender, history)
    past = run(DateRange.of(first, last))
    return CandidateBacktest(
        candidate=candidate, past=past, since=None if since is None else run(since),
        lines=tuple(dict.fromkeys(lines)),
    )  # fmt: skip


def _version(contender: Contender) -> TradedVersion | None:
    if contender.kind != "model":
        return None
    store = ModelStore(Path(contender.content["store"]))
    return TradedVersion.load(contender.symbol, contender.content["version"], store)


def _since(candidate: ForwardCandidate, contender: Contender, history: History) -> DateRange | None:
    """Return the sessions after the one in which a candidate was registered."""
    bars = history.series(SeriesKey(contender.symbol, contender.config.bars))
    dates = history.markets[contender.symbol].session.dates(bars.end, bars.timeframe)
    registered = int(np.searchsorted(bars.end, candidate.stamp, side="right"))
    if registered >= len(bars) or dates[-1] <= dates[registered]:
        return None
    return DateRange.of(str(dates[registered] + 1), str(dates[-1]))

"""A strategy without a model is judged: one that deserves it passes, and every check has its control."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lockstep.errors import ModelError, TrainingError
from lockstep.market.config import load_instruments
from lockstep.market.history import History, SeriesKey
from lockstep.market.timeframe import DAILY
from lockstep.models.store import ModelStore
from lockstep.monitoring.frozen import frozen_in
from research.ledger.database import Database
from research.ledger.ledger import Ledger, Trials
from research.model_validation.case import Champion, ModelCase, StrategyCase
from research.model_validation.checks import CHECKS, asked_of, judge_model
from research.model_validation.gathering import ValidationRequest, gather
from research.model_validation.report import ValidationReport, validation_html, validation_json
from research.model_validation.validate import validate
from research.statistics.gate import Check, GateVerdict
from research.training import out_of_sample, release
from research.training.config import StrategyRelease
from support.training import NOON, noon
from support.validation_models import HOLD_OUT_DATES, KEY, SYMBOL, HoldOutFound, planted_history

NAMES = tuple(each.name for each in CHECKS.values() if each.of is not ModelCase)


def wanted(acceptance: dict[str, Any] | None = None, **changes: Any) -> StrategyRelease:
    """Return a strategy that buys what was planted, and sells at the next close."""
    strategy = {
        "name": "planted",
        "entry": [0.0, 0.35],
        "exit": [0.0, 1.0],
        "filters": [{"feature": "volume_pctile_20", "min": 0.6}, {"feature": "range_atr_14", "min": 1.0}],
        **changes,
    }
    content = {"symbol": SYMBOL, "strategy": strategy, "hold_out": {"share": 0.15}}
    return StrategyRelease.model_validate({**content, "acceptance": acceptance or {}})


@functools.cache
def planted() -> History:
    return planted_history()


def case_of(found: release.ReleasedStrategy, **changes: Any) -> StrategyCase:
    parts: dict[str, Any] = {
        "bundle": found.bundle,
        "history": found.history,
        "trials": 3,
        "independent": 3.0,
        "released": found,
        "hold_out": lambda may_open: HoldOutFound() if may_open else None,
        **changes,
    }
    return StrategyCase(**parts)


@functools.cache
def deserving() -> StrategyCase:
    return case_of(release.ReleasedStrategy.of(wanted(), planted()))


def limited(**acceptance: float) -> StrategyCase:
    """Return the same strategy under other limits."""
    known = deserving().released
    return replace(deserving(), released=replace(known, release=wanted(acceptance)))


def foreign_feature() -> StrategyCase:
    """Filter by another instrument, which live does not deliver for this one."""
    own, other = planted().series(KEY), replace(planted().series(KEY), symbol="GC")
    markets = {**planted().markets, "GC": load_instruments().market("GC")}
    history = History(bars={KEY: own, SeriesKey("GC", DAILY): other}, markets=markets)
    return case_of(release.ReleasedStrategy.of(wanted(features=["rsi_2@GC"]), history))


def drifting_feature(monkeypatch: pytest.MonkeyPatch) -> StrategyCase:
    """Let the live engine's windows give another last bit."""
    from lockstep.features.streaming import WindowFeatures

    real = WindowFeatures.vector
    monkeypatch.setattr(WindowFeatures, "vector", lambda self, stamp: real(self, stamp) * (1.0 + 2e-16))
    return replace(deserving())


def other_vectors() -> StrategyCase:
    golden = deserving().bundle.golden
    spoilt = replace(golden, vectors=golden.vectors + 1e-6)
    return replace(deserving(), bundle=replace(deserving().bundle, golden=spoilt))


def only_once() -> StrategyCase:
    """Take from every session of the earlier half what makes it a losing one."""
    case, whole = replace(deserving()), deserving().account
    middle = whole.equity.size // 2
    fall = np.minimum(np.arange(whole.equity.size), middle) * 120.0
    vars(case)["account"] = replace(whole, equity=whole.equity - fall)
    return case


def better_champion() -> StrategyCase:
    ours = deserving().account
    better = replace(ours, equity=ours.equity + 120.0 * np.arange(1, ours.equity.size + 1))
    return replace(deserving(), champion=Champion(version="v0", account=better, how="as it is"))


# What each control builds, and which other checks cannot but fail with it: they measure the same thing.
CONTROLS: dict[str, tuple[Callable[[], StrategyCase], frozenset[str]]] = {
    "live feeds": (foreign_feature, frozenset()),
    "golden vectors": (other_vectors, frozenset()),
    "trades": (lambda: limited(min_trades=deserving().account.pnl.size + 1), frozenset()),
    "Sharpe ratio": (lambda: limited(min_sharpe=deserving().account.sharpe + 0.01), frozenset()),
    "profit factor": (lambda: limited(min_profit_factor=50.0), frozenset()),
    "drawdown": (lambda: limited(max_drawdown=0.001), frozenset()),
    "both halves": (only_once, frozenset(("Sharpe ratio", "deflated Sharpe", "drawdown"))),
    "twice the costs": (lambda: limited(min_costly_sharpe=deserving().account.sharpe), frozenset()),
    "deflated Sharpe": (lambda: replace(deserving(), independent=1e13), frozenset()),
    "challenger": (better_champion, frozenset()),
    "hold-out": (lambda: replace(deserving(), hold_out=lambda _: HoldOutFound(sharpe=-0.5)), frozenset()),
}


@pytest.mark.parametrize("name", CONTROLS)
def test_a_control_fails_its_check_and_no_other(name: str) -> None:
    build, related = CONTROLS[name]
    refused = {each.name for each in judge_model(build()).refusals}
    # A strategy that is refused anyway leaves the hold-out sealed.
    assert refused == {name, "hold-out"} | related


def test_a_window_that_differs_from_the_batch_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    refused = {each.name for each in judge_model(drifting_feature(monkeypatch)).refusals}
    assert refused == {"streaming equals batch", "hold-out"}


def test_every_check_that_a_strategy_can_be_asked_has_a_control() -> None:
    assert {*CONTROLS, "streaming equals batch"} == set(NAMES)


def test_a_deserving_strategy_passes_and_shows_what_does_not_apply() -> None:
    verdict = judge_model(deserving())
    assert verdict.passed, str(verdict)
    assert tuple(each.name for each in verdict.applicable) == NAMES
    assert [each.name for each in verdict.checks] == list(CHECKS)
    unasked = [each for each in verdict.checks if not each.applies]
    assert {each.name for each in unasked} == {each.name for each in CHECKS.values() if each.of is ModelCase}
    assert all(each.sentence.startswith("not applicable: checks a model") for each in unasked)


def test_nothing_passes_by_having_nothing_checked() -> None:
    unasked = Check(name="x", value=0.0, limit=0.0, passed=True, sentence="?", applies=False)
    asked = replace(unasked, applies=True)
    assert not GateVerdict(checks=(unasked, unasked)).passed
    assert not GateVerdict(checks=()).passed
    assert str(GateVerdict(checks=(unasked,))) == "nothing was checked"
    assert GateVerdict(checks=(unasked, asked)).passed
    assert not GateVerdict(checks=(unasked, asked, replace(asked, passed=False))).passed


def test_a_model_is_not_asked_what_only_a_strategy_can_be() -> None:
    names = {each.name for each in asked_of(ModelCase)}
    assert not names & {"both halves", "twice the costs"}
    made = CHECKS["both halves"](object.__new__(ModelCase))
    assert (made.applies, made.passed) == (False, False)


def test_the_report_says_what_was_judged() -> None:
    made = ValidationReport(case=deserving(), verdict=judge_model(deserving()))
    content = json.loads(validation_json(made))
    assert content["passed"]
    outcomes = {each["name"]: each["passed"] for each in content["checks"]}
    assert (outcomes["calibration"], outcomes["trades"]) == (None, True)
    assert content["before_the_hold-out"]["trades"] > 50
    assert content["with_twice_the_costs"]["net_profit"] < content["before_the_hold-out"]["net_profit"]
    page = validation_html(made)
    for told in ("no model", "not applicable", "passed every check", "12 more do not apply"):
        assert told in page


def test_a_bundle_of_another_strategy_is_refused() -> None:
    other = release.ReleasedStrategy.of(wanted(max_bars=3), planted())
    with pytest.raises(ModelError, match="is not that of the released strategy"):
        replace(deserving(), released=other)


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger(Database.open(f"sqlite:///{tmp_path / 'trials.db'}"))


@pytest.fixture
def registered(tmp_path: Path, ledger: Ledger) -> ValidationRequest:
    """Register a strategy on the embedded bars, as `promote --strategy` does."""
    store = ModelStore(tmp_path / "store")
    asked = StrategyRelease.model_validate(
        {
            "symbol": SYMBOL,
            "data": {"end": "2018-12-31"},
            "strategy": {"name": "small", "entry": [0.0, 0.25], "max_bars": 10},
            "hold_out": {"start": "2017-01-03"},
            "acceptance": {"min_sharpe": -9, "min_profit_factor": 0, "max_drawdown": 1, "min_dsr": 0}
            | {"min_half_sharpe": -9, "min_costly_sharpe": -9, "min_hold_out_sharpe": -9},
        }
    )
    release.register_strategy(asked, store, ledger, by="ann", now=noon)
    return ValidationRequest(symbol=SYMBOL, version="v1", store=store, reports=tmp_path / "reports")


def test_a_version_is_judged_from_its_record_and_opens_its_hold_out_once(
    registered: ValidationRequest, ledger: Ledger
) -> None:
    report, _ = validate(registered, ledger, by="ann", now=NOON)
    assert report.verdict.passed, str(report.verdict)
    again, _ = validate(registered, ledger, by="ann", now=NOON)
    assert again.verdict == report.verdict
    entry = registered.store.manifest().entry(SYMBOL, "v1")
    assert [each.kind for each in entry.evidence] == ["reference", "validation"] * 2
    assert all(each.hashes["release config"] for each in entry.evidence)
    assert frozen_in(registered.store, SYMBOL, entry.sha256).probabilities is None
    family = release.trial_family(SYMBOL)
    sealed = gather(registered, ledger, now=NOON).released.dates.hold_out  # type: ignore[attr-defined]
    assert [look.number for look in ledger.looks(family, sealed)] == [1]
    # Registering and judging the same strategy, twice, is one trial.
    assert ledger.count(family, date(2010, 1, 1), date(2010, 12, 31)) == 1


def test_the_trials_of_the_family_count_against_it(registered: ValidationRequest, ledger: Ledger) -> None:
    before = gather(registered, ledger, now=NOON)
    tried = Trials(
        family=release.trial_family(SYMBOL),
        symbol=SYMBOL,
        dates=HOLD_OUT_DATES.model_copy(update={"start": date(2010, 1, 4)}),
        kind="grid",
        evaluations={f"{number:032}": "ok" for number in range(500)},
    )
    ledger.record(tried, now=NOON)
    after = gather(registered, ledger, now=NOON)
    assert (before.trials, after.trials) == (1, 501)
    assert after.deflation.dsr < before.deflation.dsr
    assert after.deflation.chance > before.deflation.chance == 0.0


def test_a_look_whose_result_is_lost_is_not_taken_again(ledger: Ledger) -> None:
    found = release.ReleasedStrategy.of(wanted(), planted())
    family = release.trial_family(SYMBOL)
    first = out_of_sample.open_release(found, ledger, family=family, version="ab", now=NOON)
    assert (first.looks, first.unfiltered) == (1, {})
    assert first.metrics == found.account(found.dates.hold_out).measures
    with pytest.raises(TrainingError, match="was opened before"):
        out_of_sample.open_release(found, ledger, family=family, version="ab", now=NOON)

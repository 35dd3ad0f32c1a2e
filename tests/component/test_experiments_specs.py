"""Searches of specs: two spellings of one spec are one trial, whatever search they are in."""

from __future__ import annotations

import functools
import itertools
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console
from sqlalchemy import func, select

from lockstep.features.feature_registry import default_registry
from lockstep.market.dates import DateRange
from lockstep.market.history import SeriesKey
from lockstep.market.loader import load_history
from lockstep.market.timeframe import DAILY
from lockstep.strategy.families.rules import RulesConfig
from research.experiments import declaration, evaluation, search
from research.experiments.comparison import compare
from research.experiments.declaration import space_of, space_of_one
from research.experiments.evaluation import behaviour_hashes
from research.experiments.execution import Lab
from research.experiments.plan import Plan
from research.experiments.repeats import repeat_lines, same_as
from research.experiments.report import page_data, page_html
from research.experiments.service import verified_ranking
from research.experiments.store import METRIC_COLUMNS
from research.experiments.tables import print_summary, print_top
from research.experiments.why import conclude
from research.ledger.append_only import LedgerRow, MaximumRow
from research.ledger.database import Database
from research.ledger.tables import ExperimentRun, Returns
from research.sweep.run import sweep
from research.sweep.variants import Variants
from research.training.config import StrategyRelease
from support.experiments import SPLIT, noon, plan

DIP = {"id": "ibs", "below": 0.2}
CALM = {"id": "rsi_2", "at_most": 60}
BASE = RulesConfig.model_validate(
    {"name": "dip", "long_entry": {"all": [DIP, CALM]}, "long_exit": {"id": "ibs", "above": 0.7}}
)
WORDS: tuple[Any, ...] = (
    {"all": [DIP, CALM]},
    {"not": {"any": [{"id": "rsi_2", "above": 60}, {"not": DIP}]}},
    {"all": [CALM, DIP, {"any": [DIP, CALM]}]},
)
OTHER = {"all": [{"id": "ibs", "below": 0.25}, CALM]}


def specs(*entries: Any, **changes: Any) -> Plan:
    content = {"strategy": BASE, "symbols": ("SPX",), "parameters": {"long_entry": entries}, **changes}
    return plan(**content)


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    return Lab(database=Database.open(f"sqlite:///{tmp_path / 'experiments.db'}"), now=noon)


def counted(lab: Lab) -> int:
    return lab.ledger.count(lab.family("SPX"), SPLIT.train.start, SPLIT.validation.end)


def rows(lab: Lab) -> int:
    with lab.database.read() as connection:
        return connection.scalar(select(func.count()).select_from(LedgerRow)) or 0


@pytest.mark.no_cover
def test_two_spellings_are_one_trial_in_one_search_and_in_two(lab: Lab) -> None:
    first = lab.run(specs(*WORDS[:2], OTHER))
    runs = lab.store.runs(first.id)
    assert len(runs) == 3
    assert runs["config_hash"].nunique() == runs["evaluation"].nunique() == 2
    assert runs["evaluation"][0] == runs["evaluation"][1]
    assert (rows(lab), counted(lab)) == (2, 2)
    assert lab.ledger.searched(first.id, "SPX").unevaluated == 0, "what is declared twice is declared once"

    second = lab.run(specs(WORDS[2], OTHER))
    assert lab.store.runs(second.id)["evaluation"].tolist() == runs["evaluation"].tolist()[1:]
    assert (rows(lab), counted(lab)) == (2, 2)
    assert lab.ledger.searched(second.id, "SPX").kind == "declared", "it lies within the first"

    third = lab.run(specs(WORDS[0], {"all": [{"id": "ibs", "below": 0.3}, CALM]}))
    assert counted(lab) == 3
    assert lab.ledger.searched(third.id, "SPX").kind == "adaptive"


def test_by_fields_two_spellings_would_be_two(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """Negative control: the hash of other families counts how a spec is written."""
    monkeypatch.setattr(RulesConfig, "meant_fields", classmethod(lambda cls: frozenset()))
    monkeypatch.setattr(RulesConfig, "meant_together", classmethod(lambda cls: ()))
    lab.run(specs(*WORDS[:2], OTHER))
    assert counted(lab) == 3


class TestDeclared:
    def test_in_other_words(self) -> None:
        wide = space_of(specs(*WORDS[:2], OTHER), "SPX")
        assert (wide.size, len(wide.fields["meaning"])) == (2, 2)
        assert wide.contains(space_of(specs(WORDS[2]), "SPX"))
        assert wide.contains(space_of(specs(OTHER, sample=1), "SPX"))
        assert not wide.contains(space_of(specs({"id": "ibs", "below": 0.2}), "SPX"))
        assert type(wide).read(wide.content) == wide

    def test_of_one(self) -> None:
        other = BASE.replaced(long_entry=WORDS[1], name="other")
        dates = SPLIT.searched
        one, two = (space_of_one(each, "SPX", dates, proposer="compare") for each in (BASE, other))
        assert one.contains(two)
        assert two.contains(one)

    def test_a_combination_that_is_not_valid_is_declared_too(self) -> None:
        never = {"all": [DIP, {"id": "ibs", "above": 0.5}]}
        assert space_of(specs(WORDS[0], never), "SPX").size == 2

    def test_very_many_are_declared_by_their_fields(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(declaration, "_MOST_LISTED", 1)
        space = space_of(specs(*WORDS[:2], OTHER), "SPX")
        assert space.size == 3
        assert len(space.fields["long_entry"]) == 3

    def test_an_evolution_declares_all_that_it_may_come_to(self) -> None:
        space = space_of(specs(*WORDS[:2], OTHER, generations=1, children=1), "SPX")
        assert (space.size, space.learns) == (2, True)


def test_a_comparison_counts_both_spellings_once(lab: Lab, tmp_path: Path) -> None:
    files = []
    for number, words in enumerate(WORDS[:2]):
        config = BASE.replaced(long_entry=words, name=f"spelling_{number}")
        files.append(tmp_path / f"{number}.yaml")
        files[-1].write_text(config.to_yaml(), encoding="utf-8")
    found = compare(
        lab, (files[0], files[1]), "SPX", start="2010-01-04", end="2012-12-31", data_dir=None, source=None
    )
    assert rows(lab) == 1
    one, other = (each.equity["equity"] for each in (found.first, found.second))
    assert one.equals(other)


def test_a_release_in_other_words_is_the_same_release() -> None:
    one, other = (
        StrategyRelease(symbol="SPX", strategy=BASE.replaced(long_entry=words)) for words in (WORDS[0], OTHER)
    )
    same = StrategyRelease(symbol="SPX", strategy=BASE.replaced(long_entry=WORDS[1], name="other"))
    assert one.config_hash == same.config_hash != other.config_hash


# What a variant does: known by its signals, and not evaluated twice.

SQUARE = "ibs*ibs"


class Counting:
    """The sweep, which keeps what it is asked for: how many configurations, on which dates."""

    def __init__(self) -> None:
        self.asked: list[tuple[int, date]] = []

    def __call__(self, configs: Any, history: Any, symbol: str, *, span: Any, on_done: Any = None) -> Any:
        self.asked.append((len(configs), span.start))
        return sweep(configs, history, symbol, span=span, on_done=on_done)

    def of(self, part: DateRange) -> int:
        return sum(count for count, start in self.asked if start == part.start)


@pytest.fixture
def counting() -> Counting:
    return Counting()


@pytest.fixture
def watched(lab: Lab, counting: Counting) -> Lab:
    return replace(lab, evaluator=counting)


@functools.cache
def values_of_ibs() -> dict[str, Any]:
    """Return the values of ibs on the training and on the test range."""
    history = load_history("SPX", start="2009-06-01", end="2012-12-31")
    bars = history.series(SeriesKey("SPX", DAILY))
    column = default_registry().calculate("ibs", bars, history=history)
    ranges = {"train": SPLIT.train, "test": SPLIT.validation}
    return {part: column[dates.select(bars, history.markets["SPX"])] for part, dates in ranges.items()}


def threshold(train: int, test: int, above: float = 0.2) -> tuple[float, float]:
    """Return two thresholds of four digits between which so many values of ibs lie."""
    ibs = values_of_ibs()
    grid = [round(above + step / 10_000, 4) for step in range(4_000)]
    for low, high in itertools.product(grid, range(1, 12)):
        upper = round(low + high / 10_000, 4)
        found = [int(((ibs[part] >= low) & (ibs[part] < upper)).sum()) for part in ("train", "test")]
        if found == [train, test]:
            return low, upper
    raise AssertionError


def below(value: float) -> dict[str, Any]:
    return {"id": "ibs", "below": value}


def stored(lab: Lab, number: int, variant: int) -> dict[str, Any]:
    """Return all that is stored of a run's results."""
    runs = lab.store.runs(number, *METRIC_COLUMNS, variant=variant).iloc[0].to_dict()
    with lab.database.read() as connection:
        row = connection.execute(
            select(Returns.__table__).where(Returns.experiment_id == number).order_by(Returns.first_variant)
        ).one()
    variants = np.frombuffer(row.variants, np.int64).tolist()
    place, count = variants.index(variant), len(variants)
    kinds = {"blocks": np.float32, "timing": np.float64, "sketch": np.float16, "lengths": np.float64}
    kept = {
        name: np.frombuffer(getattr(row, name), kind).reshape(count, -1)[place]
        for name, kind in kinds.items()
    }
    return {
        **runs,
        **{name: value.tolist() for name, value in kept.items()},
        "ones": row.ones,
        "calendar": row.calendar,
    }


def test_a_repeat_is_told_counted_and_not_evaluated(watched: Lab, counting: Counting) -> None:
    same = {"id": SQUARE, "below": 0.04}
    first = watched.run(specs(below(0.2), same, below(0.3)))
    runs = watched.store.runs(first.id)
    assert runs["evaluation"].nunique() == 3, "they do not mean the same"
    assert counted(watched) == 3
    assert (counting.of(SPLIT.train), counting.of(SPLIT.validation)) == (2, 2), "and do the same"
    assert runs.loc[0, list(METRIC_COLUMNS)].equals(runs.loc[1, list(METRIC_COLUMNS)])
    assert list(repeat_lines(watched.store, first)) == [
        "SPX: 1 of 3 new trials do what an earlier one did on the training range (variant 1: same as #1). "
        "What was known was not evaluated again, and each counts"
    ]

    counting.asked.clear()
    second = watched.run(specs({"id": SQUARE, "at_most": 0.04}))
    assert counting.asked == [], "no evaluation, whichever search it was"
    assert counted(watched) == 4, "and a trial"
    kept, before = stored(watched, second.id, 0), stored(watched, first.id, 0)
    assert kept.pop("lengths") == pytest.approx(before.pop("lengths"), rel=1e-15)
    assert kept == before
    assert kept == {each: value for each, value in stored(watched, first.id, 1).items() if each != "lengths"}
    (best,) = verified_ranking(watched, second)
    assert (best.same_as, best.repeats) == ({"SPX": 1}, "same as #1")
    assert best.verified, "Backtrader trades the repeat itself"
    assert watched.ledger.faults() == []


def everything(lab: Lab) -> dict[str, Any]:
    """Return what searches left: results, residuals and maxima; whatever says when, or how long, apart."""
    apart = {"id", "recorded", "started", "finished", "seconds"}
    tables = (ExperimentRun, Returns, LedgerRow, MaximumRow)
    with lab.database.read() as connection:
        found = {
            table.__tablename__: [
                {name: value for name, value in row._asdict().items() if name not in apart}
                for row in connection.execute(select(table.__table__))
            ]
            for table in tables
        }
    # Of what is known the length is that of what is stored, which was rounded.
    found["lengths"] = [np.frombuffer(row.pop("lengths")) for row in found[Returns.__tablename__]]
    return found


def test_a_repeat_leaves_what_its_evaluation_would(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Results, residuals, the maximum over all trials and their number: no repeat gains or loses anything."""
    first = specs(below(0.2), {"id": SQUARE, "below": 0.04}, below(0.3))
    second = specs({"id": SQUARE, "below": 0.09}, {"id": SQUARE, "at_most": 0.04}, below(0.25))
    labs = {}
    for name in ("told", "evaluated"):
        counting = Counting()
        database = Database.open(f"sqlite:///{tmp_path / name}.db")
        labs[name] = Lab(database=database, now=noon, evaluator=counting)
        with monkeypatch.context() as patch:
            if name == "evaluated":
                patch.setattr(search, "behaviour_hashes", lambda *_: None)
            for each in (first, second):
                labs[name].run(each)
        assert counting.of(SPLIT.train) == {"told": 3, "evaluated": 6}[name]
    told, evaluated = (everything(each) for each in labs.values())
    for one, other in zip(told.pop("lengths"), evaluated.pop("lengths"), strict=True):
        assert np.allclose(one, other, rtol=1e-14, atol=0.0)
    assert told == evaluated
    assert [each["trials"] for each in told["maximum"]] == [3, 3]
    assert counted(labs["told"]) == 6


@pytest.mark.no_cover
def test_where_it_is_told(watched: Lab) -> None:
    watched.run(specs(below(0.2), below(0.3)))
    record = watched.run(specs({"id": SQUARE, "below": 0.04}, {"id": SQUARE, "below": 0.09}, below(0.15)))
    console = Console(width=200, record=True)
    ranked = verified_ranking(watched, record)
    print_summary(console, watched.store, record)
    print_top(console, record, ranked, "sharpe")
    conclude(console, watched, record, ranked, None, why=True)
    text = console.export_text()
    assert "2 of 3 new trials do what an earlier one did on the training range" in text
    assert text.count("same as #1)") >= 1
    assert text.count("same as #2)") >= 1
    told = {each.variant: each.repeats for each in ranked}
    assert told == {0: "same as #1", 1: "same as #2", 2: ""}
    page = page_html(page_data(watched, record))
    assert "same as #1" in page
    assert "same as #2" in page
    if ranked[0].variant != 2:
        assert f"on the training range: {ranked[0].repeats}" in text


def test_one_signal_more_is_evaluated(watched: Lab, counting: Counting) -> None:
    """Negative control: of the training range one bit differs, or of the test range."""
    low, high = threshold(train=1, test=0)
    first = watched.run(specs(below(low), below(0.7)))
    counting.asked.clear()
    one = watched.run(specs(below(high)))
    assert (counting.of(SPLIT.train), counting.of(SPLIT.validation)) == (1, 0), (
        "what is known is not evaluated"
    )
    assert same_as(watched.store, one, [0]) == {}

    low, high = threshold(train=0, test=1)
    watched.run(specs(below(low)))
    counting.asked.clear()
    other = watched.run(specs(below(high)))
    assert (counting.of(SPLIT.train), counting.of(SPLIT.validation)) == (0, 1)
    assert list(same_as(watched.store, other, [0])) == [0], "it does the same where it is trained"
    results = watched.store.runs(other.id, "test_trades", "test_net_profit").iloc[0].tolist()
    config, history = BASE.replaced(long_entry=below(high)), watched.data(other.plan, "SPX").history
    alone = sweep([config], history, "SPX", span=SPLIT.validation)
    assert results == [alone.metrics["trades"][0], alone.metrics["net_profit"][0]]
    assert counted(watched) == 5
    assert first.done == 2


def test_another_stop_is_no_repeat(watched: Lab, counting: Counting) -> None:
    parameters = {"long_entry": (below(0.2),), "stop.percent": (None, 1.0, 2.0)}
    watched.run(specs(parameters=parameters))
    assert counting.of(SPLIT.train) == 3


def test_what_was_deleted_is_evaluated_again(watched: Lab, counting: Counting) -> None:
    first = watched.run(specs(below(0.2), below(0.3)))
    watched.store.delete(first.id)
    counting.asked.clear()
    again = watched.run(specs({"id": SQUARE, "below": 0.04}))
    assert (counting.of(SPLIT.train), counting.of(SPLIT.validation)) == (1, 1)
    assert same_as(watched.store, again, [0]) == {0: {"SPX": 1}}, "and is told all the same"


def test_in_every_window(watched: Lab, counting: Counting) -> None:
    watched.run(specs(below(0.2), below(0.3), walk_forward="1y/6m/6m"))
    counting.asked.clear()
    record = watched.run(specs({"id": SQUARE, "below": 0.04}, walk_forward="1y/6m/6m"))
    assert counting.asked == []
    assert same_as(watched.store, record, [0]) == {0: {"SPX": 1}}


def test_other_bars_dates_or_code_are_another_behaviour(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    data, configs = lab.data(specs(below(0.2)), "SPX"), Variants.of([BASE])
    one = behaviour_hashes(configs, data, SPLIT.train)
    assert one == behaviour_hashes(configs, data, SPLIT.train)
    others = [
        behaviour_hashes(configs, replace(data, hash="0" * 64), SPLIT.train),
        behaviour_hashes(configs, data, SPLIT.validation),
    ]
    monkeypatch.setattr(evaluation, "trial_code", lambda ids: "other")
    others.append(behaviour_hashes(configs, data, SPLIT.train))
    assert one not in others
    assert None not in others


def test_what_asks_models_is_code_of_a_trial_that_reads_one(monkeypatch: pytest.MonkeyPatch) -> None:
    ids = (("ibs",), ("ibs", "model:COMP@v3#3f2a9c1b04de"))
    plain, asking = map(evaluation.trial_code, ids)
    monkeypatch.setattr(evaluation, "_asking_models", lambda: "edited")
    assert evaluation.trial_code(ids[0]) == plain
    assert evaluation.trial_code(ids[1]) != asking


def test_a_family_without_signals_is_run(lab: Lab) -> None:
    data = lab.data(plan(symbols=("SPX",)), "SPX")
    assert behaviour_hashes(Variants.of([plan().strategy]), data, SPLIT.train) is None


def test_what_cannot_be_read_fails_alone(watched: Lab, counting: Counting) -> None:
    record = watched.run(
        specs(below(0.2), {"id": SQUARE, "below": 0.04}, {"id": "rsi_0", "below": 10}, below(0.3))
    )
    runs = watched.store.runs(record.id)
    assert runs["error"].isna().tolist() == [True, True, False, True]
    assert counted(watched) == 4

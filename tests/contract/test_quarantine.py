"""PARITY 39 in the engine: an absurd bar changes nothing but the journal, and the operator brings it back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from lockstep.live.engine import Engine
from lockstep.live.feeds.replay import arrivals_of
from lockstep.live.messages import Arrival, Event, SetRecord, Values
from lockstep.live.plausible import Plausibility
from lockstep.live.quarantine import ACCEPT, REJECT
from lockstep.live.synchroniser import Synchroniser
from lockstep.market.bars import PRICE_COLUMNS
from lockstep.market.history import History, SeriesKey
from lockstep.market.timeframe import DAILY
from lockstep.strategy.matching import POSITION
from research.backtest import run_backtest
from research.steps import steps_of
from support import desks

COMP, SPX = SeriesKey("COMP", DAILY), SeriesKey("SPX", DAILY)
WARM, SETS = 400, 60
BAND = Plausibility()
ABSURD: dict[str, Callable[[Values], Values]] = {
    "high 1e308": lambda v: (v[0], 1e308, *v[2:]),
    "low 0": lambda v: (*v[:2], 0.0, *v[3:]),
    "factor 10": lambda v: (*(price * 10 for price in v[:4]), v[4]),
    "volume 1e300": lambda v: (*v[:4], 1e300),
}


def spoilt(
    history: History, key: SeriesKey, rows: Sequence[int], change: Callable[[Values], Values] | None
) -> list[Arrival]:
    """Return what arrives when some bars of a series are changed, or never come."""
    ends = {int(history.bars[key].end[WARM + row]) for row in rows}
    found = []
    for each in arrivals_of(history):
        if each.key == key and each.end in ends:
            found += [each._replace(values=change(each.values))] if change else []
        else:
            found.append(each)
    return found


def run(
    folder: Path, history: History, arrivals: Sequence[Arrival] | None, band: Plausibility | None = BAND
) -> desks.MemoryJournal:
    journal = desks.MemoryJournal()
    models = {"COMP": desks.model(), "SPX": desks.model("SPX", seed=1)}
    desks.engine(folder, models, journal, history, warm=WARM, arrivals=arrivals, band=band).run()
    return journal


def lanes(sets: Sequence[SetRecord]) -> list[str]:
    """Everything that was decided, computed, booked and delivered; not what was reported about bars."""
    return [repr(replace(row, sequence=0, release=replace(row.release, irregularities=()))) for row in sets]


@pytest.mark.parametrize("kind", ABSURD)
def test_an_absurd_bar_is_as_if_it_had_not_come(kind: str, tmp_path: Path) -> None:
    """No window, mark, decision, fill or account knows of it, in its own instrument or the other one."""
    history, rows = desks.history(WARM + SETS), (7, 20, 21, 40)
    found = run(tmp_path, history, spoilt(history, COMP, rows, ABSURD[kind]))
    without = run(tmp_path, history, spoilt(history, COMP, rows, None))
    assert lanes(found.sets) == lanes(without.sets)
    reports = [each for row in found.sets for each in row.release.irregularities]
    assert [each.kind for each in reports].count("implausible") == len(rows)
    assert [each.kind for each in reports].count("missing") == len(rows)


@pytest.mark.parametrize("kind", ABSURD)
def test_without_the_band_it_is_traded_on(kind: str, tmp_path: Path) -> None:
    """The negative control: what the desk did before."""
    history, rows = desks.history(WARM + SETS), (7, 20, 21, 40)
    arrivals = spoilt(history, COMP, rows, ABSURD[kind])
    found, without = (
        run(tmp_path, history, arrivals, None),
        run(tmp_path, history, spoilt(history, COMP, rows, None)),
    )
    assert lanes(found.sets) != lanes(without.sets)


def test_the_band_changes_nothing_of_bars_that_pass(tmp_path: Path) -> None:
    history = desks.history(WARM + SETS)
    assert lanes(run(tmp_path, history, None).sets) == lanes(run(tmp_path, history, None, None).sets)


# ---- the market is really there


def moved(history: History, row: int, factor: float) -> History:
    """Return the history with COMP at another level from a traded row on."""
    bars = history.bars[COMP]
    scale = np.where(np.arange(len(bars)) >= WARM + row, factor, 1.0)
    columns = {name: getattr(bars, name) * scale for name in PRICE_COLUMNS}
    return replace(history, bars={**history.bars, COMP: replace(bars, **columns)})


class Operator(desks.FakeOutside):
    """Decides about the bar that waits longest, as soon as `patience` of them do."""

    def __init__(self, decision: str, patience: int) -> None:
        super().__init__()
        self.decision, self.patience = decision, patience
        self.engine: Engine | None = None
        self.decided = 0

    def commands(self) -> Sequence[Event]:
        waiting = self.engine.quarantine.waiting if self.engine else ()
        if len(waiting) < self.patience:
            return ()
        bar = waiting[0]
        self.decided += 1
        content = {
            "command": f"bar-{bar.end}", "symbol": bar.key.symbol, "key": str(bar.key), "end": bar.end,
            "values": list(bar.values), "decision": self.decision, "reason": "test",
        }  # fmt: skip
        return (Event(kind="quarantine", symbol=bar.key.symbol, content=content),)


def operated(
    folder: Path,
    history: History,
    decision: str,
    *,
    patience: int = 3,
    arrivals: Sequence[Arrival] | None = None,
    journal: desks.MemoryJournal | None = None,
    **setup: object,
) -> tuple[desks.MemoryJournal, Operator, Engine]:
    journal, operator = journal or desks.MemoryJournal(), Operator(decision, patience)
    models = {"COMP": desks.model(), "SPX": desks.model("SPX", seed=1)}
    operator.engine = desks.engine(
        folder, models, journal, history, warm=WARM, outside=operator, band=BAND, arrivals=arrivals, **setup
    )
    operator.engine.run()
    return journal, operator, operator.engine


JUMP = 20


def test_accepted_bars_fill_the_windows_and_what_follows_is_decided_as_research_does(tmp_path: Path) -> None:
    """Three bars wait; with the first the other two are there, and the next decision has whole windows."""
    history = moved(desks.history(WARM + SETS), JUMP, 1.5)
    journal, operator, engine = operated(tmp_path, history, ACCEPT)
    assert operator.decided == 1
    assert list(engine.quarantine) == []
    late = [(each.key, each.end) for row in journal.sets for each in row.release.late]
    ends = history.bars[COMP].end[WARM + JUMP :].tolist()
    assert late == [(COMP, end) for end in ends[:3]]
    model = desks.model()
    result = run_backtest(
        model.config, history, "COMP", span=desks.span_after(history, COMP, WARM), veto=model.veto
    )
    research = {step.stamp: step.vector for step in steps_of(result)}
    live = {
        row.release.stamp: lane.vector for row in journal.sets for lane in row.lanes if lane.symbol == "COMP"
    }
    assert sorted(research.keys() - live.keys()) == ends[:3]
    assert {stamp: vector for stamp, vector in research.items() if stamp in live} == live


def test_without_a_decision_nothing_is_traded_at_the_new_level(tmp_path: Path) -> None:
    history = moved(desks.history(WARM + SETS), JUMP, 1.5)
    journal, _, engine = operated(tmp_path, history, ACCEPT, patience=10**9)
    assert [COMP in row.release.bars for row in journal.sets] == [True] * JUMP + [False] * (SETS - JUMP)
    assert len(engine.quarantine.waiting) == SETS - JUMP
    assert all(lane.symbol == "SPX" for row in journal.sets[JUMP:] for lane in row.lanes)


def test_rejected_bars_stay_out(tmp_path: Path) -> None:
    history = desks.history(WARM + SETS)
    arrivals = spoilt(history, COMP, (20, 21, 22, 40), ABSURD["factor 10"])
    journal, operator, _ = operated(tmp_path, history, REJECT, patience=1, arrivals=arrivals)
    without = run(tmp_path, history, spoilt(history, COMP, (20, 21, 22, 40), None))
    assert operator.decided == 4
    assert lanes(journal.sets) == lanes(without.sets)
    assert not any(row.release.late for row in journal.sets)


@pytest.mark.parametrize("patience", [1, 3])
def test_restarted_at_every_bar_the_quarantine_and_the_reference_are_the_same(
    tmp_path: Path, patience: int
) -> None:
    history = moved(desks.history(WARM + 40), JUMP, 1.5)
    whole, _, _ = operated(tmp_path, history, ACCEPT, patience=patience)
    pieces = desks.MemoryJournal()
    while len(pieces.sets) < len(whole.sets):
        operated(tmp_path, history, ACCEPT, patience=patience, journal=pieces, stop_after=1)
    assert lanes(pieces.sets) == lanes(whole.sets)
    decisions = [
        [event.content for event in each.events if event.kind == "quarantine"] for each in (whole, pieces)
    ]
    assert decisions[0] == decisions[1] != []
    assert any(row.release.late for row in whole.sets)


def test_a_decision_that_was_journaled_and_not_carried_out_is_carried_out_after_a_restart(
    tmp_path: Path,
) -> None:
    """Killed between the event and the set that brings the bar."""
    history = moved(desks.history(WARM + 40), JUMP, 1.5)
    whole, _, _ = operated(tmp_path, history, ACCEPT)
    at = next(n for n, row in enumerate(whole.rows) if isinstance(row, Event) and row.kind == "quarantine")
    pieces = desks.MemoryJournal(rows=list(whole.rows[: at + 1]))
    _, operator, _ = operated(tmp_path, history, ACCEPT, journal=pieces)
    assert operator.decided == 0
    assert lanes(pieces.sets) == lanes(whole.sets)


@pytest.mark.parametrize("change", [{"end": 1}, {"values": [1.0] * 5}, {"key": "ES"}, {"key": "ES:1d"}])
def test_a_decision_about_what_does_not_wait_is_a_bad_command(
    tmp_path: Path, change: dict[str, object]
) -> None:
    class Confused(Operator):
        def commands(self) -> Sequence[Event]:
            return [replace(each, content={**each.content, **change}) for each in super().commands()][
                : self.decided == 1
            ]

    history = moved(desks.history(WARM + 30), JUMP, 1.5)
    journal, confused = desks.MemoryJournal(), Confused(ACCEPT, 2)
    confused.engine = desks.engine(
        tmp_path, {"COMP": desks.model()}, journal, history, warm=WARM, outside=confused, band=BAND
    )
    confused.engine.run()
    (bad,) = [event for event in journal.events if event.kind == "bad_command"]
    assert "error" in bad.content
    assert not any(row.release.late for row in journal.sets)


# ---- positions


def test_an_exit_that_was_demanded_comes_with_the_first_bar_that_passes(tmp_path: Path) -> None:
    """HALT with flatten while bars are quarantined: the position is left when there is a price again."""
    history = desks.history(WARM + SETS)
    plain = run(tmp_path, history, None)
    states = [lane.state for row in plain.sets for lane in row.lanes if lane.symbol == "COMP"]
    held = 1 + next(n for n, state in enumerate(states) if state.account[POSITION] and not state.waiting)
    blind = (held, held + 1, held + 2)
    arrivals = spoilt(history, COMP, blind, ABSURD["factor 10"])
    journal, outside = desks.MemoryJournal(), desks.FakeOutside()
    outside.on_look = lambda: setattr(outside, "halt", "test" if len(journal.sets) > held else None)
    models = {"COMP": desks.model(), "SPX": desks.model("SPX", seed=1)}
    desks.engine(
        tmp_path,
        models,
        journal,
        history,
        warm=WARM,
        arrivals=arrivals,
        band=BAND,
        outside=outside,
        flatten=True,
    ).run()
    comp = {n: lane for n, row in enumerate(journal.sets) for lane in row.lanes if lane.symbol == "COMP"}
    assert not comp.keys() & set(blind)
    assert comp[held - 1].state.account[POSITION] != 0
    assert comp[held + 3].reason == "halt"
    assert comp[held + 4].state.account[POSITION] == 0


class Unjudged(Synchroniser):
    """PARITY 39, the mutant: whatever breaks no rule of bars is released."""

    def _fault(self, *_: object) -> str:
        return ""


def test_mutant_an_engine_that_does_not_judge_is_caught(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(desks, "Synchroniser", Unjudged)
    with pytest.raises(AssertionError):
        test_an_absurd_bar_is_as_if_it_had_not_come("high 1e308", tmp_path)

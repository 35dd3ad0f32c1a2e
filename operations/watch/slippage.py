"""Reported fills of a journal beside what the cost model gives on settled bars: what slippage reads."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby

from certify.real_fills import FillAudit
from certify.recording import Tape
from lockstep.live.events import FillReported
from lockstep.live.journal import Journal
from lockstep.live.traded import TradedModel
from lockstep.market.config import load_instruments
from lockstep.market.history import History
from lockstep.monitoring.slippage import STREAMS, SlippageState
from research.paper.residuals import Residual, ResidualSummary, summaries


class LaneFill(Residual):
    """The residual of a reported fill; `symbol` is that of the contract, `lane` that of who traded it."""

    lane: str


def reported_fills(
    journal: Journal,
    models: Mapping[str, TradedModel],
    history: History,
    *,
    epochs: Sequence[int] | None = None,
) -> tuple[LaneFill, ...]:
    """Return every reported fill of a journal with its model price, by stamp; none in modes that simulate.

    models   by SHA-256, see `certify.recording.models_of`; history   settled bars of what they read
    epochs   numbers of those that are read; None: all

    A market order waits until the settled bar that it opens in is known: it comes with a later call, after
    fills that were seen, so that whoever keeps a state makes it again. ParityError where a bundle is missing.
    """
    if next(iter(journal.events(FillReported)), None) is None:
        return ()
    audit = FillAudit(history, load_instruments().instruments)
    tape = Tape(journal, models, history.markets)
    chosen: Iterable[int | None] = (None,) if epochs is None else epochs
    found = [
        LaneFill(lane=frame.record.symbol, **fill.model_dump())
        for epoch in chosen
        for frame in tape.frames(epoch)
        for fill in audit.take(frame)
    ]
    return tuple(sorted(found, key=lambda each: (each.stamp, each.lane, each.order)))


def slippage_states(
    fills: Iterable[LaneFill], acknowledged: Mapping[tuple[str, str], Sequence[int]] | None = None
) -> dict[tuple[str, str], SlippageState]:
    """Return the state of each (lane, kind of order) that has a stream, after all its fills, in any order.

    acknowledged   UTC ns by (lane, kind of order); one comes after the fills of its own stamp
    """
    events: dict[tuple[str, str], list[tuple[int, int, float]]] = {}
    for fill in fills:
        if fill.order in STREAMS:
            events.setdefault((fill.lane, fill.order), []).append((fill.stamp, 0, fill.ticks))
    for place, times in (acknowledged or {}).items():
        events.setdefault(place, []).extend((time, 1, 0.0) for time in times)
    found = {}
    for place, mine in sorted(events.items()):
        state = SlippageState.new()
        for (time, noted), group in groupby(sorted(mine), key=lambda each: each[:2]):
            ticks = [each[2] for each in group]
            state = state.acknowledged(time) if noted else state.after(time, ticks)
        found[place] = state
    return found


def lane_summaries(fills: Iterable[LaneFill]) -> dict[str, tuple[ResidualSummary, ...]]:
    """Return mean, median, worst, USD and commission by lane: a summary per contract and kind of order."""
    by_lane: dict[str, list[LaneFill]] = {}
    for fill in fills:
        by_lane.setdefault(fill.lane, []).append(fill)
    return {lane: summaries(mine) for lane, mine in sorted(by_lane.items())}

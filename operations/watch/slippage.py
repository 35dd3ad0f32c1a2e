"""Reported fills of a journal beside what the cost model gives on settled bars: what slippage reads."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import groupby
from typing import Any

from certify.real_fills import FillAudit
from certify.recording import Tape
from lockstep.live.events import FillReported
from lockstep.live.journal import Journal
from lockstep.live.traded import TradedModel
from lockstep.market.config import load_instruments
from lockstep.market.history import History
from lockstep.monitoring.slippage import STREAMS, TOLERANCE, SlippageState
from lockstep.monitoring.wealth import ALPHA
from operations.watch.streams import Acknowledgement, AlarmRaised, WatchedStreams, WealthPoint
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


Place = tuple[str, str]


def slippage_states(
    fills: Iterable[LaneFill], acknowledged: Mapping[Place, Sequence[int]] | None = None
) -> dict[Place, SlippageState]:
    """Return the state of each (lane, kind of order) that has a stream, after all its fills, in any order.

    acknowledged   UTC ns by (lane, kind of order); one comes after the fills of its own stamp
    """
    return {place: state for place, _, state in slippage_history(fills, acknowledged)}


def slippage_history(
    fills: Iterable[LaneFill], acknowledged: Mapping[Place, Sequence[int]] | None = None
) -> Iterator[tuple[Place, int, SlippageState]]:
    """Yield every state of each place with its time, UTC ns, one place after the other; see above."""
    events: dict[tuple[str, str], list[tuple[int, int, float]]] = {}
    for fill in fills:
        if fill.order in STREAMS:
            events.setdefault((fill.lane, fill.order), []).append((fill.stamp, 0, fill.ticks))
    for place, times in (acknowledged or {}).items():
        events.setdefault(place, []).extend((time, 1, 0.0) for time in times)
    for place, mine in sorted(events.items()):
        state = SlippageState.new()
        for (time, noted), group in groupby(sorted(mine), key=lambda each: each[:2]):
            ticks = [each[2] for each in group]
            state = state.acknowledged(time) if noted else state.after(time, ticks)
            yield place, time, state


def lane_summaries(fills: Iterable[LaneFill]) -> dict[str, tuple[ResidualSummary, ...]]:
    """Return mean, median, worst, USD and commission by lane: a summary per contract and kind of order."""
    by_lane: dict[str, list[LaneFill]] = {}
    for fill in fills:
        by_lane.setdefault(fill.lane, []).append(fill)
    return {lane: summaries(mine) for lane, mine in sorted(by_lane.items())}


def slippage_place(lane: str, order: str) -> str:
    """Return the name of a slippage stream's place, as it is acknowledged by.

    >>> slippage_place("ES", "market")
    'ES slippage market'
    """
    return f"{lane} slippage {order}"


def watched_slippage(
    fills: Iterable[LaneFill], acknowledgements: Iterable[Acknowledgement]
) -> WatchedStreams:
    """Return what the slippage of a desk's fills raised, and its wealth; pure, and the same for any order."""
    mine = list(fills)
    names = {slippage_place(each.lane, each.order): (each.lane, each.order) for each in mine}
    noted: dict[Place, list[int]] = {}
    for each in acknowledgements:
        if each.place in names:
            noted.setdefault(names[each.place], []).append(each.time)
    found, open_at = WatchedStreams(), -1
    for (lane, order), time, state in slippage_history(mine, noted):
        name = slippage_place(lane, order)
        if open_at >= 0 and (found.alarms[open_at].place != name or not state.is_raised):
            ended = found.alarms[open_at]
            if ended.place == name:
                found.alarms[open_at] = replace(ended, acknowledged=time)
            open_at = -1
        if state.is_raised and open_at < 0:
            open_at = len(found.alarms)
            found.alarms.append(
                AlarmRaised(
                    place=name, level="ALARM", raised=state.raised, bundle="", stream="slippage",
                    since=state.since or state.raised, outcomes=state.gauge.outcomes,
                    sentence=state.sentence(f"{lane} {order} orders"), severity="alert",
                )
            )  # fmt: skip
        found.wealth.append(
            WealthPoint(
                place=name, time=time, bundle="", alarm=state.wealth, watch=0.0, outcomes=state.moments,
                mean=state.mean_ticks,
            )
        )  # fmt: skip
    return found


def slippage_standings(fills: Sequence[LaneFill], found: WatchedStreams) -> list[dict[str, Any]]:
    """Return where every slippage stream is, as plain JSON, in the form of `streams.standings`."""
    last = {each.place: each for each in found.wealth}
    ticks: dict[str, list[float]] = {}
    for fill in fills:
        ticks.setdefault(slippage_place(fill.lane, fill.order), []).append(fill.ticks)
    return [
        {
            "place": place, "stream": "slippage", "bundle": "", "outcomes": point.outcomes,
            "floor": TOLERANCE,
            "estimate": math.fsum(ticks[place]) / len(ticks[place]), "alarm": point.alarm,
            "alarm_at": 1.0 / ALPHA, "watch": 0.0, "watch_at": math.nan,
            "visible": f"ticks per fill beyond the cost model; {TOLERANCE:g} are tolerated",
        }
        for place, point in sorted(last.items())
    ]  # fmt: skip

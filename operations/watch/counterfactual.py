"""What signals would have earned, and what followed them: the round trips that label training data.

They are followed on settled bars. The first value that a round trip had is kept for good, so that a stream
that was fed with it can be fed again; bars that are corrected later make a correction beside it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from lockstep.live.traded import TradedModel
from lockstep.market.bars import Bars
from lockstep.market.continuous import following_closes
from lockstep.market.dates import DateRange
from lockstep.market.history import History
from lockstep.metrics import Floats
from lockstep.monitoring.outcomes import SignalOutcome, following
from operations.watch.join import FOLLOWED
from research.training.round_trips import round_trips


@dataclass(frozen=True, kw_only=True)
class FollowedSignal:
    """The round trip of a signal on settled bars, whoever took it or not; as of `SignalOutcome`.

    exit is 0, and pnl NaN, while the trip has not ended; following is NaN until the next bar is settled.
    """

    side: int
    entry: int
    exit: int
    quantity: float
    entry_price: float
    exit_price: float
    pnl: float
    following: float


NOT_FOLLOWED = FollowedSignal(
    side=0, entry=0, exit=0, quantity=0.0, entry_price=math.nan, exit_price=math.nan, pnl=math.nan,
    following=math.nan,
)  # fmt: skip


def followed(model: TradedModel, history: History, decisions: Iterable[int]) -> dict[int, FollowedSignal]:
    """Return the round trips of signals of one bundle, by decision stamp, UTC ns, where settled bars have it.

    history   settled bars of every series that the model reads. A signal at whose bar the settled bars give
              no entry has no side and no trip
    """
    bars = history.series(model.key)
    wanted = np.array(sorted(set(decisions)), dtype=np.int64)
    rows = np.searchsorted(bars.end, wanted)
    there = (rows < len(bars)) & (bars.end[np.minimum(rows, max(len(bars) - 1, 0))] == wanted)
    rows, wanted = rows[there], wanted[there]
    if not rows.size:
        return {}
    trips = _trips(model, history, bars, rows)
    found = {}
    for row, decision in zip(rows.tolist(), wanted.tolist(), strict=True):
        trip = trips.get(row, NOT_FOLLOWED)
        found[decision] = replace(trip, following=_followed_by(bars, row, trip.side))
    return found


def _trips(model: TradedModel, history: History, bars: Bars, rows: Any) -> dict[int, FollowedSignal]:
    market = history.markets[model.key.symbol]
    asked = np.zeros(len(bars), dtype=np.bool_)
    asked[rows] = True
    first = market.session.dates(bars.end[rows[:1]], bars.timeframe)[0]
    span = DateRange.of(str(first)[:10], None)
    found = round_trips(
        model.config, history, model.key.symbol, complete=asked, rows=span.select(bars, market), span=span
    )
    pnl: Floats = found.net_pnl(market.instrument.costs)
    return {
        int(row): FollowedSignal(
            side=1 if quantity > 0 else -1, entry=int(bars.end[entry]), exit=int(bars.end[leave]),
            quantity=float(quantity), entry_price=float(bought), exit_price=float(sold), pnl=float(net),
            following=math.nan,
        )
        for row, entry, leave, quantity, bought, sold, net in zip(
            found.row, found.entry, found.exit, found.quantity, found.entry_price, found.exit_price, pnl,
            strict=True,
        )
    }  # fmt: skip


def _followed_by(bars: Bars, row: int, side: int) -> float:
    """Return what followed a signal on a side, NaN while the next bar is not settled or the side unknown."""
    if not side or row + 1 >= len(bars):
        return math.nan
    return float(following(bars.close[row], following_closes(bars.rows(row, row + 2))[0], side))


def settled_outcome(outcome: SignalOutcome, trip: FollowedSignal) -> SignalOutcome:
    """Return an outcome with what its round trip says: all of it for a vetoed signal that has ended.

    Of signals that were traded, or refused, only side and `following` come from the trip.
    """
    side = outcome.side or trip.side
    outcome = replace(outcome, side=side, following=trip.following)
    if not is_vetoed(outcome) or not trip.exit:
        return outcome
    return replace(
        outcome, state="vetoed", reason="", entry=trip.entry, exit=trip.exit, quantity=trip.quantity,
        entry_price=trip.entry_price, exit_price=trip.exit_price, pnl=trip.pnl,
    )  # fmt: skip


def is_vetoed(outcome: SignalOutcome) -> bool:
    """Whether the model said no: the signal has no order, and waits for its round trip or has it."""
    return outcome.state == "vetoed" or (outcome.state == "unsettled" and outcome.reason == FOLLOWED)


def unsettled_since(outcomes: Sequence[SignalOutcome], end: int) -> int | None:
    """Return after which moment, UTC ns, an outcome may still come in when bars after `end` are settled.

    None where nothing waits for them. A vetoed signal ends after its decision; a trade that has ended later
    than the bars lacks the size that the strategy itself would have had.
    """
    waiting = [each.decision for each in outcomes if is_vetoed(each) and each.state != "vetoed"]
    waiting += [each.exit - 1 for each in outcomes if each.state == "taken" and each.exit > end]
    return min(waiting, default=None)


def corrections(
    recorded: Mapping[Any, FollowedSignal], now: Mapping[Any, FollowedSignal], newest: Mapping[Any, Any]
) -> list[tuple[Any, FollowedSignal]]:
    """Return the signals whose round trip differs from what is known of it, by key, with the present one.

    recorded   first values; newest: exit, pnl and following of the last correction, by key
    """
    found = []
    for key, trip in now.items():
        if key not in recorded or not trip.exit:
            continue
        first = recorded[key]
        known = newest.get(key, (first.exit, first.pnl, first.following))
        if not _same(known, (trip.exit, trip.pnl, trip.following)):
            found.append((key, trip))
    return found


def _same(one: Sequence[float], other: Sequence[float]) -> bool:
    return all(a == b or (math.isnan(a) and math.isnan(b)) for a, b in zip(one, other, strict=True))

"""The sessions of every lane, looked at once they are over; where each lane's watch stopped is kept."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from lockstep.live.traded import TradedModel
from lockstep.market.history import History, Market
from lockstep.market.instrument import traded_symbol
from lockstep.monitoring.frozen import FrozenReference
from operations.watch import rows
from operations.watch.database import MonitorDatabase
from operations.watch.features import REGIME, DriftRow, FeatureWatch, regimes, session_returns, vector
from operations.watch.join import LaneSession

ReferenceOf = Callable[[str, str], FrozenReference | None]


def look_at_features(
    database: MonitorDatabase, reference_of: ReferenceOf, models: Mapping[str, TradedModel], history: History
) -> None:
    """Look at the sessions that are over and were not looked at; write what they say.

    reference_of   returns what a bundle of a lane is held to, None where there is nothing
    history        settled bars, for the regime
    """
    for lane in sorted({each.lane for each in rows.swaps(database)}):
        kept = rows.state(database, _name(lane)) or {"last": "", "bundle": "", "watches": {}}
        sessions = rows.sessions(database, "lane = ? AND session > ?", lane, kept["last"])
        market = history.markets[traded_symbol(lane)]
        over = _over(sessions, market)
        said: list[DriftRow] = []
        for bundle, group in _by_bundle(over):
            model, reference = models[bundle], reference_of(lane, bundle)
            state = kept["watches"] if kept["bundle"] == bundle else {}
            watches = dict(_watches(lane, bundle, model, reference, state))
            for session in group:
                for kind, watch in watches.items():
                    values = vector(session) if kind == "features" else np.array([session.probability])
                    said += watch.look(session.session, values)
            kept = {
                "last": group[-1].session,
                "bundle": bundle,
                "watches": {kind: watch.state for kind, watch in watches.items()},
            }
            readings = {
                kind: watch.readings() for kind, watch in watches.items() if watch.verdict is not None
            }
            if readings:
                rows.keep_state(database, f"readings {lane}", readings)
        if over:
            database.put("drift", rows.rows_of(said))
            rows.keep_state(database, _name(lane), kept)


def look_at_regimes(
    database: MonitorDatabase, reference_of: ReferenceOf, models: Mapping[str, TradedModel], history: History
) -> None:
    """Write the regime after every session whose bars are settled: those of corrected bars are others."""
    found: list[DriftRow] = []
    for lane in sorted({each.lane for each in rows.swaps(database)}):
        market = history.markets[traded_symbol(lane)]
        for bundle, group in _by_bundle(_over(rows.sessions(database, "lane = ?", lane), market)):
            reference = reference_of(lane, bundle)
            if reference is not None and reference.regime is not None:
                dates, returns = session_returns(history.series(models[bundle].key), market)
                days = [each.session for each in group]
                found += regimes(lane, bundle, reference.regime, dates, returns, days)
    database.replace("drift", rows.rows_of(found), "kind = ?", REGIME)


def _name(lane: str) -> str:
    return f"features {lane}"


def _watches(
    lane: str,
    bundle: str,
    model: TradedModel,
    reference: FrozenReference | None,
    state: Mapping[str, Any],
) -> Iterator[tuple[str, FeatureWatch]]:
    """Yield a watch of the features, and one of the probabilities, where the reference has their history."""
    if reference is None:
        return
    histories = {"features": reference.features, "probabilities": reference.probabilities}
    for kind, history in histories.items():
        if history is None or (kind == "features" and history.ids != model.plan.ids):
            continue
        yield kind, FeatureWatch(lane, bundle, history, state=state.get(kind))


def _over(sessions: Sequence[LaneSession], market: Market) -> list[LaneSession]:
    """Return the sessions that are over: a later one has begun, or the last bar ends at the close."""
    if not sessions:
        return []
    last = sessions[-1]
    close = int(market.session.scheduled_close(np.array([last.stamp], dtype=np.int64))[0])
    return list(sessions) if last.stamp >= close else list(sessions[:-1])


def _by_bundle(sessions: Sequence[LaneSession]) -> Iterator[tuple[str, list[LaneSession]]]:
    group: list[LaneSession] = []
    for each in sessions:
        if group and group[-1].bundle != each.bundle:
            yield group[-1].bundle, group
            group = []
        group.append(each)
    if group:
        yield group[-1].bundle, group

"""The sessions of every lane, looked at once they are over; where each lane's watch stopped is kept."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from lockstep.live.traded import TradedModel
from lockstep.market.history import History, Market
from lockstep.market.instrument import traded_symbol
from lockstep.monitoring.frozen import FrozenReference
from operations.watch import rows
from operations.watch.database import MonitorDatabase
from operations.watch.features import (
    DECAY,
    REGIME,
    DriftRow,
    FeatureWatch,
    regimes,
    session_returns,
    vector,
)
from operations.watch.join import LaneSession
from operations.watch.settle import Note

ReferenceOf = Callable[[str, str], FrozenReference | None]


def look_at_features(
    database: MonitorDatabase, reference_of: ReferenceOf, models: Mapping[str, TradedModel], history: History
) -> None:
    """Look at the sessions that are over and were not looked at; write what they say.

    reference_of   returns what a bundle of a lane is held to, None where there is nothing
    history        settled bars, for the regime

    Where a session that was looked at is another one now, since an epoch went back over its bars, or has
    another reference, since its version was validated again, the lane is looked at from the beginning.
    """
    for lane in sorted({each.lane for each in rows.swaps(database)}):
        every = rows.sessions(database, "lane = ?", lane)
        kept = _kept(database, lane, every, reference_of)
        sessions = [each for each in every if each.session > kept["last"]]
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
            seen = every[: len(every) - len(sessions) + len(over)]
            rows.keep_state(database, _name(lane), {**kept, "basis": _basis(seen, reference_of)})


def _kept(
    database: MonitorDatabase, lane: str, every: Sequence[LaneSession], reference_of: ReferenceOf
) -> dict[str, Any]:
    """Return where the watch of a lane stopped; from the beginning where that is not what is there now."""
    kept: dict[str, Any] | None = rows.state(database, _name(lane))
    if kept is not None:
        seen = [each for each in every if each.session <= kept["last"]]
        if kept["basis"] == _basis(seen, reference_of):
            return kept
        database.replace("drift", (), "lane = ? AND kind NOT IN (?, ?)", lane, REGIME, DECAY)
        database.replace("states", (), "name IN (?, ?)", _name(lane), f"readings {lane}")
    return {"last": "", "bundle": "", "watches": {}}


def _basis(sessions: Iterable[LaneSession], reference_of: ReferenceOf) -> str:
    """Return the SHA-256 (hex) of all that looks at sessions depend on."""
    found, references = hashlib.sha256(), dict[str, str]()
    for each in sessions:
        if each.bundle not in references:
            reference = reference_of(each.lane, each.bundle)
            references[each.bundle] = "" if reference is None else _digest(reference)
        found.update(repr((each.session, references[each.bundle], each.vector, each.probability)).encode())
    return found.hexdigest()


@lru_cache(maxsize=64)
def _digest(reference: FrozenReference) -> str:
    return reference.digest


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


def unknown_features(
    database: MonitorDatabase,
    reference_of: ReferenceOf,
    models: Mapping[str, TradedModel],
    lanes: Iterable[str],
) -> Iterator[Note]:
    """Yield which lanes are not looked at for drift, although their bundle has a reference, and why."""
    for lane in lanes:
        sessions = rows.sessions(database, "lane = ?", lane)
        reference = reference_of(lane, sessions[-1].bundle) if sessions else None
        if reference is None:
            continue
        ids = models[sessions[-1].bundle].plan.ids
        if reference.features is None:
            for each in reference.absent:
                yield lane, f"{lane}: the reference lacks {each}"
        elif reference.features.ids != ids:
            new = ", ".join(sorted(set(ids) - set(reference.features.ids))) or "none"
            text = (
                f"{lane}: the reference is of other features than the bundle reads (new: {new}); drift is not"
            )
            yield lane, f"{text} looked at: validate the version again"


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

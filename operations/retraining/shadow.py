"""The shadow period and what comes after a promotion, from the outcomes that the monitor keeps.

In shadow, champion and challenger score every signal, also those that were vetoed, whoever would have traded
it. After a promotion, only what two days can decide takes it back by itself.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from scipy.stats import binom

from certify.recorded import check_recorded
from certify.skew import CODE
from lockstep.errors import BundleRefused, ParityError
from lockstep.features.batch import BatchFeatures
from lockstep.live.status.status import read_status
from lockstep.live.traded import TradedModel
from lockstep.live.warmup import settled_bars
from lockstep.market.config import load_instruments
from lockstep.market.instrument import traded_symbol
from lockstep.models.store import load_bundle
from lockstep.monitoring.champion import PairedScore, paired, score
from lockstep.monitoring.frozen import FrozenReference, frozen_in
from lockstep.monitoring.outcomes import SignalOutcome, thinned
from lockstep.monitoring.ranges import RangeCheck
from operations.retraining.book import RetrainingRun, Step
from operations.retraining.plan import MonitoredDesk

# As many refusals as this were to be seen once in a thousand promotions of a model that is refused as before.
_BY_CHANCE = 1e-3


def scores_in_shadow(view: MonitoredDesk, run: RetrainingRun) -> tuple[PairedScore, ...]:
    """Return what champion and challenger said of each signal after the challenger's training, by time.

    Of separate signals, `taken` and `vetoed`. The champion's probability is the recorded one; the
    challenger's is its own answer to the vector of settled bars at that decision. A signal without a
    probability of both is left out. A ModelError where the challenger cannot be used.
    """
    since, sha256 = int(run.output("fresh_from")), str(run.output("champion_sha256"))
    signals = [
        each
        for own in _by_lane(view.of_bundle(sha256)).values()
        for each in thinned(one for one in own if one.decision > since)
    ]
    if not signals:
        return ()
    answers = _answers(view, run, [each.decision for each in signals])
    return tuple(
        paired(each.exit, each.probability, answer, won=each.won)
        for each, answer in zip(signals, answers, strict=True)
        if 0.0 <= each.probability <= 1.0 and not math.isnan(answer)
    )


def _by_lane(outcomes: Sequence[SignalOutcome]) -> dict[str, list[SignalOutcome]]:
    found: dict[str, list[SignalOutcome]] = defaultdict(list)
    for each in outcomes:
        found[each.lane].append(each)
    return dict(sorted(found.items()))


def _answers(view: MonitoredDesk, run: RetrainingRun, stamps: Sequence[int]) -> list[float]:
    """Return the challenger's probability at each decision, NaN where its vector is not complete."""
    model = TradedModel.of(load_bundle(run.symbol, str(run.output("version")), store=view.store))
    book = load_instruments()
    history = settled_bars(sorted(model.needs(book.markets)), view.live.history, book)
    batch = BatchFeatures(model.plan, history, max_age=model.config.max_age.limits)
    assert model.veto is not None
    columns = [model.plan.ids.index(each) for each in model.veto.feature_ids]
    known, found = set(batch.end.tolist()), []
    for stamp in stamps:
        values = batch.vector(stamp)[columns] if stamp in known else np.full(len(columns), np.nan)
        found.append(model.veto.probability(values) if np.isfinite(values).all() else math.nan)
    return found


def measures(view: MonitoredDesk, sha256: str, *, since: int, until: int) -> dict[str, Any]:
    """Return what a bundle's signals decided in (since, until] came to, plain JSON; None: undefined."""
    found = [each for each in view.of_bundle(sha256) if since < each.decision <= until]
    taken = [each for each in found if each.state == "taken"]
    scored = [each for each in found if each.state in ("taken", "vetoed") and 0.0 <= each.probability <= 1.0]
    return {
        "since": since,
        "until": until,
        "signals": len(found),
        "taken": len(taken),
        "refused": sum(each.state == "refused" for each in found),
        "win_rate": sum(each.won for each in taken) / len(taken) if taken else None,
        "net_pnl": math.fsum(each.pnl for each in taken),
        "score": sum(score(each.probability, each.won) for each in scored) / len(scored) if scored else None,
    }


def taken_over(view: MonitoredDesk, sha256: str) -> int:
    """Return when a bundle first decided, UTC ns; 0: not yet."""
    return min((each.stamp for each in view.swaps if each.bundle == sha256), default=0)


def state_of_desk(view: MonitoredDesk, symbol: str) -> dict[str, int]:
    """Return what a promotion is held against: UNKNOWN orders, and decisions and features that code changed.

    What the journal recorded is taken again, on settled bars, by this code: `lockstep certify --journal`.
    """
    path = view.live.status
    unknown = len(read_status(path).unknown_orders) if path.is_file() else 0
    found = {"unknown": unknown, "decisions": 0, "features": 0}
    history = view.live.history
    try:
        report = check_recorded(
            view.live.journal, store=view.store, data_dir=history.data_dir, source=history.source
        )
    except ParityError:
        return found  # No recorded decision has a settled bar yet.
    found["decisions"] = sum(each.code for each in report.decisions if traded_symbol(each.symbol) == symbol)
    found["features"] = sum(each.kinds.get(CODE, 0) for each in report.features)
    return found


def faults(view: MonitoredDesk, run: RetrainingRun) -> Iterator[str]:
    """Yield why a promotion is taken back, one sentence each; nothing: it stays.

    NoReference where the challenger's reference is gone.
    """
    sha256, version = str(run.output("sha256")), str(run.output("version"))
    promoted = run.at(Step.PROMOTED)
    assert promoted is not None
    try:
        load_bundle(run.symbol, version, store=view.store)
    except BundleRefused as error:
        yield f"the bundle cannot be used: {error}"
        return
    now, then = state_of_desk(view, run.symbol), promoted.outputs["desk"]
    if now["decisions"] > then["decisions"]:
        yield f"parity: {now['decisions'] - then['decisions']} recorded decisions do not come out again"
    if now["features"] > then["features"]:
        yield f"skew: {now['features'] - then['features']} recorded values do not come out again by this code"
    if now["unknown"] > then["unknown"]:
        yield f"{now['unknown']} orders are UNKNOWN, and {then['unknown']} were at the promotion"
    since = taken_over(view, sha256)
    if since:
        reference = frozen_in(view.store, run.symbol, sha256)
        yield from _impossible(view, sha256, reference)
        yield from _refused(view, sha256, promoted.outputs["before"])
        yield from _lost(view, sha256, since, reference)


def _impossible(view: MonitoredDesk, sha256: str, reference: FrozenReference) -> Iterator[str]:
    if reference.probabilities is None:
        return
    check = RangeCheck(reference.probabilities)
    for session in view.sessions:
        if session.bundle == sha256 and session.session > reference.history_end:
            for broken in check.observe(session.session, [session.probability]):
                yield (
                    f"its probability is {broken.value:g}, outside {broken.low:g} to {broken.high:g}, in two "
                    f"sessions running since {broken.since}"
                )


def _refused(view: MonitoredDesk, sha256: str, before: dict[str, Any]) -> Iterator[str]:
    found = view.of_bundle(sha256)
    count = sum(each.state == "refused" for each in found)
    usual = (before["refused"] + 1) / (before["signals"] + 2)
    if count and binom.sf(count - 1, len(found), usual) < _BY_CHANCE:
        yield (
            f"{count} of {len(found)} signals were refused, and {before['refused']} of "
            f"{before['signals']} before it"
        )


def _lost(view: MonitoredDesk, sha256: str, since: int, reference: FrozenReference) -> Iterator[str]:
    expected = reference.expected
    worst = min((each.pnl for each in view.of_bundle(sha256) if each.state == "taken"), default=0.0)
    if worst < expected.worst_trade_pnl:
        yield f"a trade lost {-worst:,.2f}, and the worst of validation {-expected.worst_trade_pnl:,.2f}"
    by_lane: dict[str, list[Any]] = defaultdict(list)
    for session in view.sessions:
        by_lane[session.lane].append(session)
    for sessions in by_lane.values():
        for before, after in pairwise(sessions):
            change = after.equity - before.equity
            if after.bundle == sha256 and after.stamp >= since and change < expected.worst_session_pnl:
                yield (
                    f"session {after.session} lost {-change:,.2f}, and the worst of validation "
                    f"{-expected.worst_session_pnl:,.2f}"
                )

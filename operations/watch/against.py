"""Live against backtest: what a desk's account did beside a backtest of the same bundles on settled bars.

A backtest begins flat, with one bundle, and knows no gateway: the journal is cut where one has to begin anew,
by `certify.paper.Cut`, and bars in between are left out on both sides. In modes that simulate both accounts
are equal to the cent; in mode live their difference is what real fills, missed bars and refusals cost.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from certify.paper import Cut, segment_of
from certify.recorded import settled_history
from certify.recording import Tape, models_of
from lockstep.errors import DataError
from lockstep.live.config import LiveConfig
from lockstep.live.journal import Journal
from lockstep.live.messages import Epoch
from lockstep.live.operator.journal_cli import iso
from lockstep.live.traded import TradedModel
from lockstep.market.config import load_instruments
from lockstep.market.history import History, SeriesKey
from lockstep.market.instrument import traded_symbol
from lockstep.market.sessions import Dates
from lockstep.metrics import SESSIONS_PER_YEAR
from lockstep.models.store import ModelStore
from lockstep.monitoring.frozen import ExpectedMeasures
from lockstep.portfolio.config import PortfolioConfig
from research.paper.against import (
    DESK,
    AccountBars,
    AccountSide,
    AgainstBacktest,
    LiveAgainstBacktest,
    compared,
    side_of,
)
from research.report.thinning import thin


def live_against_backtest(
    desk_config: LiveConfig,
    *,
    epochs: Sequence[int] | None = None,
    until: np.datetime64 | None = None,
    expected: Mapping[str, ExpectedMeasures] | None = None,
) -> LiveAgainstBacktest:
    """Return what a desk did beside a backtest on settled bars.

    epochs     numbers of those that are read, all of one mode; None: those of the newest mode
    until      last session that is compared, datetime64[D]: what came later is in no number; None: the newest
    expected   what validation measured, by lane

    Raises: DataError for an empty journal, unknown epochs or epochs of several modes, decisions that go back
    in time, settled bars that end before the first decision, or no decision up to `until`; ModelError for a
    bundle that is gone; JournalError.
    """
    with Journal.open(desk_config.journal, readonly=True) as journal:
        chosen = _chosen(journal, epochs)
        models = models_of(journal, ModelStore(desk_config.store))
        history = settled_history(models, desk_config.history.data_dir, desk_config.history.source)
        cuts, known, unsettled = _cuts(journal, chosen, models, history, until)
    lanes, notes, portfolio = [], [], _portfolio(chosen[-1])
    for name, cut in sorted(cuts.items()):
        if not cut.segments:
            notes.append(f"{name}: it was never flat, so that no backtest can be run beside it")
            continue
        lanes.append(_lane(name, cut, models, history, (expected or {}).get(name), portfolio))
    if not lanes:
        raise DataError(f"journal {journal.path}: {notes[0]}; wait until a position is closed")
    return LiveAgainstBacktest(
        mode=chosen[0].mode,
        epochs=tuple(each.number for each in chosen),
        known=known,
        unsettled=unsettled,
        lanes=tuple(lanes),
        desk=_desk(lanes, portfolio),
        notes=tuple(notes),
    )


def _chosen(journal: Journal, epochs: Sequence[int] | None) -> list[Epoch]:
    there = journal.epochs()
    if not there:
        raise DataError(f"journal {journal.path}: it has no epoch yet; let the engine run")
    if epochs is None:
        return [each for each in there if each.mode == there[-1].mode]
    chosen = [each for each in there if each.number in epochs]
    if not chosen or len(chosen) < len(set(epochs)):
        numbers = ", ".join(str(each.number) for each in there)
        raise DataError(f"journal {journal.path}: no epochs {sorted(set(epochs))}; it has {numbers}")
    if len({each.mode for each in chosen}) > 1:
        told = ", ".join(f"{each.number} is {each.mode}" for each in chosen)
        raise DataError(f"journal {journal.path}: epochs of several modes: {told}; choose those of one")
    return chosen


def _cuts(
    journal: Journal,
    epochs: Sequence[Epoch],
    models: Mapping[str, TradedModel],
    history: History,
    until: np.datetime64 | None,
) -> tuple[dict[str, Cut], int, int]:
    """Return the decisions by lane, up to where the settled bars of every lane are known."""
    traded = {models[sha].key for epoch in epochs for sha in epoch.bundles.values()}
    ends = {key: history.series(key).end for key in traded}
    known = min(int(end[-1]) if end.size else 0 for end in ends.values())
    wanted = {model.key: _last_end(history, model.key, until) for model in models.values()}
    tape, unsettled, last = Tape(journal, models, history.markets), 0, 0
    cuts: dict[str, Cut] = {}
    for epoch in epochs:
        for frame in tape.frames(epoch.number):
            if frame.stamp < last:
                raise DataError(
                    f"journal {journal.path}: epoch {epoch.number} decides on {iso(frame.stamp)} after "
                    f"{iso(last)}; compare epochs one by one"
                )
            last = frame.stamp
            end = wanted[frame.model.key]
            if end is not None and frame.stamp > end:
                continue
            if frame.stamp > known:
                unsettled += 1
                continue
            cuts.setdefault(frame.record.symbol, Cut()).take(frame)
    if not cuts and until is not None and not unsettled:
        raise DataError(f"journal {journal.path}: no decision up to {until}")
    if not cuts:
        late = f"settled bars end at {iso(known)}, before its first decision; give newer files"
        raise DataError(f"journal {journal.path}: {late if unsettled else 'no decision yet; let it run'}")
    return cuts, known, unsettled


def _last_end(history: History, key: SeriesKey, until: np.datetime64 | None) -> int | None:
    """Return the end of the last settled bar up to a session, UTC ns; None where bars end before it."""
    end = history.series(key).end
    if until is None or not end.size:
        return None
    dates = history.markets[key.symbol].session.dates(end, key.timeframe)
    count = int(np.searchsorted(dates, until, side="right"))
    return None if count == end.size else int(end[count - 1]) if count else 0


def _lane(
    name: str,
    cut: Cut,
    models: Mapping[str, TradedModel],
    history: History,
    expected: ExpectedMeasures | None,
    portfolio: PortfolioConfig | None,
) -> AgainstBacktest:
    """Return one lane on the capital of its strategy, or of the portfolio, whose sizes it trades."""
    market, newest = history.markets[traded_symbol(name)].named(name), models[cut.bundles[-1]].config
    segments = [segment_of(name, each, history) for each in cut.segments]
    live, backtest = (
        AccountBars.of(
            part, lambda ends: market.session.dates(ends, newest.bars), market.instrument.multiplier
        )
        for part in ([each.paper for each in segments], [each.backtest for each in segments])
    )
    capital = newest.capital if portfolio is None else portfolio.capital
    per_year = market.session.template.sessions_per_year
    dates = np.union1d(live.dates, backtest.dates)
    return compared(
        name,
        tuple(dict.fromkeys(each.version for each in segments)),
        dates,
        live.side(dates, capital, per_year),
        backtest.side(dates, capital, per_year),
        capital,
        per_year,
        left_out=cut.left_out,
        refused=cut.refused.total(),
        expected=expected,
    )


def _portfolio(epoch: Epoch) -> PortfolioConfig | None:
    return None if epoch.portfolio is None else PortfolioConfig.model_validate(epoch.portfolio.content)


def _desk(lanes: Sequence[AgainstBacktest], portfolio: PortfolioConfig | None) -> AgainstBacktest:
    """Return the sum of the lanes on the capital of the portfolio, or on the sum of theirs."""
    capital, per_year = math.fsum(each.capital for each in lanes), float(SESSIONS_PER_YEAR)
    book = load_instruments()
    if portfolio is not None:
        capital = portfolio.capital
        per_year = book.session_named(portfolio.day).template.sessions_per_year
    else:
        own = {book.market(traded_symbol(each.name)).session.template.sessions_per_year for each in lanes}
        per_year = own.pop() if len(own) == 1 else per_year
    dates = np.unique(np.concatenate([each.dates for each in lanes]))
    live, backtest = (
        _summed(lanes, [getattr(each, side) for each in lanes], dates, capital, per_year)
        for side in ("live", "backtest")
    )
    return compared(
        DESK,
        (),
        dates,
        live,
        backtest,
        capital,
        per_year,
        left_out=sum(each.left_out for each in lanes),
        refused=sum(each.refused for each in lanes),
    )


def _summed(
    lanes: Sequence[AgainstBacktest],
    sides: Sequence[AccountSide],
    dates: Dates,
    capital: float,
    per_year: float,
) -> AccountSide:
    pnl = np.zeros(dates.size)
    for lane, side in zip(lanes, sides, strict=True):
        pnl[np.searchsorted(dates, lane.dates)] += side.pnl
    summed = side_of(pnl, dates, pnl, (), math.fsum(each.contracts for each in sides), capital, per_year)
    return replace(summed, trades=sum(each.trades for each in sides))


def curve_of(found: AgainstBacktest) -> dict[str, list[Any]]:
    """Return profit so far of both accounts, at most 2,000 sessions, as plain JSON for a chart."""
    live, backtest = np.cumsum(found.live.pnl), np.cumsum(found.backtest.pnl)
    kept = thin(live)
    return {
        "dates": [str(each) for each in found.dates[kept]],
        "live": live[kept].round(2).tolist(),
        "backtest": backtest[kept].round(2).tolist(),
    }

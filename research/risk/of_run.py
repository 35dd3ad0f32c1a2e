"""The risk of a portfolio's run: of the positions at its last set."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from lockstep.market.history import SeriesKey
from lockstep.market.instrument import traded_symbol
from research.backtest.portfolio import PortfolioMember, PortfolioResult
from research.risk.subject import OwnResults, RiskSubject, SessionCloses, common_changes


def subject_of_run(
    result: PortfolioResult, members: Mapping[str, PortfolioMember], *, name: str = ""
) -> RiskSubject:
    """Return a run as a subject: positions and waiting entries at its last set, histories up to then.

    members   what the run traded, with their histories
    """
    sheet = result.sheet()
    ends, symbols = sheet.account.session_ends, sheet.symbols
    as_of = sheet.account.session_dates[-1]
    closes = {
        symbol: SessionCloses.of(
            members[symbol].history, SeriesKey(traded_symbol(symbol), members[symbol].strategy.bars)
        ).until(as_of)
        for symbol in symbols
    }
    dates, changes = common_changes(closes)
    own = OwnResults(
        dates=sheet.account.dates, pnl=sheet.session_pnl.sum(axis=1), positions=sheet.positions[ends]
    )
    return RiskSubject(
        kind="portfolio",
        name=name or result.config.name,
        as_of=as_of.item(),
        stamp=int(sheet.stamps[-1]),
        capital=result.config.capital,
        positions=dict(zip(symbols, sheet.positions[-1].tolist(), strict=True)),
        reserved=reserved_entries(result),
        dates=dates,
        changes=changes,
        closes=closes,
        own=own,
        run=result,
        members=members,
        notes=tuple(result.notes),
    )


def reserved_entries(result: PortfolioResult) -> dict[str, float]:
    """Return contracts, signed, of entries admitted at the last bar of their lane: they wait to fill."""
    admitted: Any = result.proposals[result.proposals["rule"] == ""]
    found = {}
    for symbol, lane in result.lanes.items():
        last = lane.equity.index[-1].value
        mine = admitted[(admitted["symbol"] == symbol) & (admitted["stamp"] == last)]
        if len(mine):
            found[symbol] = float(np.asarray(mine["quantity"])[-1])
    return found

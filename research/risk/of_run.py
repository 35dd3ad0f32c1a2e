"""The risk of a portfolio's run: of the positions at its last set."""

from __future__ import annotations

from lockstep.portfolio.session_changes import common_changes
from research.backtest.portfolio import PortfolioResult
from research.risk.subject import OwnResults, RiskSubject


def subject_of_run(result: PortfolioResult) -> RiskSubject:
    """Return a run as a subject: positions and waiting entries at its last set, histories up to then."""
    sheet, closes = result.sheet(), result.closes
    dates, changes = common_changes(closes)
    own = OwnResults(
        dates=sheet.account.dates,
        pnl=sheet.session_pnl.sum(axis=1),
        positions=sheet.positions[sheet.account.session_ends],
    )
    return RiskSubject(
        kind="portfolio",
        name=result.config.name,
        as_of=sheet.account.session_dates[-1].item(),
        stamp=int(sheet.stamps[-1]),
        capital=result.config.capital,
        positions=dict(zip(sheet.symbols, sheet.positions[-1].tolist(), strict=True)),
        reserved=result.reserved,
        dates=dates,
        changes=changes,
        closes=closes,
        own=own,
        run=result,
        members=result.members,
        notes=tuple(result.notes),
    )

"""Factors on the risk page: exposures of today's positions, and what the account's own results came from."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from markupsafe import Markup

from lockstep.errors import DataError, LockstepError
from lockstep.market.history import SeriesKey
from lockstep.market.loader import load_history
from lockstep.market.timeframe import DAILY
from lockstep.metrics import SESSIONS_PER_YEAR, Floats
from research.factors.config import load_factors
from research.factors.french import french_months, monthly
from research.factors.regression import (
    LEAST_PER_FACTOR,
    FactorAttribution,
    FactorFit,
    attribute,
    fit_factors,
    position_exposures,
)
from research.factors.series import DailyBars, FactorMoves, build_factors, common_moves
from research.report import page
from research.report.page import coloured, percent, ratio, usd
from research.risk.section import RiskPart
from research.risk.subject import RiskSubject

TITLE = "Factors"


@dataclass(frozen=True, kw_only=True, eq=False)
class FactorReport:
    """What was measured; a text says why something could not be.

    moves       factors over the sessions of the instruments; sizes: deviation of each in a session
    exposures   (k,), USD that a move of 1 makes of today's positions, ex ante
    explained   share of the variance of today's positions, had they always been held, that factors explain
    own, came_from   fit and attribution of the account's own returns on its capital
    french      fit of its months on Fama and French's factors
    """

    moves: FactorMoves
    sizes: Floats
    exposures: Floats
    explained: float
    own: FactorFit | str
    came_from: FactorAttribution | None
    french: FactorFit | str


class Factors:
    """The part of the page: factors of `configs/factors.yml`, exposures, attribution."""

    name = "factors"

    def measure(self, subject: RiskSubject) -> RiskPart | None:
        """Return the part; None where nothing is held and nothing was earned."""
        if not subject.exposed.any() and subject.own is None:
            return None
        found = factor_report(subject)
        return RiskPart(title=TITLE, cards=_cards(found), content=_content(found), lines=_lines(found))


def factor_report(subject: RiskSubject) -> FactorReport:
    """Measure a subject; DataError where no factor can be built on its sessions."""
    series, absent = build_factors(load_factors().factors, _Bars(subject).of)
    if not series:
        told = "; ".join(f"{name}: {why}" for name, why in absent.items())
        raise DataError(f"no factor of factors.yml can be built: {told}; give their bars (--data-dir)")
    moves = common_moves(series, subject.dates, absent)
    changes = _between(subject, moves)
    pnl = changes @ subject.exposed
    return FactorReport(
        moves=moves,
        sizes=moves.moves.std(axis=0, ddof=1)
        if len(moves.moves) > 1
        else np.full(len(moves.names), math.nan),
        exposures=position_exposures(changes, subject.exposed, moves.moves, moves.names),
        explained=fit_factors(pnl, moves.moves, moves.names).r_squared if np.ptp(pnl) > 0 else math.nan,
        **_of_own(subject, series, absent),
    )


def _between(subject: RiskSubject, moves: FactorMoves) -> Floats:
    """Return changes per contract between the factors' sessions, (T, n): sums over those that they lack."""
    total = np.cumsum(subject.changes, axis=0)
    rows = np.searchsorted(subject.dates, moves.dates)
    first = int(np.searchsorted(subject.dates, moves.dates[0]))
    before = total[rows[0] - 1] if first else np.zeros(total.shape[1])
    return np.diff(total[rows], axis=0, prepend=before[None, :])


def _of_own(subject: RiskSubject, series: Sequence[Any], absent: dict[str, str]) -> dict[str, Any]:
    if subject.own is None:
        told = "there are no results of the account itself"
        return {"own": told, "came_from": None, "french": told}
    dates, returns = subject.own.dates, subject.own.pnl / subject.capital
    try:
        moves = common_moves(series, dates, absent)
        total = np.cumsum(returns)
        rows = np.searchsorted(dates, moves.dates)
        own: FactorFit | str = fit_factors(
            np.diff(total[rows], prepend=total[rows[0] - 1]), moves.moves, moves.names
        )
        came_from = attribute(own, moves.moves) if isinstance(own, FactorFit) else None
    except DataError as error:
        own, came_from = str(error), None
    return {"own": own, "came_from": came_from, "french": _french(dates, returns)}


def _french(dates: Any, returns: Floats) -> FactorFit | str:
    """Fit whole months of the account; the first and the last one may be incomplete and are left out."""
    factors, _ = french_months()
    months, sums = monthly(dates, returns)
    months, sums = months[1:-1], sums[1:-1]
    rows = np.isin(months, factors.dates)
    least = LEAST_PER_FACTOR * (len(factors.names) + 1)
    if rows.sum() < least or not np.ptp(sums[rows]) > 0:
        return (
            f"{int(rows.sum())} whole months of the account lie between 1926-07 and 2018-11, where Fama "
            f"and French's factors come with Lockstep: {least} are needed"
        )
    return fit_factors(sums[rows], factors.moves[np.isin(factors.dates, months[rows])], factors.names)


class _Bars:
    """Where factors find instruments: what the portfolio trades, the data folder, what Lockstep brings."""

    def __init__(self, subject: RiskSubject) -> None:
        self._subject = subject

    def of(self, symbol: str) -> DailyBars:
        members = self._subject.members or {}
        if symbol in members:
            member = members[symbol]
            return DailyBars.of(member.history, SeriesKey(symbol, member.strategy.bars))
        try:
            history = load_history(symbol, self._subject.data_dir, timeframe=DAILY)
        except LockstepError as error:
            try:
                history = load_history(symbol, None, timeframe=DAILY)
            except LockstepError:
                raise error from None
        return DailyBars.of(history, SeriesKey(symbol, DAILY))


def _cards(found: FactorReport) -> Sequence[Markup]:
    gone = [f"{name}: {why}." for name, why in found.moves.absent.items()]
    cards = [
        page.card(
            "Exposures of today's positions",
            _exposures(found),
            caption="What a factor's usual move in one session makes of the positions, by the slope of each "
            f"instrument. Together the factors explain {percent(found.explained, 0)} of the variance of "
            "these positions.",
            classes="wide",
        ),
        page.card(
            "Where the account's results came from",
            _fit_table(found.own, SESSIONS_PER_YEAR, found.came_from),
            caption="Least squares of returns on capital, 95% intervals by Newey and West. The parts, alpha "
            "and the rest add up to the total.",
            classes="wide",
        ),
        page.card(
            "Months against Fama and French",
            _fit_table(found.french, 12.0),
            caption="Market, size and value of US stocks, from the wheel of arch, up to 2018-11.",
            classes="wide",
        ),
    ]
    return (
        [*cards, page.card("Factors that are not there", page.notes(gone), classes="wide")] if gone else cards
    )


def _exposures(found: FactorReport) -> Markup:
    return page.table(
        ("Factor", "Usual move", "Makes", "A move of 1% makes"),
        [
            (name, percent(size, 2), coloured(usd(exposure * size)), coloured(usd(exposure / 100)))
            for name, size, exposure in zip(
                found.moves.names, found.sizes.tolist(), found.exposures.tolist(), strict=True
            )
        ],
    )


def _fit_table(fit: FactorFit | str, per_year: float, came_from: FactorAttribution | None = None) -> Markup:
    if isinstance(fit, str):
        return page.empty_block(f"{fit[:1].upper()}{fit[1:]}.")
    parts = (
        [page.UNDEFINED] * len(fit.names)
        if came_from is None
        else [percent(each) for each in came_from.factors]
    )
    alpha = page.UNDEFINED if came_from is None else percent(came_from.alpha)
    rows = [
        (name, ratio(beta), f"{ratio(low)} to {ratio(high)}", ratio(t), coloured(part))
        for name, beta, low, high, t, part in zip(
            fit.names,
            fit.betas.tolist(),
            fit.low.tolist(),
            fit.high.tolist(),
            fit.t_values.tolist(),
            parts,
            strict=True,
        )
    ]
    yearly = [percent(each * per_year) for each in (fit.alpha, fit.alpha_low, fit.alpha_high)]
    rows.append(
        ("Alpha a year", yearly[0], f"{yearly[1]} to {yearly[2]}", ratio(fit.alpha_t), coloured(alpha))
    )
    total = "" if came_from is None else coloured(percent(came_from.total))
    foot = (f"{fit.periods:,} periods, R² {percent(fit.r_squared, 0)}", "", "", "", total)
    return page.table(("Factor", "Beta", "95% interval", "t", "Gave"), rows, foot=foot)


def _plain(fit: FactorFit | str) -> Any:
    if isinstance(fit, str):
        return fit
    return {
        "betas": dict(zip(fit.names, map(_finite, fit.betas), strict=True)),
        "errors": dict(zip(fit.names, map(_finite, fit.errors), strict=True)),
        "alpha": [fit.alpha, fit.alpha_low, fit.alpha_high],
        "r_squared": _finite(fit.r_squared),
        "periods": fit.periods,
        "lags": fit.lags,
    }


def _finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def _content(found: FactorReport) -> dict[str, Any]:
    parts = found.came_from
    return {
        "exposures": dict(zip(found.moves.names, map(_finite, found.exposures), strict=True)),
        "usual_moves": dict(zip(found.moves.names, map(_finite, found.sizes), strict=True)),
        "explained": _finite(found.explained),
        "own": _plain(found.own),
        "attribution": None
        if parts is None
        else {
            "factors": dict(zip(parts.names, map(float, parts.factors), strict=True)),
            "alpha": parts.alpha,
            "residual": parts.residual,
            "total": parts.total,
        },
        "french": _plain(found.french),
        "absent": dict(found.moves.absent),
    }


def _lines(found: FactorReport) -> list[str]:
    told = [
        f"{name} {usd(exposure * size)}"
        for name, size, exposure in zip(found.moves.names, found.sizes, found.exposures, strict=True)
    ]
    gone = [f"Factor {name} is left out: {why}." for name, why in found.moves.absent.items()]
    return [f"A usual move of a factor makes: {', '.join(told)}.", *gone]

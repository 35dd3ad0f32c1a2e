"""What may be an arm of an A/B test, and what its history says of how long the test will take."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

import numpy as np

from lockstep.errors import ExperimentError
from lockstep.market.dates import DateRange
from lockstep.market.history import History
from lockstep.metrics import Floats
from lockstep.metrics.arrays import spread
from lockstep.models.store import ModelStore
from lockstep.monitoring.ab import AbMode
from lockstep.monitoring.eprocess import SESSIONS
from lockstep.strategy.config import StrategyConfig
from lockstep.strategy.family import load_strategy
from operations.ab.book import AbArm, ArmSessions
from operations.contenders import Contender
from research.ledger.candidates import candidates
from research.ledger.ledger import Ledger
from research.ledger.performance import SessionResults
from research.ledger.versions import TradedVersion, named_strategy

_LEAST_HISTORY = 252


@dataclass(frozen=True, kw_only=True, eq=False)
class StrategyCandidate:
    """One arm of a test: a strategy file (a spec or of another family), a version, a registered candidate.

    name     what the test's page calls it; origin   how it was named, for the commands of a promotion
    trades   what it trades
    """

    name: str
    origin: str
    trades: Contender

    @classmethod
    def of_strategy(cls, config: StrategyConfig, symbol: str, *, origin: str = "") -> Self:
        """Return a strategy without a model."""
        return cls(name=config.name, origin=origin, trades=Contender.of_strategy(config, symbol))

    @classmethod
    def named(cls, text: str, symbol: str, ledger: Ledger, store: Path | None = None) -> Self:
        """Return what a command line means: a strategy's YAML, `v3`, `production`, or a candidate's name.

        ConfigError or ModelError where there is no such thing.
        """
        for each in candidates(ledger):
            if each.name == text and each.symbol == symbol:
                # A champion that it was registered against is no part of what it trades.
                trades = replace(Contender.of_candidate(each), champion=None)
                content = {key: value for key, value in trades.content.items() if key != "champion"}
                return cls(name=text, origin=text, trades=replace(trades, content=content))
        found = named_strategy(text, store)
        if isinstance(found, Path):
            return cls.of_strategy(load_strategy(found), symbol, origin=text)
        version = TradedVersion.load(symbol, found.version, ModelStore(found.store))
        name = f"{version.config.name} {version.bundle.version}"
        return cls(
            name=name, origin=version.bundle.version, trades=Contender.of_version(version, ModelStore(store))
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class PastOfArms:
    """What the history of both arms says.

    sigma        deviation of a session's paired difference, a fraction of the capital
    likeness     what `paired_effect` takes for the correlation: 1 - sigma^2 / (2 s^2), s the champion's
                 deviation; the correlation itself where both deviate alike
    correlation  of the sessions
    arms         champion and challenger as they are frozen
    """

    sigma: float
    likeness: float
    correlation: float
    arms: tuple[AbArm, AbArm]
    history: tuple[str, str]
    capital: float


def require_comparable(champion: StrategyCandidate, challenger: StrategyCandidate, mode: AbMode) -> None:
    """Raise ExperimentError for two arms whose sessions cannot be paired, or that are one."""
    one, two = champion.trades, challenger.trades
    if one.symbol != two.symbol:
        raise ExperimentError(
            f"{one.symbol} and {two.symbol}: arms of a test trade the same instrument; name two of one"
        )
    if one.config.bars != two.config.bars:
        raise ExperimentError(
            f"{champion.name} trades bars of {one.config.bars} and {challenger.name} of {two.config.bars}: "
            "arms of a test decide on the same bars"
        )
    if one.config.capital != two.config.capital:
        raise ExperimentError(
            f"{champion.name} has a capital of {one.config.capital:,.0f} and {challenger.name} of "
            f"{two.config.capital:,.0f}: give both the same, or the larger one wins by its size"
        )
    if mode is AbMode.REPLAY and one.hash == two.hash:
        raise ExperimentError(
            f"{champion.name} and {challenger.name}: are the same strategy ({one.hash[:12]}), which cannot "
            "differ from itself on the same bars; change one of them"
        )


def past_of(
    champion: StrategyCandidate,
    challenger: StrategyCandidate,
    mode: AbMode,
    history: History,
    span: DateRange,
) -> PastOfArms:
    """Return what the history of both arms says; ExperimentError where it is short or says nothing."""
    arms = (champion, challenger)
    past = [each.trades.results(history, span) for each in arms]
    one, two = (each.pnl / each.capital for each in past)
    if not np.array_equal(past[0].dates, past[1].dates) or one.size < _LEAST_HISTORY:
        raise ExperimentError(
            f"{champion.trades.symbol}: {one.size} sessions of history; {_LEAST_HISTORY} are needed to know "
            "how much the arms differ: give more bars, or other dates"
        )
    for each, values in zip(arms, (one, two), strict=True):
        if spread(values) == 0:
            raise ExperimentError(f"{each.name}: does not trade in its history; an arm must trade")
    return PastOfArms(
        sigma=_sigma(one, two, past, mode, champion.name),
        likeness=1.0 - float(np.var(two - one, ddof=1) / (2.0 * np.var(one, ddof=1))),
        correlation=float(np.corrcoef(one, two)[0, 1]),
        arms=(
            _frozen(champion, past[0], mode, history, span),
            _frozen(challenger, past[1], mode, history, span),
        ),
        history=(str(past[0].dates[0]), str(past[0].dates[-1])),
        capital=past[0].capital,
    )


def _sigma(one: Floats, two: Floats, past: Sequence[SessionResults], mode: AbMode, name: str) -> float:
    """Return the deviation of a session's paired difference; of halves, that of trades with a drawn sign."""
    if mode is AbMode.SPLIT:
        realised = of_results(past[0], realised=True).results
        return float(np.sqrt(np.mean(realised**2)))
    sigma = float(np.std(two - one, ddof=1))
    if spread(two - one) == 0:
        raise ExperimentError(
            f"{name}: the arms never differed in {one.size} sessions of history; nothing to test"
        )
    return sigma


def _frozen(
    arm: StrategyCandidate, past: SessionResults, mode: AbMode, history: History, span: DateRange
) -> AbArm:
    returns = past.pnl / past.capital
    share = 0.5 if mode is AbMode.SPLIT else 1.0
    return AbArm(
        name=arm.name,
        origin=arm.origin,
        kind=arm.trades.kind,
        hash=arm.trades.hash,
        content=arm.trades.content,
        sharpe=float(returns.mean() / returns.std(ddof=1) * np.sqrt(past.sessions_per_year)),
        exposure=arm.trades.run(history, span).beta,
        trades_a_year=float(share * past.trade_pnl.size / returns.size * SESSIONS),
    )


def of_results(past: SessionResults, *, realised: bool) -> ArmSessions:
    """Return results by session as an arm has them.

    realised   count a trade when it ends, so that arms which share one position can be told apart; else open
               positions are marked at the end of every session
    """
    place = np.searchsorted(past.dates, past.ended)
    count = past.dates.size
    gains = np.bincount(place, weights=past.trade_pnl, minlength=count)
    return ArmSessions(
        dates=past.dates.astype("datetime64[D]"),
        results=(gains if realised else past.pnl) / past.capital,
        trades=np.bincount(place, minlength=count).astype(np.int64),
        won=np.bincount(place, weights=past.trade_pnl > 0, minlength=count).astype(np.int64),
    )

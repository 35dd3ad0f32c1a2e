"""What may become a candidate, and its registration: a strategy, a version, the winner of an experiment."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from statistics import NormalDist
from typing import Any, Self

import numpy as np
from sqlalchemy import Connection

from lockstep.errors import ExperimentError
from lockstep.features.batch import BatchFeatures
from lockstep.features.feature_registry import default_registry
from lockstep.identity import TRIALS, code_hash
from lockstep.market.bars import Bars, Floats
from lockstep.market.config import InstrumentBook
from lockstep.market.dates import DateRange
from lockstep.market.history import History, SeriesKey
from lockstep.metrics import curve_from
from lockstep.models.store import ModelStore
from lockstep.monitoring.eprocess import SESSIONS, history_evidence
from lockstep.strategy.config import REGIME_ID, StrategyConfig
from lockstep.strategy.family import family_named, family_of
from lockstep.strategy.step import vector_ids
from lockstep.strategy.veto import Veto
from research.backtest.account import Account
from research.backtest.run import context_keys
from research.backtest.timing import TimedAccount
from research.experiments.execution import Lab
from research.experiments.service import finished, verified_ranking
from research.experiments.store import Record
from research.ledger.candidates import (
    CandidateTerms,
    ForwardCandidate,
    Kind,
    Searched,
    register,
    trials_since,
)
from research.ledger.first_seen import see
from research.ledger.ledger import Ledger
from research.ledger.performance import (
    MeasuredStrategy,
    PerformanceMode,
    SessionResults,
    on_days,
    periods_of,
    store,
)
from research.ledger.versions import TradedVersion
from research.statistics.bootstrap import block_length
from research.statistics.maximum import z_of
from research.statistics.regimes import RegimeResult, results_by_regime
from research.statistics.sharpe import SharpeSample
from research.sweep.inputs import Chances, in_points
from research.sweep.kernels import FILL_DECISION
from research.sweep.run import Trace, trace

# Bars that are kept beside what the features look back on: for joins with slower series, and late starters.
_SPARE_BARS = 300
_RESAMPLES = 2_000
_BAND = 0.99
_LEAST_SESSIONS = 60


@dataclass(frozen=True, kw_only=True, eq=False)
class Contender:
    """What is judged: a strategy, with the veto of a bundle or without.

    champion   what it must beat on the same sessions; None: it must earn something
    points     whether its market is measured in points, as it was when its exposure was frozen: bars as first
               seen do not say how they were adjusted, and a price below zero must not change what is frozen.
               None: as the bars have it
    """

    kind: Kind
    symbol: str
    config: StrategyConfig
    hash: str
    content: Mapping[str, Any]
    veto: Veto | None = None
    champion: Contender | None = None
    points: bool | None = None

    @classmethod
    def of_strategy(cls, config: StrategyConfig, symbol: str) -> Self:
        """Return a strategy without a model."""
        content = {
            "family": family_of(config).name,
            "config": config.model_dump(mode="json"),
            "code": code_hash(TRIALS),
        }
        return cls(kind="strategy", symbol=symbol, config=config, hash=config.config_hash, content=content)

    @classmethod
    def of_version(cls, version: TradedVersion, store: ModelStore) -> Self:
        """Return a version of a model store."""
        bundle = version.bundle
        content = {"version": bundle.version, "store": str(store.folder.resolve()), "code": code_hash(TRIALS)}
        return cls(
            kind="model",
            symbol=bundle.symbol,
            config=version.config,
            hash=bundle.sha256,
            content=content,
            veto=version.veto,
        )

    @classmethod
    def of_candidate(cls, candidate: ForwardCandidate) -> Self:
        """Return what was registered; ExperimentError where it is not what it was."""
        points = candidate.content.get("points")
        found = replace(cls._of_content(candidate.content, candidate.symbol, candidate.name), points=points)
        champion = candidate.content.get("champion")
        if champion is not None:
            beside = cls._of_content(champion, candidate.symbol, f"{candidate.name}: champion")
            found = replace(found, champion=replace(beside, points=points))
        known = ((found, candidate.hash), (found.champion, candidate.champion))
        for each, hash in known:
            if each is not None and each.hash != hash:
                raise ExperimentError(
                    f"candidate {candidate.name}: is {each.hash[:12]} now, not {str(hash)[:12]}; restore it, "
                    "or register what it is now"
                )
        return found

    @classmethod
    def _of_content(cls, content: Mapping[str, Any], symbol: str, where: str) -> Self:
        if "config" in content:
            family = family_named(content["family"], where=where)
            return cls.of_strategy(family.config.model_validate(content["config"]), symbol)
        store = ModelStore(Path(content["store"]))
        return cls.of_version(TradedVersion.load(symbol, content["version"], store), store)

    def against(self, champion: Contender) -> Contender:
        """Return it with what it must beat; ExperimentError for another instrument, or for itself."""
        if champion.symbol != self.symbol or champion.hash == self.hash:
            what = "itself" if champion.hash == self.hash else champion.symbol
            raise ExperimentError(
                f"{self.symbol}: cannot be compared with {what} session by session; name another champion"
            )
        content = {**self.content, "champion": dict(champion.content)}
        return replace(self, champion=champion, content=content)

    def keys(self, book: InstrumentBook) -> tuple[SeriesKey, ...]:
        """Return every series that it and its champion read, the traded one included."""
        own = context_keys(self.config, book.markets, self.symbol, veto=self.veto)
        return own if self.champion is None else tuple(sorted({*own, *self.champion.keys(book)}))

    def lookback(self, key: SeriesKey) -> int:
        """Return how many bars of a series must lie before the first session that counts."""
        traded = SeriesKey(self.symbol, self.config.bars)
        plan = default_registry().plan(vector_ids(self.config, self.veto), traded)
        own = plan.lookback(key) + _SPARE_BARS
        return own if self.champion is None else max(own, self.champion.lookback(key))

    def last_complete(self, history: History) -> np.datetime64:
        """Return the newest session of the traded series that gets no more bars, datetime64[D]."""
        bars = history.series(SeriesKey(self.symbol, self.config.bars))
        dates = history.markets[self.symbol].session.dates(bars.end[-1:], bars.timeframe)
        newest: np.datetime64 = dates[0]
        return newest if bars.timeframe.is_session else newest - 1

    def run(self, history: History, span: DateRange) -> TimedAccount:
        """Trade it over a span; its sessions, less the champion's, beside those of its market."""
        own = self._alone(history, span)
        if self.champion is None:
            return own
        other = self.champion.run(history, span)
        if not np.array_equal(own.date, other.date):
            raise ExperimentError(f"{self.symbol}: champion and challenger trade on different sessions")
        return replace(own, returns=own.returns - other.returns, beta=own.beta - other.beta)

    def _alone(self, history: History, span: DateRange) -> TimedAccount:
        found, bars, _ = self._traced(history, span)
        market = history.markets[self.symbol]
        return TimedAccount.of_trace(found, bars, market, self.config, points=self.points)

    def results(self, history: History, span: DateRange) -> SessionResults:
        """Trade it over a span; its own complete sessions and trades, in money, whatever its champion did."""
        found, bars, _ = self._traced(history, span)
        market = history.markets[self.symbol]
        account = Account.of_trace(found, bars, market, self.config.capital)
        last = self.last_complete(history)
        whole, over = account.sessions <= last, account.ended <= last
        return SessionResults(
            dates=account.sessions[whole],
            pnl=np.diff(curve_from(account.capital, account.session_equity))[whole],
            capital=account.capital,
            # As the market has it: what is observed changes with every session.
            sessions_per_year=float(market.session.template.sessions_per_year),
            ended=account.ended[over],
            trade_pnl=account.pnl[over],
        )

    def by_regime(
        self, history: History, span: DateRange, sealed: Sequence[DateRange] = ()
    ) -> tuple[RegimeResult, ...]:
        """Trade it over a span; its own trades by market regime, whatever its champion did.

        The regime is the one that its sizes read, else `REGIME_ID`, on all bars of the history so far.
        Nothing is said of sealed days, nor of trades that were decided or ended on one.
        """
        found, bars, first = self._traced(history, span)
        by = self.config.size.by_regime
        wanted = REGIME_ID if by is None else by.feature
        plan = default_registry().plan((wanted,), SeriesKey(self.symbol, self.config.bars))
        codes = BatchFeatures(plan, history, max_age=self.config.max_age.limits).matrix[:, 0]
        account = Account.of_trace(found, bars, history.markets[self.symbol], self.config.capital)
        decided = found.fills[: 2 * account.pnl.size : 2, FILL_DECISION].astype(np.int64)
        codes = np.where(on_days(account.date, sealed), np.nan, codes[first : first + len(bars)])
        over = ~on_days(account.ended, sealed)
        return results_by_regime(account.pnl[over], decided[over], codes)

    def _traced(self, history: History, span: DateRange) -> tuple[Trace, Bars, int]:
        """Return what it does over a span, the bars of the span, and the number of the first of them."""
        chances = None
        if self.veto is not None:
            chances = Chances.of(self.veto, self.config, history, self.symbol)
        found = trace(self.config, history, self.symbol, span=span, chances=chances)
        return found, self.traded(history, span), self._rows(history, span).start

    def traded(self, history: History, span: DateRange) -> Bars:
        """Return the bars of a span that it trades on."""
        rows = self._rows(history, span)
        return history.series(SeriesKey(self.symbol, self.config.bars)).rows(rows.start, rows.stop)

    def _rows(self, history: History, span: DateRange) -> slice:
        bars = history.series(SeriesKey(self.symbol, self.config.bars))
        return span.select(bars, history.markets[self.symbol])


@dataclass(frozen=True, kw_only=True)
class CandidateOrigin:
    """How a candidate was found: what its registration takes from the ledger.

    trials   K, None where nothing bounds the search
    """

    searched: Searched
    trials: int | None


@dataclass(frozen=True, kw_only=True)
class HistoryWorth:
    """What a history counts for in a registration.

    p_value   before the correction for the trials, (0, 1]; None where nothing bounds the search
    e_value   what it is worth, once, > 0: 1 without a bound
    """

    p_value: float | None
    e_value: float

    @classmethod
    def of(cls, past: TimedAccount, provenance: CandidateOrigin) -> Self:
        """Weigh a past by how many trials it was chosen from."""
        if provenance.searched == "adaptive" or provenance.trials is None:
            return cls(p_value=None, e_value=1.0)
        p_value = _p_value(past.residual)
        return cls(p_value=p_value, e_value=history_evidence(p_value, provenance.trials, adaptive=False))


def measured(contender: Contender, history: History, span: DateRange) -> TimedAccount:
    """Return a contender's past, which sigma and beta are frozen from; ExperimentError for a short one."""
    past = contender.run(history, span)
    if past.returns.size < _LEAST_SESSIONS or not past.residual.std() > 0:
        raise ExperimentError(
            f"{contender.symbol}: {past.returns.size} sessions of history, of which it must trade some; at "
            f"least {_LEAST_SESSIONS} are needed to measure its deviation: give more bars, or other dates"
        )
    return past


def enrol(
    ledger: Ledger, contender: Contender, history: History, span: DateRange, provenance: CandidateOrigin, *,
    name: str, family: str, now: datetime, per_year: int | None = None,
) -> ForwardCandidate:  # fmt: skip
    """Register a contender with what its history over `span` says, and keep the bars that it will need.

    What it earned there goes to the performance store, but for sealed days. All of it is written at once, or
    nothing.
    """
    sealed = ledger.sealed(family, span)
    terms = terms_of(contender, history, span, provenance, name=name, family=family, sealed=sealed)
    earned = periods_of(
        contender.results(history, span).outside(sealed), newest=contender.last_complete(history)
    )

    def along(connection: Connection, found: ForwardCandidate) -> None:
        for key, bars in history.bars.items():
            recent = newest(bars, contender.lookback(key), now)
            see(ledger, key, recent, now=now, source=bars.source, connection=connection)
        subject = measured_as(found, "backtest")
        store(ledger, subject, earned, source={"history": str(span)}, now=now, connection=connection)

    return register(ledger, terms, now=now, per_year=per_year, along=along)


def terms_of(
    contender: Contender, history: History, span: DateRange, provenance: CandidateOrigin, *, name: str,
    family: str, sealed: Sequence[DateRange] = (),
) -> CandidateTerms:  # fmt: skip
    """Return what a registration would freeze; ExperimentError where the history is too short.

    sealed   days of the history of which no result may be shown, not even by regime
    """
    past = measured(contender, history, span)
    worth = HistoryWorth.of(past, provenance)
    sigma = float(past.residual.std(ddof=1))
    return CandidateTerms(
        name=name,
        kind=contender.kind,
        symbol=contender.symbol,
        family=family,
        hash=contender.hash,
        content={
            **contender.content,
            "history": [str(past.date[0]), str(past.date[-1])],
            "points": in_points(contender.traded(history, span)),
            "drawdown": drawdown_band(past.residual / sigma),
            "regimes": [each.plain for each in contender.by_regime(history, span, sealed)],
        },
        sigma=sigma,
        beta=past.beta,
        searched=provenance.searched,
        trials=provenance.trials,
        p_value=worth.p_value,
        e_history=worth.e_value,
        champion=None if contender.champion is None else contender.champion.hash,
    )


def measured_as(candidate: ForwardCandidate, mode: PerformanceMode) -> MeasuredStrategy:
    """Return under which name the performance store keeps what a candidate earned."""
    return MeasuredStrategy(
        strategy=candidate.hash,
        name=candidate.name,
        symbol=candidate.symbol,
        mode=mode,
        account=f"candidate {candidate.id}",
    )


def newest(bars: Bars, count: int, now: datetime) -> Bars:
    """Return the last `count` bars that are complete at `now`."""
    stop = int(np.searchsorted(bars.end, np.datetime64(now.replace(tzinfo=None), "ns").astype(np.int64)))
    return bars.rows(max(0, stop - count), stop)


def _p_value(residual: Floats) -> float:
    return NormalDist().cdf(-z_of(SharpeSample.of(residual)))


def drawdown_band(results: Floats, *, seed: int = 0) -> float:
    """Return the drawdown over a year that history exceeds in one year of a hundred, in deviations.

    results   float64 (T,), standardised sessions of history; resampled in blocks. Politis and Romano (1994)
    """
    from arch.bootstrap import StationaryBootstrap

    sampler = StationaryBootstrap(block_length(results), results, seed=seed)
    years = math.ceil(SESSIONS / results.size)
    falls = []
    for sample in sampler.bootstrap(_RESAMPLES):
        drawn = np.tile(np.asarray(sample[0][0]), years)[:SESSIONS]
        falls.append(deepest_fall(drawn))
    return float(np.quantile(falls, _BAND))


def deepest_fall(results: Floats) -> float:
    """Return the deepest fall of the running sum of `results` (T,) from its peak, >= 0."""
    curve = np.concatenate(([0.0], np.cumsum(results)))
    return float((np.maximum.accumulate(curve) - curve).max())


@dataclass(frozen=True, kw_only=True, eq=False)
class ExperimentOrigin:
    """The winner of an experiment as a contender: what its registration takes from the experiment."""

    contender: Contender
    span: DateRange
    provenance: CandidateOrigin
    data_dir: Path | None
    source: str | None


def of_experiment(lab: Lab, number: int, symbol: str = "") -> ExperimentOrigin:
    """Return the winner of a finished experiment, its test dates as history.

    symbol   which of the experiment's; may be left out where there is one

    ExperimentError for an experiment without a result, or a symbol that it did not search.
    """
    record = finished(lab, number)
    symbols = record.plan.symbols
    if symbol not in symbols and (symbol or len(symbols) > 1):
        raise ExperimentError(
            f"experiment {number}: searched {', '.join(symbols)}; give one of them with --symbol"
        )
    winner = verified_ranking(lab, record, top=1)[0]
    config = record.plan.space.variant(winner.variant).config
    assert config is not None
    chosen = symbol or symbols[0]
    windows = record.plan.windows
    span = DateRange(start=windows[0].test.start, end=windows[-1].test.end)
    return ExperimentOrigin(
        contender=Contender.of_strategy(config, chosen),
        span=span,
        provenance=_provenance(lab, record, chosen, config.config_hash),
        data_dir=None if record.plan.data_dir is None else Path(record.plan.data_dir),
        source=record.plan.source,
    )


def _provenance(lab: Lab, record: Record, symbol: str, config_hash: str) -> CandidateOrigin:
    """Return how the winner was found: K counts from the registration before its own first evaluation."""
    derived = lab.ledger.searched(record.id, symbol)
    if not derived.declared:
        return CandidateOrigin(searched="adaptive", trials=None)
    counted = trials_since(lab.ledger, lab.family(symbol), record.plan.split.searched, config_hash)
    return CandidateOrigin(searched="declared", trials=counted + derived.unevaluated)

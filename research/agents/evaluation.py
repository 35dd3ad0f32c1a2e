"""What training bars say about specs, in memory: nothing is stored, and no bar beyond the range is read.

A technical spec is traced once over the whole range. One that reads models is run fold by fold, each with
versions that were trained before the fold. Costs are those of twice the slippage. The features of all specs
are computed once, and for each null replay once on bars that are drawn for it (`redrawn`).
"""

from __future__ import annotations

import copy
import functools
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np

from lockstep.errors import ConfigError, TrainingError
from lockstep.features.feature_registry import FeatureRegistry, default_registry
from lockstep.identity import text_digest
from lockstep.market.bars import Floats, Stamps
from lockstep.market.dates import DateRange
from lockstep.market.history import History, Market, SeriesKey
from lockstep.strategy.config import REGIME_ID
from lockstep.strategy.families.rules import RulesConfig
from research.agents.fold_measures import LEAST_TRADES, SessionFolds, SharedOut, fitness_of
from research.agents.proposal import CatalogueEntry, TrialMeasures
from research.statistics.null_bars import redrawn_history
from research.statistics.regimes import REGIMES
from research.sweep.behaviour import acts_of, behaviour_hash, said_beside
from research.sweep.inputs import Columns, Inputs, Prepared
from research.sweep.signals import WORD, present_of, words_of
from research.sweep.specs import SpecPiece
from research.sweep.work import spec_alone, traced_spec
from research.zoo.labels import labels
from research.zoo.model_spec import Task

QUANTILES = (0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 0.8, 0.9, 0.95)
"""Of a feature on the training bars, as `CatalogueEntry` has them."""

OFFERED = (
    "adx_14", "atr_pctile_14_252", "band_distance_20_2", "bear_streak_10", "body_fraction",
    "bull_streak_10", "close_sma_atr_200_14", "close_sma_atr_20_14", "compression_5_20_10", "day_of_week",
    "distance_to_high_20_14", "distance_to_low_20_14", "donchian_position_20", "efficiency_ratio_10",
    "gap_atr_14", "ibs", "lower_wick", "momentum_z_10_60", "pctb_20_2", "range_atr_14",
    "realised_vol_20_252", "ret_1", "ret_20", "ret_5", "rsi_14", "rsi_2", "sma_slope_atr_50_5_14",
    "stoch_k_14", "trading_day_of_month", "upper_wick", "vol_ratio_5_50", "volume_pctile_20",
    "volume_z_20", "zscore_20",
)  # fmt: skip
"""Ids that a session offers unless it is told others: of all families, each of bars of the traded series."""

VALUED: tuple[Task, ...] = ("return", "volatility")
"""Tasks of models that answer with a value."""

_HORIZONS = (1, 2, 3, 5, 10, 20)
_SLIPPAGE = 2.0
_ROOM = 32

Compute = Callable[[Sequence[str]], Floats]


class _Columns:
    """Columns of ids over n bars, float64 (ids, n), computed when they are first asked for.

    compute   ids -> float64 (ids, n)
    """

    def __init__(self, bars: int, compute: Compute) -> None:
        self.row: dict[str, int] = {}
        self._bars, self._compute = bars, compute
        self._values = np.full((_ROOM, words_of(bars) * WORD), np.nan)
        self._present = np.zeros((_ROOM, words_of(bars)), dtype=np.uint64)
        self._lock = threading.Lock()

    def of(self, ids: Iterable[str]) -> Columns:
        """Return the columns of all ids that were ever asked for, these included."""
        if any(each not in self.row for each in ids):
            with self._lock:
                self._add([each for each in dict.fromkeys(ids) if each not in self.row])
        return Columns(values=self._values, present=self._present)

    def values(self, ids: Sequence[str]) -> Floats:
        """Return the values of some ids, float64 (ids, n)."""
        found = self.of(ids).values
        return found[[self.row[each] for each in ids], : self._bars]

    def _add(self, ids: list[str]) -> None:
        if not ids:
            return
        first = len(self.row)
        if first + len(ids) > len(self._values):
            size = max(2 * len(self._values), first + len(ids))
            more = size - len(self._values)
            self._values = np.concatenate((self._values, np.full((more, self._values.shape[1]), np.nan)))
            self._present = np.concatenate(
                (self._present, np.zeros((more, self._present.shape[1]), dtype=np.uint64))
            )
        some = slice(first, first + len(ids))
        self._values[some, : self._bars] = self._compute(ids)
        self._present[some] = present_of(self._values[some])
        self.row.update({each: first + place for place, each in enumerate(ids)})


def _taken(source: _Columns, rows: Stamps) -> Compute:
    """Return what computes columns whose bar i is bar rows[i] of others; NaN where that is -1."""

    def compute(ids: Sequence[str]) -> Floats:
        found = source.values(ids)[:, rows]
        found[:, rows < 0] = np.nan
        return found

    return compute


@dataclass(frozen=True, kw_only=True, eq=False)
class _Stage:
    """Bars that specs are traced over, with what they read there; folds as of `SessionFolds.edges`.

    years   by regime, how long it lasted in the folds
    """

    prepared: Prepared
    columns: _Columns
    edges: Stamps
    codes: Floats
    years: Mapping[str, float]

    @classmethod
    def of(cls, prepared: Prepared, columns: _Columns, edges: Stamps) -> Self:
        (codes,) = columns.values([REGIME_ID])
        ground = prepared.ground
        judged = codes[ground.session >= edges[0]]
        a_year = judged.size / (edges[-1] - edges[0]) * ground.scale.periods_per_year
        years = {name: float((judged == code).sum()) / a_year for code, name in REGIMES.items()}
        return cls(prepared=prepared, columns=columns, edges=edges, codes=codes, years=years)

    def work(self, config: RulesConfig) -> _Work:
        """Return a spec as the loops take it."""
        found = self.columns.of(config.feature_ids)
        piece = spec_alone(config, self.prepared, self.columns.row)
        return _Work(self, config, piece, self.prepared.read(found, config))


@dataclass(frozen=True, eq=False)
class _Work:
    """A spec on the bars of a stage."""

    stage: _Stage
    config: RulesConfig
    piece: SpecPiece
    inputs: Inputs

    def run(self) -> SharedOut:
        """Trade it from a flat start."""
        inputs = self.inputs
        return SharedOut.of(
            *traced_spec(self.piece, inputs),
            session=inputs.session,
            edges=self.stage.edges,
            codes=self.stage.codes,
            costs=inputs.costs,
            capital=self.config.capital,
        )

    @functools.cached_property
    def behaviour(self) -> str:
        """The hash of what it does."""
        return behaviour_hash(said_beside(self.config), acts_of(self.piece, self.inputs)[0])

    @property
    def missing(self) -> tuple[int, int]:
        """On how many bars of the folds a value is missing, and how many there are."""
        first = int(np.searchsorted(self.inputs.session, self.stage.edges[0]))
        present = self.inputs.present[self.piece.specs.columns.content]
        there = np.bitwise_and.reduce(present, axis=0).view(np.uint8)
        judged = np.unpackbits(there, bitorder="little")[first : len(self.inputs.bars)]
        return judged.size - int(judged.sum()), judged.size


class TrainingEvaluator:
    """Measures specs on the bars of a training range; keeps no record of them.

    history, symbol   bars that end with the range, or later ones that are then left alone
    span              the training range, by session date
    timeframe, terms  what all specs must have in common: those of the first one, where they are not given
    least_trades      that a fold must have to count, in four folds of six
    registry          of the features; that of the catalogue where none is given

    `history` then holds the bars with the market as it is traded here; `folds` how the range is cut.

    >>> from lockstep.market.loader import load_history
    >>> history = load_history("SPX", start="2006-01-03", end="2012-12-31")
    >>> evaluator = TrainingEvaluator(history, "SPX")
    >>> config = RulesConfig(name="dip", long_entry={"id": "ibs", "below": 0.2}, max_bars=2)
    >>> (found,) = evaluator.evaluate([config])
    >>> len(found.folds), found.trades > 100, found.missing
    (6, True, 0.0)
    """

    def __init__(
        self,
        history: History,
        symbol: str,
        span: DateRange | None = None,
        *,
        terms: RulesConfig | None = None,
        least_trades: int = LEAST_TRADES,
        registry: FeatureRegistry | None = None,
    ) -> None:
        self.symbol, self.least_trades = symbol, least_trades
        self._terms = terms or RulesConfig.model_construct(name="terms")
        self._registry = registry or default_registry()
        dearer = {**history.markets, symbol: twice_the_slippage(history.markets[symbol])}
        self._span = span or DateRange()
        self._take(replace(history, markets=dearer))

    def _take(self, history: History) -> None:
        """Measure on these bars from here on, on the market as it is in them."""
        self.history = history
        prepared = self._prepared(self._span)
        self.folds = SessionFolds.of(prepared.ground.days)
        columns = _Columns(prepared.bars, self._computed(prepared))
        self._whole = _Stage.of(prepared, columns, self.folds.edges)
        self._last: _Work | None = None

    def evaluate(self, configs: Sequence[RulesConfig]) -> list[TrialMeasures]:
        """Return the measures of specs without models, or of ones whose versions hold for all folds.

        ConfigError for other bars than the session's; FeatureError for an unknown id.
        """
        return [self._measures([self._work(each)]) for each in configs]

    def evaluate_by_fold(self, configs: Sequence[RulesConfig]) -> TrialMeasures:
        """Return the measures of one spec, given once per fold with the versions that it may read there.

        A fold begins flat. Errors as of `evaluate`; ConfigError for another number of configurations.
        """
        return self._measures(self._by_fold(configs))

    def behaviour(self, config: RulesConfig) -> str:
        """Return the hash of what a spec does on the training bars, see `research/sweep/behaviour.py`."""
        return self._work(config).behaviour

    def behaviour_by_fold(self, configs: Sequence[RulesConfig]) -> str:
        """Return the hash of what a spec does in all folds, with the versions that it reads there."""
        return _behaviour(self._by_fold(configs))

    def catalogue(self, ids: Sequence[str] | None = None) -> tuple[CatalogueEntry, ...]:
        """Return ids as a researcher sees them, those of `OFFERED` where none are given.

        An id that is missing on half of the bars, or hardly varies, is left out.
        """
        offered = [*(OFFERED if ids is None else ids)]
        cold = int(np.searchsorted(self._whole.prepared.ground.session, self.folds.edges[0]))
        found = []
        for each, values in zip(offered, self._whole.columns.values(offered), strict=True):
            known = values[~np.isnan(values)]
            if np.isnan(values[cold:]).mean() > 0.5 or np.unique(known).size < 3:
                continue
            said = _said_of(self._registry, each)
            quantiles = tuple(np.quantile(known, QUANTILES).tolist())
            found.append(CatalogueEntry(id=each, quantiles=quantiles, **said))
        return tuple(found)

    def answers(self) -> dict[str, tuple[float, ...]]:
        """Return quantiles of the labels on the training bars, by name of a model that answers with a value.

        Its answers lie where its labels do. A task that these bars have no labels for is left out.
        """
        ground, found = self._whole.prepared.ground, {}
        bars = self.history.series(SeriesKey(self.symbol, self._terms.bars)).rows(0, ground.rows.stop)
        for task in VALUED:
            for horizon in _HORIZONS:
                with suppress(TrainingError):
                    values = labels(bars, task, horizon).judged[ground.rows]
                    known = values[~np.isnan(values)]
                    if known.size:
                        found[f"{task}_h{horizon}"] = tuple(np.quantile(known, QUANTILES).tolist())
        return found

    def redrawn(self, seed: int | Sequence[int]) -> TrainingEvaluator:
        """Return an evaluator of bars whose directions are drawn, see `null_bars.py`; costs stay."""
        found = copy.copy(self)
        found.__dict__.pop("_stages", None)
        found._take(redrawn_history(self.history, seed))
        return found

    @functools.cached_property
    def _stages(self) -> tuple[_Stage, ...]:
        """The folds, each by itself."""
        session = self._whole.prepared.ground.session
        found = []
        for number in range(len(self.folds)):
            prepared = self._prepared(self.folds.dates(number))
            rows = np.arange(*np.searchsorted(session, self.folds.edges[number : number + 2]))
            columns = _Columns(rows.size, _taken(self._whole.columns, rows))
            found.append(_Stage.of(prepared, columns, np.array([0, prepared.ground.days.size])))
        return tuple(found)

    def _prepared(self, span: DateRange) -> Prepared:
        return Prepared(self.history, self.symbol, self._terms, span, self._registry)

    def _computed(self, prepared: Prepared) -> Compute:
        def compute(ids: Sequence[str]) -> Floats:
            return prepared.columns(ids, self._terms).values[:, : prepared.bars]

        return compute

    def _checked(self, config: RulesConfig) -> RulesConfig:
        if config.timeframe != self._terms.timeframe or config.max_age != self._terms.max_age:
            raise ConfigError(
                f"{config.name}: decides on bars of {config.timeframe} with {config.max_age!r}; all specs "
                f"of a session do on {self._terms.timeframe} with {self._terms.max_age!r}"
            )
        return config

    def _work(self, config: RulesConfig) -> _Work:
        """Return a spec on all bars; the last one is kept, since a session asks for its behaviour first."""
        if self._last is None or self._last.config is not config:
            self._last = self._whole.work(self._checked(config))
        return self._last

    def _by_fold(self, configs: Sequence[RulesConfig]) -> list[_Work]:
        if len(configs) != len(self.folds):
            raise ConfigError(f"{len(configs)} configurations for {len(self.folds)} folds; give one for each")
        found = zip(self._stages, map(self._checked, configs), strict=True)
        return [stage.work(config) for stage, config in found]

    def _measures(self, run: Sequence[_Work]) -> TrialMeasures:
        found = SharedOut.together([each.run() for each in run])
        folds = found.folds(self._whole.prepared.ground.scale.periods_per_year)
        fitness, sharpe = fitness_of(folds, least_trades=self.least_trades)
        missing, judged = np.sum([each.missing for each in run], axis=0).tolist()
        return TrialMeasures(
            fitness=fitness,
            sharpe=sharpe,
            folds=folds,
            by_regime=found.by_regime(self._whole.years),
            largest=found.largest,
            missing=missing / judged,
            behaviour=_behaviour(run),
        )


@functools.lru_cache(maxsize=1024)
def _said_of(registry: FeatureRegistry, feature_id: str) -> Mapping[str, Any]:
    """Return what a catalogue says of an id whatever the bars are: each null replay asks again."""
    parsed = registry.parse(feature_id)
    said = registry.describe(feature_id).split("\n\n")[0].strip().split("\n")
    return {
        "family": parsed.terms[0].feature.family if parsed.terms else "model",
        "low": parsed.low,
        "high": parsed.high,
        "document": " ".join(said[1:2]) or said[0],
    }


def _behaviour(run: Sequence[_Work]) -> str:
    """Return the hash of what a spec does on all bars, or fold by fold."""
    found = [each.behaviour for each in run]
    return found[0] if len(found) == 1 else text_digest("".join(found))


def twice_the_slippage(market: Market) -> Market:
    """Return a market in which a market or stop fill loses twice as many ticks."""
    instrument = market.instrument
    dearer = {"slippage_ticks": _SLIPPAGE * instrument.slippage_ticks}
    return replace(market, instrument=instrument.model_copy(update=dearer))

"""Issue a parity certificate: research, sweep and a killed and restarted live engine on the same bars."""

from __future__ import annotations

import random
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import llvmlite.binding
import numpy as np

from certify.certificate import Certificate, Part, expiry
from certify.live_run import DeskRules, LiveRun, ReplayRange, run_live
from certify.series import Arrived, labels_of, with_settled
from certify.sweep_side import compare_with_sweep
from lockstep.errors import ParityError
from lockstep.floats import require_exact
from lockstep.live.config import HistorySettings
from lockstep.live.traded import TradedModel
from lockstep.live.warmup import settled_bars
from lockstep.market.bars import Bars
from lockstep.market.config import InstrumentBook, load_instruments
from lockstep.market.dates import DateRange
from lockstep.market.history import History, SeriesKey
from lockstep.models.bundle import Bundle
from lockstep.models.evidence import CERTIFICATE, bars_read, gathered_with
from lockstep.models.golden import arithmetic
from lockstep.models.store import ModelStore, load_bundle
from lockstep.monitoring.parity import compare
from research.backtest.result import BacktestResult, steps_of
from research.backtest.run import run_backtest

RESEARCH, SWEEP, LIVE = "research", "sweep", "live"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
Tell = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class CertificateRequest:
    """What to certify: versions by symbol (`v3` or `production`), and over which sessions (ISO dates).

    start      None: the first session before which every window is full
    restarts   how often the live engine is killed and started again, after random bar sets
    folder     where the live engine leaves its journal; None: a temporary one
    """

    versions: Mapping[str, str]
    store: ModelStore
    data_dir: Path | None = None
    source: str | None = None
    start: str | None = None
    end: str | None = None
    restarts: int = 5
    seed: int = 0
    folder: Path | None = None


def certify(
    request: CertificateRequest, *, now: datetime, tell: Tell = lambda text: None
) -> list[Certificate]:
    """Return one certificate per symbol, passed or not; nothing is written.

    All symbols run in one live engine. ModelError where a bundle cannot be used, ParityError where the live
    engine ended with an error, nothing could be compared or instruments.yml changed meanwhile, FloatModeError
    where this process drops denormals.
    """
    floats = require_exact()
    book = load_instruments()
    bundles = {
        symbol: load_bundle(symbol, version, store=request.store)
        for symbol, version in request.versions.items()
    }
    models = {symbol: TradedModel.of(bundle) for symbol, bundle in bundles.items()}
    history = history_of(models, request, book)
    span = span_of(models, history, request)
    tell(f"research and sweep, {span.start} to {span.end}")
    results = {
        symbol: run_backtest(model.config, history, symbol, span=span, veto=model.veto)
        for symbol, model in models.items()
    }
    tell(f"live engine, to be killed {request.restarts} times")
    live = live_over(bundles, request, span, results)
    for mode in live.modes:
        if mode != floats:
            raise ParityError(f"live engine: floating-point mode {mode or 'unknown'}, here {floats}")
    return [
        _certificate(
            _Researched(model=model, result=results[symbol], history=history, span=span),
            live, request, book, now,
        )
        for symbol, model in models.items()
    ]  # fmt: skip


def history_of(
    models: Mapping[str, TradedModel], request: CertificateRequest, book: InstrumentBook
) -> History:
    """Return the settled bars of every series that the models read."""
    keys = sorted({key for model in models.values() for key in model.needs(book.markets)})
    settings = HistorySettings(data_dir=request.data_dir, source=request.source)
    return settled_bars(keys, settings, book)


def span_of(models: Mapping[str, TradedModel], history: History, request: CertificateRequest) -> DateRange:
    """Return the sessions to trade: from the first one with full windows, unless a start was given."""
    starts, ends = [], []
    for model in models.values():
        dates = _dates(history, model.key)
        first = max(
            _first_full(history, key, needed, model.key)
            for key, needed in model.needs(history.markets).items()
        )
        if first >= dates.size:
            raise ParityError(f"{model.key}: {dates.size} bars do not fill its windows; give more history")
        starts.append(dates[first])
        ends.append(dates[-1])
    start = np.datetime64(request.start) if request.start else max(starts)
    end = np.datetime64(request.end) if request.end else min(ends)
    if start < max(starts):
        raise ParityError(f"start {start}: windows are full from {max(starts)}; begin there or later")
    if start > end:
        raise ParityError(f"from {start} to {end}: no session; choose dates inside the data")
    return DateRange.of(_day(start), _day(end))


def _first_full(history: History, key: SeriesKey, needed: int, traded: SeriesKey) -> int:
    """Return the first row of the traded series before which a series has all the bars it needs."""
    bars, base = history.bars[key], history.bars[traded]
    if len(bars) <= needed:
        return len(base)
    return int(np.searchsorted(base.end, bars.end[needed], side="left")) + 1


def _dates(history: History, key: SeriesKey) -> np.ndarray:
    bars: Bars = history.bars[key]
    return history.markets[key.symbol].session.dates(bars.end, bars.timeframe)


def _day(value: np.datetime64) -> date:
    found: date = value.astype("M8[D]").item()
    return found


def live_over(
    bundles: Mapping[str, Bundle],
    request: CertificateRequest,
    span: DateRange,
    results: Mapping[str, BacktestResult],
    rules: DeskRules | None = None,
) -> LiveRun:
    """Run the live engine over what research traded, killed as asked; see `live_run.run_live`."""
    sets = len({int(end) for result in results.values() for end in result.bars.end})
    # None in the last tenth: a kill comes some sets late, and must leave the engine something to go on with.
    moments = range(1, max(sets * 9 // 10, 2))
    chosen = random.Random(request.seed).sample(moments, k=min(request.restarts, len(moments)))
    replay = ReplayRange(
        start=str(span.start), end=str(span.end), data_dir=request.data_dir, source=request.source
    )
    with _folder(request.folder) as folder:
        store = _production_store(bundles, request.store, folder / "store")
        return run_live(bundles, replay, folder, store=store, kill_after=sorted(chosen), rules=rules)


@contextmanager
def _folder(given: Path | None) -> Iterator[Path]:
    if given is not None:
        given.mkdir(parents=True, exist_ok=True)
        yield given.resolve()
        return
    with tempfile.TemporaryDirectory(prefix="lockstep-certify-") as name:
        yield Path(name)


def _production_store(bundles: Mapping[str, Bundle], store: ModelStore, folder: Path) -> Path:
    """Return a store of its own in which exactly these versions are in production."""
    folder.mkdir(parents=True, exist_ok=True)
    target, now = ModelStore(folder), datetime.now(UTC)
    for bundle in bundles.values():
        symbol = bundle.symbol
        target.fetch(store, symbol, bundle.version, sha256=bundle.sha256, by="certify", now=now)
        target.promote(symbol, bundle.version, by="certify", now=now, reason="to be certified", force=True)
    return folder


@dataclass(frozen=True, kw_only=True)
class _Researched:
    """A model with what research did on a span of sessions."""

    model: TradedModel
    result: BacktestResult
    history: History
    span: DateRange

    @property
    def ends(self) -> np.ndarray:
        """Ends of the traded bars, int64 (n,), UTC ns."""
        return self.result.bars.end

    @property
    def sessions(self) -> int:
        """How many session dates the traded bars belong to."""
        market = self.history.markets[self.model.key.symbol]
        return int(np.unique(market.session.dates(self.ends, self.model.key.timeframe)).size)

    def parts(self, live: LiveRun) -> tuple[Part, Part]:
        """Compare with the sweep, then with the live engine."""
        model, symbol, history = self.model, self.model.key.symbol, self.history
        swept = compare_with_sweep(
            self.result, model.config, history, symbol, span=self.span, veto=model.veto
        )
        arrived = Arrived(labels_of(model.plan, history.markets), model.key, live.warmup)
        traded = live.steps(symbol, model.config.timeframe, arrived)
        researched = with_settled(steps_of(self.result), traded, history, model.plan)
        lived = compare(researched, traded, model.plan.ids)
        return Part.of((RESEARCH, SWEEP), swept), Part.of((RESEARCH, LIVE), lived)


def _certificate(
    run: _Researched, live: LiveRun, request: CertificateRequest, book: InstrumentBook, now: datetime
) -> Certificate:
    bundle, told = run.model.bundle, run.result.provenance
    symbols = tuple(sorted({key.symbol for key in run.model.needs(book.markets)}))
    sources = book.sources_of(symbols, request.data_dir, request.source)
    return Certificate(
        symbol=bundle.symbol,
        version=bundle.version,
        bundle_sha256=bundle.sha256,
        start=str(run.span.start),
        end=str(run.span.end),
        parts=run.parts(live),
        sessions=run.sessions,
        newest_bar=_EPOCH + timedelta(microseconds=int(run.ends[-1]) // 1_000),
        killed_after=live.killed_after,
        restarts=live.restarts,
        hashes={
            **unchanged(symbols, sources, book),
            "bundle": bundle.sha256,
            "config": run.model.config.config_hash,
            **{f"data {key}": value for key, value in told["data_hashes"].items()},
            **{f"feature {key}": value for key, value in told["feature_fingerprints"].items()},
        },
        symbols=symbols,
        sources=sources,
        data=bars_read(run.history, request.data_dir, request.source, last=int(run.ends[-1])),
        processor=llvmlite.binding.get_host_cpu_name(),
        machine=arithmetic(bundle.pipeline),
        floats=live.modes[-1],
        versions=dict(told["versions"]),
        issued=now,
        expires=expiry(now),
    )


def unchanged(symbols: tuple[str, ...], sources: tuple[str, ...], book: InstrumentBook) -> dict[str, str]:
    """Return the hashes that bind evidence to what was used; ParityError where `book` has changed since."""
    used = gathered_with(CERTIFICATE, symbols, sources, book=book)
    if used != gathered_with(CERTIFICATE, symbols, sources):
        raise ParityError(
            f"instruments.yml: what it declares of {', '.join(symbols)} changed during the certification, "
            "and the live engine may have read either version; certify again"
        )
    return used

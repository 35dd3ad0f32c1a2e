"""Carry out a search: in batches that are complete or not there, so that it can be killed and resumed."""

from __future__ import annotations

import gc
import hashlib
import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime

from filelock import FileLock, Timeout
from sqlalchemy import update

from lockstep.compiled import cache_root
from lockstep.market.config import InstrumentBook, load_instruments
from research.experiments import analysis
from research.experiments.batches import batch_of
from research.experiments.database import Database
from research.experiments.errors import EngineMismatch, ExperimentError
from research.experiments.evaluation import (
    DEFAULT_EVALUATOR,
    Data,
    Evaluator,
    code_digest,
    evaluate,
    load_data,
)
from research.experiments.families import Families, load_families
from research.experiments.ledger import Ledger, Trials
from research.experiments.models import (
    FAILED,
    FINISHED,
    MISMATCH,
    OK,
    PARTS,
    RUNNING,
    UNSUCCESSFUL,
    Experiment,
)
from research.experiments.plan import Plan
from research.experiments.split import Window
from research.experiments.store import Batch, Record, Store
from research.experiments.variants import Variant, pieces
from research.experiments.verification import Backtest, backtrader, verify, winners

_CELLS_PER_BATCH = 300_000_000
_BATCH = (100, 10_000)


class Listener:
    """Hears how a search goes on; this one does not care."""

    def begin(self, total: int, done: int) -> None:
        """Hear how many runs there are, and how many of them were there before."""

    def advance(self, runs: float) -> None:
        """Hear that (parts of) runs were evaluated."""

    def stored(self, batch: Batch) -> None:
        """Hear that a batch is counted and stored."""

    def checking(self, runs: int) -> None:
        """Hear that all runs are there, and how many winners Backtrader is going to run again."""

    def checked(self) -> None:
        """Hear that one winner is the same in Backtrader."""


def _utc_now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True, kw_only=True)
class Lab:
    """Where experiments are made: a database, the two engines, a clock, what is declared about markets."""

    database: Database
    evaluator: Evaluator = DEFAULT_EVALUATOR
    backtest: Backtest = backtrader
    now: Callable[[], datetime] = _utc_now
    book: InstrumentBook = field(default_factory=load_instruments)
    families: Families = field(default_factory=load_families)

    @property
    def store(self) -> Store:
        """Experiments and runs."""
        return Store(self.database)

    @property
    def ledger(self) -> Ledger:
        """The trial ledger."""
        return Ledger(self.database)

    def family(self, symbol: str) -> str:
        """Return the family of a symbol; ConfigError where the symbol is unknown."""
        return self.families.of(self.book.instrument(symbol))

    def data(self, plan: Plan, symbol: str) -> Data:
        """Return the bars of a plan; NoBars, before anything is evaluated, where a window has none."""
        data = load_data(plan, self.book, self.family(symbol), symbol, plan.split.searched)
        for window in plan.windows:
            for dates in (window.train, window.test):
                data.bars_in(plan.strategy, dates)
        return data

    def run(self, plan: Plan, listener: Listener | None = None) -> Record:
        """Make a new experiment and carry it out; its record. See `resume` for what can go wrong."""
        data = {symbol: self.data(plan, symbol) for symbol in plan.symbols}
        number = self.store.create(
            name=plan.name,
            kind=plan.kind,
            status=RUNNING,
            plan=plan.model_dump_json(),
            runs=plan.runs,
            code_hash=code_digest(),
            data_hashes=json.dumps({symbol: each.hash for symbol, each in data.items()}),
            config_hash=plan.strategy.config_hash,
            started=self.now().isoformat(timespec="seconds"),
            seconds=0.0,
            bars=0,
        )
        return self._carry_out(number, data, listener or Listener())

    def resume(self, number: int, listener: Listener | None = None) -> Record:
        """Do what is missing of an experiment, and return its record.

        ExperimentError where code or data are not those it was begun with, where another process works on
        it, or where it ends without a result; EngineMismatch where Backtrader disagrees about a winner.
        """
        record = self.store.record(number)
        if record.status == FINISHED:
            raise ExperimentError(f"experiment {number}: is finished; `show {number}` shows it")
        data = {symbol: self.data(record.plan, symbol) for symbol in record.plan.symbols}
        _require_same(f"experiment {number}: code", record.code_hash, code_digest())
        for symbol, each in data.items():
            _require_same(f"experiment {number}: bars of {symbol}", record.data_hashes[symbol], each.hash)
        return self._carry_out(number, data, listener or Listener())

    def _carry_out(self, number: int, data: Mapping[str, Data], listener: Listener) -> Record:
        with _only_one(self.database, number):
            record = self.store.record(number)
            listener.begin(record.runs, record.done)
            self._evaluate_missing(record, data, listener)
            return self._finish(record, data, listener)

    def _evaluate_missing(self, record: Record, data: Mapping[str, Data], listener: Listener) -> None:
        plan = record.plan
        for symbol in plan.symbols:
            where = _where(record, data[symbol])
            for number, window in enumerate(plan.windows):
                there = self.store.done(record.id, symbol, number)
                missing = [each for each in plan.numbers if each not in there]
                for piece in pieces(missing, _batch_size(plan, window, data[symbol])):
                    self._do_batch(record, data[symbol], number, piece, where, listener)

    def _do_batch(
        self, record: Record, data: Data, window: int, piece: Sequence[int], where: str, listener: Listener
    ) -> None:
        begun = time.perf_counter()
        plan = record.plan
        with _no_garbage_collection():
            variants = [plan.space.variant(number) for number in piece]
        batch = self._evaluated(record, data, window, variants, where, listener.advance)
        with self.database.write() as connection:
            self.store.add(connection, record.id, batch)
            self.ledger.record(_trials(record, data, batch), now=self.now(), connection=connection)
            connection.execute(
                update(Experiment)
                .where(Experiment.id == record.id)
                .values(
                    seconds=Experiment.seconds + (time.perf_counter() - begun),
                    bars=Experiment.bars + len(piece) * _bars(plan, plan.windows[window], data),
                )
            )
        listener.stored(batch)

    def _evaluated(
        self,
        record: Record,
        data: Data,
        window: int,
        variants: Sequence[Variant],
        where: str,
        advance: Callable[[float], None],
    ) -> Batch:
        rows = [row for row, each in enumerate(variants) if each.config is not None]
        configs = [each.config for each in variants if each.config is not None]
        advance(len(variants) - len(rows))
        dates = record.plan.windows[window]
        outcomes = [
            evaluate(configs, data, part, self.evaluator, lambda count: advance(count / len(PARTS)))
            for part in ((dates.train, dates.test) if configs else ())
        ]
        return batch_of(data.symbol, window, variants, rows, outcomes, where, record.config_hash)

    def _finish(self, record: Record, data: Mapping[str, Data], listener: Listener) -> Record:
        keys = winners(self.store, record)
        if not keys or self.store.all_alike(record.id):
            self._close(record, UNSUCCESSFUL)
            raise ExperimentError(self._why_alike(record) if keys else self._why_nothing(record))
        analysis.settle(self.store, self.ledger, record)
        listener.checking(len(keys))
        try:
            verify(
                self.store, record, keys, data.__getitem__, backtest=self.backtest, advance=listener.checked
            )
        except EngineMismatch:
            self._close(record, MISMATCH)
            raise
        self._close(record, FINISHED)
        return self.store.record(record.id)

    def _close(self, record: Record, status: str) -> None:
        finished = self.now().isoformat(timespec="seconds")
        self.store.update(record.id, status=status, finished=finished)

    def _why_alike(self, record: Record) -> str:
        runs = self.store.runs(record.id, "test_trades", "test_net_profit")
        trades, profit = runs.iloc[0]
        return (
            f"experiment {record.id}: all {len(runs):,} runs are alike ({trades:,.0f} trades, "
            f"{profit:,.2f} USD on the test range): these parameters change nothing that is traded; widen "
            "their values or vary others"
        )

    def _why_nothing(self, record: Record) -> str:
        runs = self.store.runs(record.id, "status", "error", "test_trades")
        failed = runs[runs["status"] == FAILED]
        begin = f"experiment {record.id}: no successful run of {len(runs):,}"
        if len(failed):
            return f"{begin}: {len(failed):,} failed, the first with: {failed['error'].iloc[0]}"
        if not runs["test_trades"].any():
            return f"{begin}: no variant traded on the test range; widen entries or filters, or the dates"
        return f"{begin}: {record.plan.select_by} is undefined for every variant; select by another measure"


def _require_same(what: str, before: str, now: str) -> None:
    if before != now:
        raise ExperimentError(
            f"{what} changed since it was begun ({before[:10]} then, {now[:10]} now): half of it would be "
            "another experiment; restore it, or run the search anew (what was tried stays counted)"
        )


@contextmanager
def _only_one(database: Database, number: int) -> Iterator[None]:
    """Hold the experiment's lock on this machine; ExperimentError where another process has it."""
    folder = cache_root() / "locks"
    folder.mkdir(parents=True, exist_ok=True)
    url = database.engine.url.render_as_string(hide_password=True)
    lock = FileLock(folder / f"{hashlib.sha256(url.encode()).hexdigest()[:16]}-{number}.lock", timeout=0)
    try:
        with lock:
            yield
    except Timeout as error:
        raise ExperimentError(
            f"experiment {number}: another process is working on it; let it finish"
        ) from error


@contextmanager
def _no_garbage_collection() -> Iterator[None]:
    """Thousands of new objects that all stay would be looked at over and over."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _bars(plan: Plan, window: Window, data: Data) -> int:
    return sum(data.bars_in(plan.strategy, dates) for dates in (window.train, window.test))


def _batch_size(plan: Plan, window: Window, data: Data) -> int:
    least, most = _BATCH
    return max(least, min(most, _CELLS_PER_BATCH // _bars(plan, window, data)))


def _where(record: Record, data: Data) -> str:
    """Name everything but the configuration that an evaluation depends on."""
    spans = [f"{each.train} / {each.test}" for each in record.plan.windows]
    return "\n".join((record.code_hash, data.symbol, data.hash, *spans))


def _trials(record: Record, data: Data, batch: Batch) -> Trials:
    return Trials(
        family=data.family,
        symbol=data.symbol,
        dates=record.plan.split.searched,
        kind=record.kind,
        evaluations={head.evaluation: OK if head.error is None else FAILED for head in batch.heads},
        experiment_id=record.id,
    )

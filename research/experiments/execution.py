"""Carry out a search from its plan to a verified result; it can be killed at any moment and resumed.

One process at a time works on an experiment.

Why a search ended without a result, and what to do about it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime

from filelock import FileLock, Timeout

from lockstep.errors import EngineMismatch, ExperimentError
from lockstep.identity import cache_root, only_proves
from lockstep.market.config import InstrumentBook, load_instruments
from lockstep.market.families import Families, load_families
from lockstep.market.history import SeriesKey
from research.experiments import account_store, law, maximum_test
from research.experiments.accounts import Engine, backtrader_course, first_runs_kept
from research.experiments.collector import frozen
from research.experiments.declaration import declare
from research.experiments.diagnostics import ResidualsOf, swept_residuals
from research.experiments.evaluation import DEFAULT_EVALUATOR, Data, Evaluator, code_of, load_data
from research.experiments.plan import Plan
from research.experiments.progress import ExperimentListener
from research.experiments.search import Search
from research.experiments.store import Record, Store
from research.experiments.verification import Backtest, backtrader, selected, shown_accounts, verify, winners
from research.experiments.write_behind import WriteBehind
from research.ledger.database import Database
from research.ledger.doors import introduce
from research.ledger.ledger import Ledger
from research.ledger.tables import FAILED, FINISHED, MISMATCH, RUNNING, UNSUCCESSFUL


@contextmanager
def only_one(database: Database, number: int) -> Iterator[None]:
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


def why_alike(store: Store, record: Record) -> str:
    """Return what to do about a search whose variants all do the same."""
    runs = store.runs(record.id, "test_trades", "test_net_profit")
    trades, profit = runs.iloc[0]
    return (
        f"experiment {record.id}: all {len(runs):,} runs are alike ({trades:,.0f} trades, "
        f"{profit:,.2f} USD on the test range): these parameters change nothing that is traded; widen "
        "their values or vary others"
    )


def why_nothing(store: Store, record: Record) -> str:
    """Return what to do about a search in which no variant has a score."""
    runs = store.runs(record.id, "status", "error", "test_trades")
    failed = runs[runs["status"] == FAILED]
    begin = f"experiment {record.id}: no successful run of {len(runs):,}"
    if len(failed):
        return f"{begin}: {len(failed):,} failed, the first with: {failed['error'].iloc[0]}"
    if not runs["test_trades"].any():
        return f"{begin}: no variant traded on the test range; widen entries or filters, or the dates"
    return f"{begin}: {record.plan.select_by} is undefined for every variant; select by another measure"


def _utc_now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True, kw_only=True)
class Lab:
    """Where experiments are made: a database, the engines, a clock, what is declared about markets."""

    database: Database
    evaluator: Evaluator = DEFAULT_EVALUATOR
    backtest: Backtest = backtrader
    engine: Engine = backtrader_course
    residuals: ResidualsOf = swept_residuals
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

    def families_of(self, plan: Plan) -> list[str]:
        """Return the families of a plan's symbols, sorted; ConfigError where a symbol is unknown."""
        return sorted({self.family(symbol) for symbol in plan.symbols})

    def data(self, plan: Plan, symbol: str) -> Data:
        """Return the bars of a plan; NoBars, before anything is evaluated, where a window has none."""
        data = load_data(plan, self.book, self.family(symbol), symbol, plan.split.searched)
        for window in plan.windows:
            for dates in (window.train, window.test):
                data.bars_in(plan.strategy, dates)
        return data

    def run(self, plan: Plan, listener: ExperimentListener | None = None) -> Record:
        """Make a new experiment and carry it out; its record. See `resume` for what can go wrong."""
        data = self._data(plan)
        return self._carry_out(self._begin(plan, data), data, listener or ExperimentListener())

    def begin(self, plan: Plan) -> int:
        """Make a new experiment, of which nothing is evaluated yet, and return its number."""
        return self._begin(plan, self._data(plan))

    def evaluate(self, numbers: Sequence[int], listener: ExperimentListener | None = None) -> None:
        """Evaluate what is missing of experiments that have not ended, in this order.

        All of them are announced to the ledger before any is evaluated, and what one gave is written while
        the next one is at work. Their winners are nobody's yet: `conclude` runs them in Backtrader. Raises as
        `resume` does.
        """
        heard, bars = listener or ExperimentListener(), dict[tuple[str, str], Data]()
        with ExitStack() as held, frozen():
            begun = []
            for number in numbers:
                record, found = self._unfinished(number)
                held.enter_context(only_one(self.database, number))
                # Searches on the same bars share them.
                data = {name: bars.setdefault((name, each.hash), each) for name, each in found.items()}
                self._announce(record, data, heard)
                begun.append((record, data))
            with WriteBehind() as behind:
                for record, data in begun:
                    self._search(record, data, heard, behind)

    def conclude(self, number: int, listener: ExperimentListener | None = None) -> Record:
        """End an experiment of which all is evaluated: maximum test, and its winners in Backtrader.

        Raises as `resume` does.
        """
        record, data = self._unfinished(number)
        with only_one(self.database, number), frozen():
            return self._finish(record, data, listener or ExperimentListener())

    def _data(self, plan: Plan) -> dict[str, Data]:
        return {symbol: self.data(plan, symbol) for symbol in plan.symbols}

    def _begin(self, plan: Plan, data: Mapping[str, Data]) -> int:
        return self.store.create(
            name=plan.name,
            kind=plan.kind,
            status=RUNNING,
            plan=plan.model_dump_json(),
            runs=plan.runs,
            code_hash=code_of(plan),
            data_hashes=json.dumps({symbol: each.hash for symbol, each in data.items()}),
            config_hash=plan.strategy.config_hash,
            started=self.now().isoformat(timespec="seconds"),
            seconds=0.0,
            bars=0,
        )

    def resume(self, number: int, listener: ExperimentListener | None = None) -> Record:
        """Do what is missing of an experiment, and return its record.

        ExperimentError where code or data are not those it was begun with, where another process works on
        it, or where it ends without a result; EngineMismatch where Backtrader disagrees about a winner.
        """
        _, data = self._unfinished(number)
        return self._carry_out(number, data, listener or ExperimentListener())

    def _unfinished(self, number: int) -> tuple[Record, dict[str, Data]]:
        """Return an experiment that is to go on, and its bars, which are those that it was begun with."""
        record = self.store.record(number)
        if record.status == FINISHED:
            raise ExperimentError(f"experiment {number}: is finished; `show {number}` shows it")
        data = self._data(record.plan)
        _require_code(record)
        for symbol, each in data.items():
            _require_same(f"experiment {number}: bars of {symbol}", record.data_hashes[symbol], each.hash)
        return record, data

    def _carry_out(self, number: int, data: Mapping[str, Data], listener: ExperimentListener) -> Record:
        with only_one(self.database, number), frozen():
            record = self.store.record(number)
            self._announce(record, data, listener)
            with WriteBehind() as behind:
                record = self._search(record, data, listener, behind)
            return self._finish(record, data, listener)

    def _announce(self, record: Record, data: Mapping[str, Data], listener: ExperimentListener) -> None:
        """Write down what is to be searched, and by which law; once, whoever goes on with it."""
        self._introduce(record, data, listener)
        self._declare(record, data)
        self._agree(record, listener)

    def _search(
        self, record: Record, data: Mapping[str, Data], listener: ExperimentListener, behind: WriteBehind
    ) -> Record:
        listener.begin(record.runs, record.done)
        search = Search(
            store=self.store,
            ledger=self.ledger,
            evaluator=self.evaluator,
            now=self.now,
            record=record,
            data=data,
            listener=listener,
            behind=behind,
        )
        if record.plan.generations is None:
            search.evaluate_missing()
            return record
        search.evolve()
        record = self.store.record(record.id)
        self.store.update(record.id, runs=record.done)
        return record

    def _introduce(self, record: Record, data: Mapping[str, Data], listener: ExperimentListener) -> None:
        """Let the ledger know the bars: by them it finds out what was tried on them under other names."""
        for symbol, each in data.items():
            key = SeriesKey(symbol, record.plan.strategy.bars)
            for line in introduce(self.ledger, each.history, key, each.family, now=self.now()):
                listener.note(line)

    def _declare(self, record: Record, data: Mapping[str, Data]) -> None:
        """Write down what is searched, once, before any of it is evaluated."""
        missing = tuple(each for each in data if not self.ledger.declared(record.id, each))
        if missing:
            families = {symbol: data[symbol].family for symbol in missing}
            declare(self.ledger, record.plan, families, now=self.now(), experiment_id=record.id)

    def _agree(self, record: Record, listener: ExperimentListener) -> None:
        """Write down the law of a search before any of it is evaluated, and say where it is too loose."""
        families = self.families_of(record.plan)
        before = law.first_laws(self.ledger, record.plan, families)
        if found := law.objections(record.plan, before):
            listener.note(f"{'; '.join(found)}. A promotion of its winner will need --force and --reason")
        law.enact(self.ledger, record.plan, families, experiment_id=record.id, now=self.now())

    def _finish(self, record: Record, data: Mapping[str, Data], listener: ExperimentListener) -> Record:
        best = selected(self.store, record)
        keys = winners(record, best)
        if not keys or self.store.all_alike(record.id):
            self._close(record, UNSUCCESSFUL)
            raise ExperimentError(why_alike(self.store, record) if keys else why_nothing(self.store, record))
        families = {symbol: self.family(symbol) for symbol in record.plan.symbols}
        maximum_test.settle(self.store, self.ledger, record, families=families, now=self.now())
        shown = shown_accounts(record, best)
        listener.checking(len(keys) + len(shown))
        with first_runs_kept():
            try:
                verify(
                    self.store, record, keys, data.__getitem__, backtest=self.backtest,
                    advance=listener.checked,
                )  # fmt: skip
            except EngineMismatch:
                self._close(record, MISMATCH)
                raise
            account_store.keep(self.store, record, shown, data.__getitem__, self.engine, listener.checked)
        self._close(record, FINISHED)
        return self.store.record(record.id)

    def _close(self, record: Record, status: str) -> None:
        finished = self.now().isoformat(timespec="seconds")
        self.store.update(record.id, status=status, finished=finished)


def _require_code(record: Record) -> None:
    if word := only_proves(record.code_hash):
        raise ExperimentError(
            f"experiment {record.id}: {word}; run the search anew (what was tried stays counted)"
        )
    _require_same(f"experiment {record.id}: code", record.code_hash, code_of(record.plan))


def _require_same(what: str, before: str, now: str) -> None:
    if before != now:
        raise ExperimentError(
            f"{what} changed since it was begun ({before[:10]} then, {now[:10]} now): half of it would be "
            "another experiment; restore it, or run the search again (what was tried stays counted)"
        )

"""The trial ledger: everything that was ever evaluated, counted, and never forgotten.

A trial is one configuration on one instrument over one range of history, evaluated by one version of the
code. The same (code, configuration, data) is the same trial however often it is run; a failure is a trial
too. Trials on instruments of one family over overlapping dates are attempts at the same question, whatever
the experiments are called that made them, so that they are counted together: a winner is judged against all
of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from sqlalchemy import Connection, select

from lockstep.market.dates import DateRange
from research.ledger.append_only import LedgerRow, LookRow
from research.ledger.bulk import absent
from research.ledger.chain import (
    Head,
    append,
    append_rows,
    contradiction,
    faults,
    head,
    hold,
    table_of,
    verify,
)
from research.ledger.counting import Counted, counted, within
from research.ledger.database import Database
from research.ledger.kinship import Series, introduce, is_known, merged_with, relatives
from research.ledger.law import Law, Verdict, enact, laws, look, pronounce, sealed, verdicts
from research.ledger.spaces import (
    Derivation,
    TrialSpace,
    declared_spaces,
    enter,
    last_searched,
    number_of,
    searched,
    space_number,
    undeclared,
)
from research.ledger.tables import Base

# Of these each trial has its own; the others are those of all that are recorded at once.
_COLUMNS = ("evaluation", "status")


@dataclass(frozen=True, kw_only=True)
class Trials:
    """Evaluations of one kind on one instrument over one range.

    evaluations   name of each evaluation (see `variants.evaluation_id`) -> `ok` or `failed`
    kind          `grid`, `random`, `training`, `compare`, … : who tried
    """

    family: str
    symbol: str
    dates: DateRange
    kind: str
    evaluations: Mapping[str, str]
    experiment_id: int | None = None


@dataclass(frozen=True, kw_only=True)
class Look:
    """One look at a hold-out; recorded: when, an ISO text in UTC."""

    number: int
    symbol: str
    dates: DateRange
    experiment_id: int | None
    purpose: str
    recorded: str


@dataclass(frozen=True)
class Ledger:
    """The ledger of one database. Rows can be added and counted; there is nothing else to be done."""

    database: Database

    def append(
        self, connection: Connection, model: type[Base], rows: Sequence[Mapping[str, Any]]
    ) -> list[int]:
        """Add rows to an append-only table and to the chain, in the caller's transaction; returns ids."""
        return append(connection, model, rows)

    def record(self, trials: Trials, *, now: datetime, connection: Connection | None = None) -> int:
        """Count `trials` and return how many of them had not been counted before.

        With a `connection` they are counted when its transaction is committed, together with the results.
        """
        if connection is not None:
            return _record(connection, trials, now)
        with self.database.write() as own:
            return _record(own, trials, now)

    def declare(
        self,
        space: TrialSpace,
        family: str,
        dates: DateRange,
        *,
        now: datetime,
        experiment_id: int | None = None,
    ) -> Derivation:
        """Write down what is going to be evaluated, before any of it is; see `spaces.py`."""
        with self.database.write() as connection:
            return enter(
                connection, space, relatives(connection, family), dates, experiment_id=experiment_id, now=now
            )

    def declared(self, experiment_id: int, symbol: str) -> bool:
        """Whether an experiment has written down what it is going to evaluate on a symbol."""
        with self.database.read() as connection:
            return space_number(connection, experiment_id, symbol) is not None

    def spaces(self, family: str, dates: DateRange) -> list[TrialSpace]:
        """Return what was declared on a family, with its relatives, over overlapping dates, oldest first."""
        with self.database.read() as connection:
            return declared_spaces(connection, relatives(connection, family), dates)

    def searched(self, experiment_id: int, symbol: str) -> Derivation:
        """Return how an experiment came to its trials on a symbol: declared before any result, or adaptive.

        It follows from the order of the ledger's rows, and is worked out anew each time.
        """
        with self.database.read() as connection:
            found = space_number(connection, experiment_id, symbol)
            if found is None:
                return undeclared()
            number, family = found
            return searched(connection, number, relatives(connection, family))

    def derivation(self, space: TrialSpace, family: str) -> Derivation:
        """Return how a search without an experiment came to its trials, by the space that it declared."""
        with self.database.read() as connection:
            number = number_of(connection, space)
            if number is None:
                return undeclared()
            return searched(connection, number, relatives(connection, family))

    def last_searched(self, config_hash: str) -> date | None:
        """Return the last day that a search saw which evaluated a configuration, or found it; None for none.

        Of what this ledger knows: a search elsewhere, or by eye, leaves no row.
        """
        with self.database.read() as connection:
            return last_searched(connection, config_hash)

    def introduce(self, series: Series, *, now: datetime) -> tuple[str, ...]:
        """Let the ledger know bars that are about to be searched or traded on; returns sentences to print.

        By them it finds out which families are one market; see `kinship.py`. What was found before is said
        again.
        """
        with self.database.read() as connection:
            if is_known(connection, series):
                return merged_with(connection, series.family)
        with self.database.write() as connection:
            before = merged_with(connection, series.family)
            return (*before, *introduce(connection, series, now=now))

    def kinship(self, family: str) -> tuple[str, ...]:
        """Return a sentence for each series by which a family was found to be one market with others."""
        with self.database.read() as connection:
            return merged_with(connection, family)

    def relatives(self, family: str) -> tuple[str, ...]:
        """Return a family and those that were found to be the same market, itself first."""
        with self.database.read() as connection:
            return relatives(connection, family)

    def counted(self, family: str, dates: DateRange) -> Counted:
        """Count all that was tried on a family and its relatives over dates that overlap these."""
        with self.database.read() as connection:
            return counted(connection, relatives(connection, family), dates)

    def count(self, family: str, start: date, end: date) -> int:
        """Return how many trials were made on a family and its relatives over dates that overlap these."""
        return self.counted(family, DateRange(start=start, end=end)).trials

    def look(
        self,
        family: str,
        symbol: str,
        dates: DateRange,
        *,
        purpose: str,
        now: datetime,
        experiment_id: int | None = None,
    ) -> int:
        """Count a look at a hold-out and return how often the family's hold-outs there were opened by now.

        It is written before the hold-out is read: a look that was interrupted was a look.
        """
        with self.database.write() as connection:
            return look(
                connection,
                relatives(connection, family),
                symbol,
                dates,
                purpose=purpose,
                now=now,
                experiment_id=experiment_id,
            )

    def looks(self, family: str, dates: DateRange) -> list[Look]:
        """Return the looks at hold-outs of a family and its relatives that share a day with `dates`.

        Oldest first.
        """
        with self.database.read() as connection:
            which = within(LookRow, relatives(connection, family), dates)
            rows = connection.execute(select(LookRow.__table__).where(which).order_by(LookRow.id)).all()
        return [
            Look(
                number=number,
                symbol=row.symbol,
                dates=DateRange(start=row.first_date, end=row.last_date),
                experiment_id=row.experiment_id,
                purpose=row.purpose,
                recorded=row.recorded,
            )
            for number, row in enumerate(rows, start=1)
        ]

    def sealed(self, family: str, dates: DateRange, also: Sequence[DateRange] = ()) -> tuple[DateRange, ...]:
        """Return the days within `dates` that are sealed, as ranges that share no day.

        They are the hold-outs of all searches on the family and its relatives, those that were opened before
        there were laws, and those in `also`.
        """
        with self.database.read() as connection:
            return sealed(connection, relatives(connection, family), dates, also)

    def open_door(
        self,
        family: str,
        symbol: str,
        dates: DateRange,
        *,
        purpose: str,
        now: datetime,
        also: Sequence[DateRange] = (),
    ) -> str | None:
        """Record that a run over `dates` shows sealed days, before it is made; returns a sentence if it does.

        A look for each stretch of sealed days; `also` are sealed too.
        """
        with self.database.read() as connection:
            stretches = sealed(connection, relatives(connection, family), dates, also)
        if not stretches:
            return None
        with self.database.write() as connection:
            families = relatives(connection, family)
            numbers = [
                look(connection, families, symbol, each, purpose=purpose, now=now) for each in stretches
            ]
        shown = "; ".join(
            f"{each} (look {number} of {family} at these days)"
            for each, number in zip(stretches, numbers, strict=True)
        )
        return (
            f"{symbol}: this {purpose} shows days that a search sealed as its hold-out: {shown}. It is "
            f"counted; end before {stretches[0].start} to keep them sealed."
        )

    def enact(
        self,
        family: str,
        dates: DateRange,
        *,
        limits: Mapping[str, float],
        holdout: DateRange | None,
        now: datetime,
        experiment_id: int | None = None,
    ) -> None:
        """Write down under which limits, and with which hold-out, a search over these dates begins.

        Of an experiment once for each family.
        """
        law = Law(
            family=family,
            dates=dates,
            limits=limits,
            holdout=holdout,
            experiment_id=experiment_id,
            recorded="",
        )
        with self.database.write() as connection:
            enact(connection, law, now=now)

    def law(self, family: str, dates: DateRange) -> list[Law]:
        """Return the laws of all searches on a family and its relatives over dates that overlap these.

        Oldest first: the first one is the law that later ones may tighten.
        """
        with self.database.read() as connection:
            return laws(connection, relatives(connection, family), dates)

    def pronounce(self, verdict: Verdict, *, now: datetime) -> None:
        """Write down what was decided about a promotion, and by which rules."""
        with self.database.write() as connection:
            pronounce(connection, verdict, now=now)

    def verdicts(self, kind: str | None = None) -> list[Verdict]:
        """Return all verdicts, or those of one kind, oldest first."""
        with self.database.read() as connection:
            return verdicts(connection, kind)

    def head(self) -> Head:
        """Return the end of the hash chain, as it is written down elsewhere."""
        with self.database.read() as connection:
            return head(connection)

    def verify(self) -> Head:
        """Recompute the whole hash chain; returns its end, ExperimentError where a row or link is wrong."""
        with self.database.read() as connection:
            return verify(connection)

    def faults(self) -> list[str]:
        """Return what is wrong with the hash chain, a line each; nothing where it is whole."""
        with self.database.read() as connection:
            return list(faults(connection))

    def contradiction(self, written: Head) -> str | None:
        """Return why a head that was written down elsewhere is none of this ledger; None where it is one."""
        with self.database.read() as connection:
            return contradiction(connection, written)


def _record(connection: Connection, trials: Trials, now: datetime) -> int:
    same = {
        "family": trials.family,
        "symbol": trials.symbol,
        "first_date": trials.dates.start,
        "last_date": trials.dates.end,
        "kind": trials.kind,
        "experiment_id": trials.experiment_id,
        "recorded": now.isoformat(timespec="seconds"),
    }
    rows = list(trials.evaluations.items())
    hold(connection)
    new = absent(connection, table_of(LedgerRow), _COLUMNS, rows, unique="evaluation")
    return len(append_rows(connection, LedgerRow, _COLUMNS, new, same=same))

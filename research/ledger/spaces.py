"""Declared or adaptive: whether a search could learn from results that were there before it.

Deflating by a number of trials assumes that no trial was chosen by looking at another one. Nobody is asked
whether that is so; it follows from the order of things in the ledger. A space is what may be evaluated: a set
of configurations, on an instrument and over ranges of dates. It enters the ledger before anything of it is
evaluated, and it counts as declared where it came before every result on the family (with its relatives) and
over dates that overlap. What lies within such a space is declared too. Everything else is adaptive: a second
grid drawn around the winner of the first, the children of an evolution, a search that models its own results.

Whoever declares pays for it: all that was declared counts, evaluated or not. Otherwise a million spaces of
one variant each could be declared, and the search would learn which of them to open next.

Not part of a space: the measure that selects (the test of the maximum holds for any choice within the space),
and the versions of code and bars (a corrected bar makes new trials, but no new question).
"""

from __future__ import annotations

import hashlib
import itertools
import json
import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from functools import cache, partial
from typing import Any, Literal, Self, cast

from sqlalchemy import Connection, func, select, union

from lockstep.market.dates import DateRange
from research.ledger.append_only import LedgerRow, LinkRow, LookRow, SpaceRow
from research.ledger.chain import append
from research.ledger.counting import within
from research.ledger.tables import ExperimentRun, Genealogy

Kind = Literal["declared", "adaptive"]
DECLARED: Kind = "declared"
ADAPTIVE: Kind = "adaptive"

COMPARE, RELEASE = "compare", "strategy"
# One strategy, evaluated as soon as it is declared: it is a trial of the ledger.
_AT_ONCE = (COMPARE, RELEASE)

_MEMBER_DIGITS = 16


@dataclass(frozen=True, kw_only=True)
class TrialSpace:
    """What may be evaluated on one symbol.

    proposer   `grid`, `random`, `evolution`, `training`, `compare`, …; learns: it proposes by its own results
    windows    the ranges of dates, in order, as the evaluation names them
    fields     by name, the values that occur, each as JSON: every combination is in the space
    members    names of the combinations that are, see `member`, sorted; None where all of them are
    size       how many there are; None where nothing bounds them
    how        of a search that learns: what decides which of them it visits
    """

    proposer: str
    symbol: str
    windows: tuple[str, ...]
    fields: Mapping[str, tuple[str, ...]]
    size: int | None
    members: tuple[str, ...] | None = None
    learns: bool = False
    how: str = ""

    @property
    def content(self) -> str:
        """The space as JSON, equal for equal spaces."""
        written: dict[str, Any] = {
            "proposer": self.proposer,
            "symbol": self.symbol,
            "windows": self.windows,
            "fields": {name: sorted(values) for name, values in self.fields.items()},
            "size": self.size,
            "members": self.members,
            "learns": self.learns,
            "how": self.how,
        }
        return json.dumps(written, sort_keys=True)

    @property
    def hash(self) -> str:
        """SHA-256 (hex) of the content."""
        return hashlib.sha256(self.content.encode()).hexdigest()

    @classmethod
    def read(cls, content: str) -> Self:
        """Return the space that was written as `content`."""
        read = json.loads(content)
        read["windows"] = tuple(read["windows"])
        read["fields"] = {name: tuple(values) for name, values in read["fields"].items()}
        read["members"] = None if read["members"] is None else tuple(read["members"])
        return cls(**read)

    def contains(self, other: TrialSpace) -> bool:
        """Whether all that `other` may evaluate is in this space too, on the same symbol and dates.

        It is, where each field takes values of this space only; of a sample, every combination is looked up.
        """
        if (self.symbol, self.windows) != (other.symbol, other.windows) or other.size is None:
            return False
        if not self.fields or self.fields.keys() != other.fields.keys():
            return False
        if not all(set(other.fields[name]) <= set(values) for name, values in self.fields.items()):
            return False
        if self.members is None:
            return True
        return other.size <= len(self.members) and set(self.members).issuperset(other._combinations())

    def _combinations(self) -> Iterator[str]:
        if self.members is not None:
            yield from self.members
            return
        names = sorted(self.fields)
        for values in itertools.product(*(self.fields[name] for name in names)):
            yield member(dict(zip(names, values, strict=True)))


def member(values: Mapping[str, str]) -> str:
    """Return the name of one combination: a hash of the value of every field, as JSON."""
    text = "\n".join(f"{name} {values[name]}" for name in sorted(values))
    return hashlib.sha256(text.encode()).hexdigest()[:_MEMBER_DIGITS]


@dataclass(frozen=True, kw_only=True)
class Derivation:
    """How a search came to its trials.

    kind          `declared` or `adaptive`; reason: the sentence that says why
    unevaluated   variants that were declared on the family and over these dates, and not evaluated by any
                  search there: each is a trial that nothing is known of
    replayable    whether running the search again runs all of it again: nobody chose what it searches by
                  results, or one of several searches by what it found
    """

    kind: Kind
    reason: str
    unevaluated: int
    replayable: bool = False

    @property
    def declared(self) -> bool:
        """Whether the test of the maximum holds."""
        return self.kind == DECLARED


def enter(
    connection: Connection,
    space: TrialSpace,
    families: Sequence[str],
    dates: DateRange,
    *,
    experiment_id: int | None,
    now: datetime,
) -> Derivation:
    """Write a space down, before anything of it is evaluated, and return what it counts as.

    families   the family of the symbol, then its relatives
    """
    row = {
        "family": families[0],
        "first_date": dates.start,
        "last_date": dates.end,
        "hash": space.hash,
        "content": space.content,
        "size": space.size,
        "declared": 0,
        "within": None,
        "experiment_id": experiment_id,
        "recorded": now.isoformat(timespec="seconds"),
    }
    earlier = _declared(connection, families, dates)
    around = next((known for known in earlier if known.space.contains(space)), None)
    first = not space.learns and not _results(connection, families, dates)
    row["declared"] = int(first or around is not None)
    row["within"] = None if first or around is None else around.id
    (number,) = append(connection, SpaceRow, [row])
    return searched(connection, number, families)


def searched(connection: Connection, number: int, families: Sequence[str]) -> Derivation:
    """Return what the space of row `number` counts as, from the order of all rows.

    It is derived anew each time: where a family turned out later to be a relative, its results count.
    """
    row = connection.execute(select(SpaceRow.__table__).where(SpaceRow.id == number)).one()
    dates, space = DateRange(start=row.first_date, end=row.last_date), TrialSpace.read(row.content)
    declared = _declared(connection, families, dates)
    unevaluated = _unevaluated(connection, families, declared)
    where = f"{families[0]} over {dates}"
    around = next((each for each in declared if each.id <= number and each.space.contains(space)), None)
    if around is not None:
        reason = f"declared before any result on {where}"
        if around.space.hash != space.hash:
            reason = f"within {around.space.size:,} variants that were {reason}"
        return Derivation(kind=DECLARED, reason=reason, unevaluated=unevaluated, replayable=True)
    before = _results(connection, families, dates, before=_links(connection)[number])
    reason = f"begun after {before:,} results on {where}, and not within what was declared before them"
    if space.learns:
        reason = "the search chose its trials by the results of those before"
    alone = space.learns and space.size is not None and _came_alone(connection, families, dates, space)
    return Derivation(kind=ADAPTIVE, reason=reason, unevaluated=unevaluated, replayable=alone)


def declared_spaces(connection: Connection, families: Sequence[str], dates: DateRange) -> list[TrialSpace]:
    """Return what was declared on families over dates that overlap these, oldest first."""
    return [each.space for each in _spaces(connection, families, dates)]


def last_searched(connection: Connection, config_hash: str) -> date | None:
    """Return the last day that a search saw which evaluated a configuration, or found it; None for none."""
    found_by = union(
        select(ExperimentRun.experiment_id).where(ExperimentRun.config_hash == config_hash),
        select(Genealogy.experiment_id).where(Genealogy.config_hash == config_hash),
    )
    numbers = [number for (number,) in connection.execute(found_by)]
    query = select(func.max(SpaceRow.last_date)).where(SpaceRow.experiment_id.in_(numbers))
    return cast("date | None", connection.scalar(query))


def space_number(connection: Connection, experiment_id: int, symbol: str) -> tuple[int, str] | None:
    """Return the row, and the family, of the space that an experiment declared for a symbol, if it did."""
    rows = connection.execute(
        select(SpaceRow.id, SpaceRow.family, SpaceRow.content)
        .where(SpaceRow.experiment_id == experiment_id)
        .order_by(SpaceRow.id)
    )
    return next(((row.id, row.family) for row in rows if TrialSpace.read(row.content).symbol == symbol), None)


def number_of(connection: Connection, space: TrialSpace) -> int | None:
    """Return the row in which a space was first written down, if it was."""
    return connection.scalar(select(func.min(SpaceRow.id)).where(SpaceRow.hash == space.hash))


def undeclared() -> Derivation:
    """Return what a search counts as for which no space was ever written down."""
    reason = "no space was written down before it began: search again, with this version"
    return Derivation(kind=ADAPTIVE, reason=reason, unevaluated=0)


@dataclass(frozen=True, kw_only=True)
class _Known:
    id: int
    experiment_id: int | None
    dates: DateRange
    space: TrialSpace


def _declared(connection: Connection, families: Sequence[str], dates: DateRange) -> list[_Known]:
    """Return the spaces that came before any result on the families and their own dates, oldest first."""
    links, first = _links(connection), cache(partial(_first_result, connection, tuple(families)))
    return [
        known
        for known in _spaces(connection, families, dates)
        if not known.space.learns and links[known.id] < first(known.dates)
    ]


def _came_alone(connection: Connection, families: Sequence[str], dates: DateRange, space: TrialSpace) -> bool:
    """Whether a search, when it was first written down, came before every result and every other search.

    Of twenty that begin at once, one in twenty is better than 95 % of its replays.
    """
    spaces = list(_spaces(connection, families, dates))
    own = next(each for each in spaces if each.space.hash == space.hash)
    others = (
        each
        for each in spaces
        if each.id < own.id and (each.experiment_id is None or each.experiment_id != own.experiment_id)
    )
    return not any(others) and _links(connection)[own.id] < _first_result(connection, families, dates)


def _spaces(connection: Connection, families: Sequence[str], dates: DateRange) -> Iterator[_Known]:
    wanted = select(SpaceRow.__table__).where(within(SpaceRow, families, dates)).order_by(SpaceRow.id)
    for row in connection.execute(wanted).all():
        yield _Known(
            id=row.id,
            experiment_id=row.experiment_id,
            dates=DateRange(start=row.first_date, end=row.last_date),
            space=TrialSpace.read(row.content),
        )


def _results(
    connection: Connection, families: Sequence[str], dates: DateRange, *, before: float = math.inf
) -> int:
    """Return how many trials and looks there were on families and dates, all, or those before a link."""
    total = 0
    for model in (LedgerRow, LookRow):
        wanted = select(func.count()).where(within(model, families, dates))
        if before < math.inf:
            rows = select(func.max(LinkRow.last_row)).where(
                LinkRow.table_name == model.__tablename__, LinkRow.id < before
            )
            wanted = wanted.where(model.id <= (connection.scalar(rows) or 0))
        total += connection.scalar(wanted) or 0
    return total


def _first_result(connection: Connection, families: Sequence[str], dates: DateRange) -> float:
    """Return the link of the oldest trial or look on families and dates, infinity where there is none."""
    found = [math.inf]
    for model in (LedgerRow, LookRow):
        oldest = connection.scalar(select(func.min(model.id)).where(within(model, families, dates)))
        if oldest is not None:
            link = select(func.min(LinkRow.id)).where(
                LinkRow.table_name == model.__tablename__, LinkRow.last_row >= oldest
            )
            found.append(connection.scalar(link) or -math.inf)
    return min(found)


def _links(connection: Connection) -> Mapping[int, float]:
    """Return the link of every space: the order of the chain is the order of things.

    A space that is in no link was smuggled in: it comes after everything.
    """
    rows = connection.execute(
        select(LinkRow.id, LinkRow.first_row, LinkRow.last_row).where(
            LinkRow.table_name == SpaceRow.__tablename__
        )
    )
    found = {number: link for link, first, last in rows for number in range(first, last + 1)}
    return defaultdict(lambda: math.inf, found)


def _unevaluated(connection: Connection, families: Sequence[str], declared: Sequence[_Known]) -> int:
    """Return how many declared variants nobody evaluated; at most, where searches share a space.

    Of each declared space that no other one contains, the largest number of trials of one search within it
    counts as evaluated: what several small searches did may overlap.
    """
    everything = list(_spaces(connection, families, DateRange()))
    open_ended = [each for each in declared if each.space.proposer not in _AT_ONCE]
    whole = [each for each in open_ended if not any(_covers(other, each) for other in open_ended)]
    trials = _trials(connection, everything) if whole else {}
    return sum(max(0, (each.space.size or 0) - _evaluated(each.space, everything, trials)) for each in whole)


def _covers(other: _Known, known: _Known) -> bool:
    """Whether another space holds all of a space; of equal ones, the older does."""
    if other.id == known.id or not other.space.contains(known.space):
        return False
    return other.id < known.id or not known.space.contains(other.space)


def _trials(connection: Connection, everything: Sequence[_Known]) -> Mapping[tuple[int, str], int]:
    """Return how many trials the experiments made that wrote down these spaces, by number and symbol."""
    numbers = {each.experiment_id for each in everything if each.experiment_id is not None}
    by = (LedgerRow.experiment_id, LedgerRow.symbol)
    wanted = select(*by, func.count()).where(LedgerRow.experiment_id.in_(numbers)).group_by(*by)
    rows = connection.execute(wanted)
    return {(number, symbol): count for number, symbol, count in rows if number is not None}


def _evaluated(space: TrialSpace, everything: Sequence[_Known], trials: Mapping[tuple[int, str], int]) -> int:
    inside = {
        each.experiment_id
        for each in everything
        if each.experiment_id is not None and space.contains(each.space)
    }
    return max((trials.get((number, space.symbol), 0) for number in inside), default=0)

"""Where contracts roll: dates by calendar, volume or open interest, and spreads, from the contracts' bars.

Rules:

    calendar N      `to` is traded from the Nth session before the last one of `before`
    volume          after two sessions in a row in which `to` had more volume; never back
    open interest   likewise, by open interest

What is known of a session is known in the night after it. So the two sessions of a rule by volume are
followed by
one whose close may decide to leave, and by one whose open fills that: the third is the first of the new
contract.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Literal, NamedTuple

import numpy as np

from lockstep.errors import ConfigError, DataError
from lockstep.market.bars import Bars, Floats, Stamps
from lockstep.market.rolls import Roll, RollTable
from lockstep.market.sessions import Dates, Session

RuleKind = Literal["calendar", "volume", "open interest"]

# Sessions in a row in which the next contract has to be ahead.
CONFIRMED = 2
# From the last of them to the first session of the new contract.
LEAD = 3

_HASHED = 16


@dataclass(frozen=True)
class RollRule:
    """How dates are chosen.

    before_end   of a calendar rule: sessions, at least 1, counted back from the last one of the old contract

    >>> print(RollRule.parse("calendar 5")), RollRule.parse("volume").kind
    calendar 5
    (None, 'volume')
    """

    kind: RuleKind
    before_end: int = 0

    @classmethod
    def parse(cls, text: str) -> RollRule:
        """Return the rule that is spelled so; ConfigError names those that there are."""
        words = text.replace("_", " ").split()
        if words[:1] == ["calendar"] and len(words) == 2 and words[1].isdigit() and int(words[1]):
            return cls("calendar", int(words[1]))
        if words == ["volume"]:
            return cls("volume")
        if words == ["open", "interest"]:
            return cls("open interest")
        raise ConfigError(
            f"rule {text!r}: must be `volume`, `open interest` or `calendar N`, N sessions before the end"
        )

    def __str__(self) -> str:
        return f"calendar {self.before_end}" if self.kind == "calendar" else self.kind


class Daily(NamedTuple):
    """A contract by sessions: dates, rising, the last close of each with its end, and what is compared."""

    dates: Dates
    ends: Stamps
    close: Floats
    weight: Floats


def by_session(bars: Bars, session: Session, weights: Bars | None = None) -> Daily:
    """Return a contract by sessions; `weights` are its bars with open interest in place of volume."""
    dates = session.dates(bars.end, bars.timeframe)
    lasts = np.flatnonzero(np.append(dates[1:] != dates[:-1], True)) if dates.size else np.empty(0, np.int64)
    if weights is None:
        groups = np.searchsorted(dates[lasts], dates)
        weight = np.bincount(groups, bars.volume, lasts.size) if dates.size else np.empty(0)
    else:
        # Open interest is a level, and what stands there last counts.
        weight = weights.volume[lasts]
    return Daily(dates[lasts], bars.end[lasts], bars.close[lasts], np.asarray(weight, dtype=np.float64))


def build_table(
    symbol: str,
    contracts: Mapping[str, Daily],
    session: Session,
    tick: float,
    rule: RollRule,
    *,
    known: RollTable | None = None,
    expiries: Mapping[str, date] | None = None,
) -> RollTable:
    """Return the roll table of contracts, the earliest first, as far as their bars decide it.

    contracts   two or more by name, in the order of their delivery; tick   points of a tick
    known       a table whose rows stay as they are; those after it are added
    expiries    last session by contract, for calendar rules; without it a contract ends with its last bar,
                where others go on

    DataError where nothing is decided, two contracts have no session in common, or a known row is of another
    contract.
    """
    names = list(contracts)
    if len(names) < 2:
        raise DataError(f"{symbol}: {len(names)} contracts: a roll needs two; give more files")
    rolls = list(known.rolls) if known else []
    if rolls and rolls[-1].spread is None:
        rolls[-1] = _completed(rolls[-1], contracts, session, tick)
    place = _place(symbol, names, rolls)
    while place + 1 < len(names) and not (rolls and rolls[-1].spread is None):
        roll = _next(names[place : place + 2], contracts, session, tick, rule,
                     rolls[-1].at if rolls else None,
                     (expiries or {}).get(names[place]))  # fmt: skip
        if roll is None:
            break
        rolls.append(roll)
        place += 1
    if not rolls:
        raise DataError(
            f"{symbol}: {rule} decides no roll from {names[0]} to {names[1]}; give bars of more "
            f"sessions, or their expiry"
        )
    return RollTable(symbol=symbol, rolls=tuple(rolls))


def _place(symbol: str, names: Sequence[str], rolls: Sequence[Roll]) -> int:
    if not rolls:
        return 0
    if rolls[-1].to not in names:
        raise DataError(f"{symbol}: the table ends with {rolls[-1].to}, of which there is no file; give it")
    return names.index(rolls[-1].to)


def _next(
    names: Sequence[str], contracts: Mapping[str, Daily], session: Session, tick: float, rule: RollRule,
    since: date | None, expiry: date | None,
) -> Roll | None:  # fmt: skip
    before, to = (contracts[name] for name in names)
    newest = max(each.dates[-1] for each in contracts.values() if each.dates.size)
    at = (
        _by_calendar(before, session, rule.before_end, newest, expiry)
        if rule.kind == "calendar"
        else _by_weight(before, to, session, newest, since)
    )
    has_ended = before.dates.size and before.dates[-1] < newest
    if has_ended and (at is None or at > before.dates[-1] + np.timedelta64(7)):
        raise DataError(
            f"{rule} decides no roll from {names[0]} to {names[1]} before its end, {before.dates[-1]}; give "
            "the bars that are missing, or a calendar rule"
        )
    if at is None:
        return None
    if since is not None and at <= np.datetime64(since):
        raise DataError(
            f"{names[0]} to {names[1]}: {rule} rolls at {at}, before {since}; choose another rule"
        )
    decided = Roll(names[0], names[1], at.astype(object), None, str(rule), "")
    return _completed(decided, contracts, session, tick)


def _completed(roll: Roll, contracts: Mapping[str, Daily], session: Session, tick: float) -> Roll:
    """Return a roll with its spread where the session before it is over, else as it is."""
    at = np.datetime64(roll.at)
    newest = [contracts[name].dates[-1] for name in (roll.before, roll.to)]
    last = session.scheduled_dates(at - np.timedelta64(14), at - np.timedelta64(1))[-1]
    if min(newest) < last and max(newest) < at:
        return roll
    return _measured(roll, contracts[roll.before], contracts[roll.to], tick)


def _measured(roll: Roll, before: Daily, to: Daily, tick: float) -> Roll:
    at = np.datetime64(roll.at)
    common = np.intersect1d(before.ends[before.dates < at], to.ends[to.dates < at])
    if not common.size:
        raise DataError(
            f"{roll.before} and {roll.to} have no bar in common before {at}, so that nothing "
            f"tells their spread; "
            "give both files with the sessions before the roll"
        )
    closes = [float(each.close[np.searchsorted(each.ends, common[-1])]) for each in (before, to)]
    spread = round((closes[1] - closes[0]) / tick)
    digest = hashlib.sha256()
    for each in (before, to):
        rows = each.dates < at
        for column in (each.ends[rows], each.close[rows], each.weight[rows]):
            digest.update(np.ascontiguousarray(column).tobytes())
    return roll._replace(spread=spread, source=digest.hexdigest()[:_HASHED])


def _by_calendar(
    before: Daily, session: Session, sessions: int, newest: np.datetime64, expiry: date | None
) -> np.datetime64 | None:
    """Return the Nth session before the last one of a contract; None while its last one is not known."""
    if expiry is not None:
        last = np.datetime64(expiry)
    elif before.dates.size and before.dates[-1] < newest:
        last = before.dates[-1]
    else:
        return None
    # Twice as many days, and a fortnight of holidays.
    scheduled = session.scheduled_dates(last - np.timedelta64(2 * sessions + 14), last)
    found: np.datetime64 = scheduled[-1 - sessions]
    return found


def _by_weight(
    before: Daily, to: Daily, session: Session, newest: np.datetime64, since: date | None
) -> np.datetime64 | None:
    """Return the session to roll at; None while the next contract has not been ahead for long enough."""
    if not to.dates.size or not before.dates.size:
        return None
    begin = max(to.dates[0], before.dates[0])
    if since is not None:
        begin = max(begin, np.datetime64(since))
    scheduled = session.scheduled_dates(begin, min(newest, before.dates[-1]))
    ahead = _weight_on(to, scheduled) > _weight_on(before, scheduled)
    run = 0
    for row in range(scheduled.size):
        run = run + 1 if ahead[row] else 0
        if run == CONFIRMED:
            # The roll may lie ahead of the newest bar.
            following = session.scheduled_dates(
                scheduled[row], scheduled[row] + np.timedelta64(14 + 2 * LEAD)
            )
            found: np.datetime64 = following[LEAD]
            return found
    return None


def _weight_on(contract: Daily, dates: Dates) -> Floats:
    """Return what is compared on each date, float64 (n,), 0 where the contract has no bar."""
    rows = np.minimum(np.searchsorted(contract.dates, dates), contract.dates.size - 1)
    return np.where(contract.dates[rows] == dates, contract.weight[rows], 0.0)


def differences(table: RollTable, contracts: Mapping[str, Daily], tick: float) -> list[tuple[Roll, str]]:
    """Return the rolls that the contracts' bars no longer bear out, each with what is different.

    The bars before a roll have another hash: the vendor revised them, or the file is another one.
    """
    found = []
    for roll in table.rolls:
        missing = [name for name in (roll.before, roll.to) if name not in contracts]
        if missing:
            found.append((roll, f"no file of {' and '.join(missing)}"))
            continue
        if roll.spread is None:
            continue
        again = _measured(roll, contracts[roll.before], contracts[roll.to], tick)
        if again.spread != roll.spread:
            found.append((roll, f"the bars say {again.spread:+d} ticks"))
        elif again.source != roll.source:
            found.append((roll, "the bars before it are not those that it was built from"))
    return found

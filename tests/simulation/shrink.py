"""From a life that breaks an invariant to the shortest one found that breaks the same."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeVar

from simulation import models
from simulation.life import Desk, Incident, Life, Prices
from simulation.simulate import simulate
from simulation.venues import DAY, HOUR

Item = TypeVar("Item")
Fails = Callable[[Life], bool]
_MOST_LIVES = 1_500
_SPAN = 8 * DAY


def shrink(life: Life, signature: str, *, fails: Fails | None = None) -> Life:
    """Return a life with as few days, instruments, incidents and peculiarities as still end with `signature`.

    fails   whether a life does; by default it is simulated
    """
    counted = _counted(fails or (lambda each: simulate(each).signature == signature))
    before = None
    while before != life:
        before = life
        for step in (_fewer_incidents, _earlier_end, _later_begin, _fewer_traders, _fewer_days, _plainer):
            life = step(life, counted)
    return _tidied(life, counted)


def _counted(fails: Fails) -> Fails:
    lives = 0

    def counted(life: Life) -> bool:
        nonlocal lives
        lives += 1
        return lives <= _MOST_LIVES and fails(life)

    return counted


def fewest(items: Sequence[Item], fails: Callable[[Sequence[Item]], bool]) -> list[Item]:
    """Return few of `items` with which `fails` still holds, by delta debugging (Zeller, 2002).

    No single item can be left out of what is returned. `fails` holds for all items.
    """
    kept, parts = list(items), 2
    while kept:
        size = max(len(kept) // parts, 1)
        for start in range(0, len(kept), size):
            rest = kept[:start] + kept[start + size :]
            if fails(rest):
                kept, parts = rest, max(parts - 1, 2)
                break
        else:
            if size == 1:
                break
            parts = min(parts * 2, len(kept))
    return kept


def _first_that_fails(life: Life, others: Iterator[Life], fails: Fails) -> Life:
    return next((each for each in others if each != life and fails(each)), life)


def _fewer_incidents(life: Life, fails: Fails) -> Life:
    kept = fewest(life.incidents, lambda some: fails(replace(life, incidents=tuple(some))))
    return replace(life, incidents=tuple(kept))


def _earlier_end(life: Life, fails: Fails) -> Life:
    """Halve what may be cut off at the end, as long as it can be."""
    low, high = life.begins, life.ends
    while high - low > HOUR:
        middle = (low + high) // 2
        if fails(_between(life, life.begins, middle)):
            high = middle
        else:
            low = middle
    return _between(life, life.begins, high)


def _later_begin(life: Life, fails: Fails) -> Life:
    days = range(life.begins + DAY, life.ends, DAY)
    return _first_that_fails(life, (_between(life, day, life.ends) for day in reversed(days)), fails)


def _between(life: Life, begins: int, ends: int) -> Life:
    """Return the life from a later beginning to an earlier end; what comes before warms up."""
    if (begins, ends) == (life.begins, life.ends):
        return life
    incidents = [each for each in life.incidents if begins < each.time < ends]
    bars = {series: _cut(kept, begins, ends) for series, kept in life.bars.items()}
    return replace(life, begins=begins, ends=ends, incidents=tuple(incidents), bars=bars)


def _cut(bars: Mapping[int, Prices], begins: int, ends: int) -> dict[int, Prices]:
    """Return the bars until the end and a few beyond, whose prices the exchange may need."""
    warm = [end for end in bars if end <= begins][-models.LONGEST :]
    return {end: bars[end] for end in bars if end >= (warm[0] if warm else begins) and end < ends + _SPAN}


def _fewer_traders(life: Life, fails: Fails) -> Life:
    found = life
    for each in life.traders:
        fewer = _without(found, each.symbol)
        if fewer.traders and fails(fewer):
            found = fewer
    for series in life.bars:
        bars = {name: kept for name, kept in found.bars.items() if name != series}
        fewer = replace(found, bars=bars, incidents=_about(found.incidents, series))
        if series not in {each.series for each in found.traders} and fails(fewer):
            found = fewer
    return found


def _without(life: Life, symbol: str) -> Life:
    traders = tuple(each for each in life.traders if each.symbol != symbol)
    incidents = tuple(each for each in life.incidents if each.told.get("symbol", "") != symbol)
    return replace(life, traders=traders, incidents=incidents)


def _about(incidents: Sequence[Incident], series: str) -> tuple[Incident, ...]:
    return tuple(each for each in incidents if each.told.get("series") != series)


def _fewer_days(life: Life, fails: Fails) -> Life:
    """Leave out whole days of bars: the calendar expects them, and they never come."""
    days = sorted({end // DAY for kept in life.bars.values() for end in kept if end > life.begins})

    def only(some: Sequence[int]) -> Life:
        wanted = set(some)
        bars = {
            series: {end: each for end, each in kept.items() if end <= life.begins or end // DAY in wanted}
            for series, kept in life.bars.items()
        }
        return replace(life, bars=bars)

    if len(days) > 60 or not all(only(days).bars.values()):
        return life
    return only(fewest(days, lambda some: fails(only(some))))


def _plainer(life: Life, fails: Fails) -> Life:
    """Take back what is peculiar about the desk and its versions, one thing after the other."""
    usual: dict[str, Any] = {
        name: field.default
        for name, field in Desk.__dataclass_fields__.items()
        if name not in ("mode", "limits")
    }
    for name, value in usual.items():
        changed = replace(life, desk=replace(life.desk, **{name: value}))
        if changed != life and fails(changed):
            life = changed
    for number, each in enumerate(life.traders):
        for other in (each._replace(handover="manage_out"), each._replace(model="both")):
            traders = (*life.traders[:number], other, *life.traders[number + 1 :])
            changed = replace(life, traders=traders)
            if changed != life and fails(changed):
                life = changed
    return life


def _tidied(life: Life, fails: Fails) -> Life:
    """Forget bars that nothing needs: those behind the end."""
    bars = {
        series: {end: each for end, each in kept.items() if end <= life.ends}
        for series, kept in life.bars.items()
    }
    shorter = replace(life, bars=bars)
    return shorter if fails(shorter) else life

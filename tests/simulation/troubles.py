"""What may be drawn into a life: kinds of trouble with their rates; a new one is a function and one line."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from random import Random
from typing import Any

from simulation import models
from simulation.life import Desk, Incident, Prices, Trader, iso
from simulation.venues import DAY, SECOND, key_of, markets, venue

_EFFECTS = (
    "any", "any", "any", "journal set", "journal event", "journal send", "journal fill", "journal start",
    "submit", "submit", "done", "observe", "status", "replay", "load",
)  # fmt: skip
_DOWNS = (5.0, 5.0, 60.0, 1_200.0, 30_000.0, 200_000.0)
_OVERNIGHT = {"CMES": 3_600.0, "XNYS": 63_000.0, "24/7": 0.0}
"""Seconds from the close of a daily bar to the open at which its orders leave."""

LIVE = frozenset({"live"})


@dataclass(frozen=True, kw_only=True)
class Stretch:
    """What a trouble may look at when it is drawn."""

    random: Random
    desk: Desk
    traders: tuple[Trader, ...]
    begins: int
    ends: int
    bars: Mapping[str, Mapping[int, Prices]]

    def trader(self) -> Trader:
        """Return one of the traded instruments."""
        return self.random.choice(self.traders)

    def bar(self, moment: int) -> tuple[str, int, Prices]:
        """Return (series, end, prices) of the first bar that ends after a moment, of any series."""
        series = self.random.choice(sorted(self.bars))
        ends = list(self.bars[series])
        end = ends[min(bisect_left(ends, moment), len(ends) - 1)]
        return series, end, self.bars[series][end]

    def seconds(self, *choices: float) -> float:
        """Return about one of some numbers of seconds."""
        return round(self.random.choice(choices) * (0.5 + self.random.random()), 3)


Draw = Callable[[Stretch, int], list[Incident]]


@dataclass(frozen=True, kw_only=True)
class Trouble:
    """A kind of trouble.

    share     of the lives that know it; per_day   how often it happens there; modes   where it makes sense
    draw      the incidents of one occurrence at a moment (UTC ns)
    """

    draw: Draw
    share: float
    per_day: float
    modes: frozenset[str] = frozenset()


def _bar_incident(stretch: Stretch, moment: int, kind: str, **told: Any) -> list[Incident]:
    series, end, _ = stretch.bar(moment)
    return [Incident(end, kind, {"series": series, "end": iso(end), **told})]


def _late(stretch: Stretch, moment: int) -> list[Incident]:
    return _bar_incident(stretch, moment, "late bar", by=stretch.seconds(2.0, 10.0, 60.0, 3_600.0, 90_000.0))


def _missing(stretch: Stretch, moment: int) -> list[Incident]:
    return _bar_incident(stretch, moment, "missing bar")


def _twice(stretch: Stretch, moment: int) -> list[Incident]:
    return _bar_incident(stretch, moment, "bar twice", by=stretch.seconds(1.0, 40.0, 100_000.0))


def _changed(prices: Prices, random: Random, tick: float) -> Prices:
    """Return a bar that is a little different, and still a bar."""
    opened, high, low, close = prices
    return (opened, round(high + random.randrange(1, 9) * tick, 9), low, close)


def _corrected(stretch: Stretch, moment: int) -> list[Incident]:
    series, end, prices = stretch.bar(moment)
    tick = markets()[key_of(series).symbol].instrument.tick_size
    told = {"series": series, "end": iso(end), "by": stretch.seconds(1.0, 40.0, 100_000.0)}
    return [Incident(end, "corrected bar", {**told, "values": list(_changed(prices, stretch.random, tick))})]


def _absurd(stretch: Stretch, moment: int) -> list[Incident]:
    series, end, (opened, high, low, close) = stretch.bar(moment)
    values = stretch.random.choice((
        [opened, 1e308, low, close],
        [opened, high, low / 1_000.0, close],
        [opened * 100.0, high * 100.0, low * 100.0, close * 100.0],
        [opened, high * 10.0, low, high * 10.0],
        [opened, high, -high, close],
    ))  # fmt: skip
    told = {"series": series, "end": iso(end), "by": stretch.seconds(2.0, 60.0, 3_600.0)}
    return [Incident(end, "absurd bar", {**told, "values": values})]


def _broken(stretch: Stretch, moment: int) -> list[Incident]:
    series, end, (opened, high, low, close) = stretch.bar(moment)
    values = stretch.random.choice(([opened, low, high, close], [opened, high, low, high + 1.0]))
    told = {"series": series, "end": iso(end), "by": stretch.seconds(2.0, 60.0)}
    return [Incident(end, "broken bar", {**told, "values": values})]


def _foreign(stretch: Stretch, moment: int) -> list[Incident]:
    """A bar on the grid that the calendar does not have: of a holiday, a weekend, after an early close."""
    series, _, prices = stretch.bar(moment)
    key = key_of(series)
    place = venue(key.symbol)
    day = moment // DAY
    found = place.off_calendar(key.timeframe, day)
    if found is None or found > stretch.ends:
        return []
    told = {"series": series, "end": iso(found), "values": list(prices)}
    return [Incident(found + SECOND, "foreign bar", told)]


def _promotion(stretch: Stretch, moment: int) -> list[Incident]:
    """Another version; then often back, before or after it took over, and the one that was left deleted."""
    random, trader = stretch.random, stretch.trader()
    paired = markets()[trader.symbol].instrument.pair is not None
    names = [
        name for name in models.RECIPES if name != trader.model and (paired or name not in models.PAIRED)
    ]
    to = random.choice([*names, models.BROKEN] if random.random() < 0.3 else names)
    found = [Incident(moment, "promotion", {"symbol": trader.symbol, "to": to})]
    if random.random() < 0.4:
        later = moment + int(stretch.seconds(10.0, 40_000.0, 250_000.0) * 1e9)
        found.append(Incident(later, "rollback", {"symbol": trader.symbol, "to": trader.model}))
        if random.random() < 0.5:
            told = {"symbol": trader.symbol, "version": to}
            found.append(Incident(later + int(stretch.seconds(10.0, 90_000.0) * 1e9), "retirement", told))
    return found


def _nothing(stretch: Stretch, moment: int) -> list[Incident]:
    """No version for a while: the pinned one was retired."""
    trader = stretch.trader()
    later = moment + int(stretch.seconds(10_000.0, 250_000.0) * 1e9)
    return [
        Incident(moment, "nothing wanted", {"symbol": trader.symbol}),
        Incident(later, "promotion", {"symbol": trader.symbol, "to": trader.model}),
    ]


def _judge(stretch: Stretch, moment: int) -> list[Incident]:
    return [Incident(moment, "judgement", {"decision": stretch.random.choice(("accept", "reject"))})]


def _switch(kind: str) -> Draw:
    def draw(stretch: Stretch, moment: int) -> list[Incident]:
        ends = moment + int(stretch.seconds(60.0, 40_000.0, 200_000.0) * 1e9)
        return [Incident(moment, kind, {}), Incident(ends, f"{kind} ends", {})]

    return draw


def _roll_out(stretch: Stretch, moment: int) -> list[Incident]:
    stage, fraction = stretch.random.choice(((0, 0.0), (1, 0.1), (2, 0.5), (3, 1.0), (3, 1.0)))
    return [Incident(moment, "roll-out", {"stage": stage, "fraction": fraction})]


def _garbage(stretch: Stretch, moment: int) -> list[Incident]:
    texts = (
        "{",
        '{"kind": "sell everything"}',
        '{"kind": "fill", "fill_id": ""}',
        '{"kind": "rollout", "stage": 0}',
    )
    return [Incident(moment, "garbage", {"text": stretch.random.choice(texts)})]


def _stray(stretch: Stretch, moment: int) -> list[Incident]:
    random, trader = stretch.random, stretch.trader()
    mode = stretch.desk.mode
    orders = (
        "",
        "x",
        f"1-{mode}-{trader.symbol}-{moment}-entry-1",
        f"1-{mode}-{trader.symbol}-{moment}-exit-1",
    )
    told = {
        "symbol": trader.symbol,
        "order": random.choice(orders),
        "quantity": random.choice((1.0, -1.0, 10.0, 0.0)),
        "price": stretch.bar(moment)[2][0],
        "kind": random.choice(("market", "stop", "target")),
    }
    return [Incident(moment, "stray fill", told)]


def _lie(stretch: Stretch, moment: int) -> list[Incident]:
    return [Incident(moment, "false resolution", {"symbol": stretch.trader().symbol})]


def _down(stretch: Stretch) -> float:
    return stretch.random.choice(_DOWNS)


def _trap(stretch: Stretch, moment: int) -> list[Incident]:
    random = stretch.random
    effect = random.choice(_EFFECTS)
    told = {
        "effect": effect,
        "when": random.choice(("before", "after", "after")) if effect != "done" else "between",
        "skip": random.randrange(0, 12) if effect == "any" else random.choice((0, 0, 0, 1, 3)),
        "down": _down(stretch),
    }
    return [Incident(moment, "trap", told)]


def _kill(stretch: Stretch, moment: int) -> list[Incident]:
    return [Incident(moment, "kill", {"down": _down(stretch)})]


def _stop(stretch: Stretch, moment: int) -> list[Incident]:
    return [Incident(moment, "stop", {"down": _down(stretch)})]


def _disk(stretch: Stretch, moment: int) -> list[Incident]:
    ends = moment + int(stretch.seconds(3_000.0, 50_000.0) * 1e9)
    told = {"pages": stretch.random.choice((0, 1, 3, 10))}
    return [Incident(moment, "disk full", told), Incident(ends, "disk free", {})]


def _clock(stretch: Stretch, moment: int) -> list[Incident]:
    by = stretch.random.choice((1.0, -1.0)) * stretch.seconds(1.0, 30.0, 900.0, 20_000.0)
    found = [Incident(moment, "clock", {"by": by})]
    if stretch.random.random() < 0.7:
        later = moment + int(stretch.seconds(60.0, 40_000.0) * 1e9)
        found.append(Incident(later, "clock", {"by": -by}))
    return found


def _conduct(stretch: Stretch, moment: int) -> list[Incident]:
    random = stretch.random
    answer = random.choice(("yes", "no", "error", "page", "silence", "unreachable"))
    honest = {"yes": True, "no": False, "unreachable": False}.get(answer, random.random() < 0.5)
    told = {
        "symbol": stretch.trader().symbol,
        "of": "any",
        "answer": answer,
        "after": stretch.seconds(0.3, 5.0, 60.0),
        "placed": honest if random.random() < 0.85 else not honest,
        "share": random.choice((1.0, 1.0, 0.5)),
        "echo": random.random() < 0.2,
        "turns": False,
    }
    return [Incident(moment, "conduct", told)]


def _report(stretch: Stretch, moment: int) -> list[Incident]:
    how = stretch.random.choice(("late", "late", "twice", "again", "parts", "turned", "lost"))
    told = {
        "symbol": stretch.trader().symbol,
        "of": "any",
        "how": how,
        "by": stretch.seconds(0.001, 30.0, 4_000.0, 100_000.0),
    }
    return [Incident(moment, "report", told)]


def _contrary(stretch: Stretch, moment: int) -> list[Incident]:
    """An order that is placed and filled, and that the broker says it did not take."""
    told = {
        "symbol": stretch.trader().symbol,
        "of": "any",
        "answer": stretch.random.choice(("no", "unreachable")),
        "after": stretch.seconds(50.0),
        "placed": True,
        "share": 1.0,
        "echo": False,
        "turns": False,
    }
    return [Incident(moment, "conduct", told)]


def _both(stretch: Stretch, moment: int) -> list[Incident]:
    """A stop that is reported late, while the exit that was sent meanwhile fills as well."""
    symbol = stretch.trader().symbol
    overnight = _OVERNIGHT[markets()[symbol].session.template.calendar]
    stop = {"symbol": symbol, "of": "stop", "how": "late", "by": overnight + stretch.seconds(300.0)}
    leaves = {"symbol": symbol, "of": "exit", "how": "late", "by": stretch.seconds(2_000.0)}
    turns = {
        "symbol": symbol,
        "of": "exit",
        "answer": "yes",
        "after": 0.3,
        "placed": True,
        "share": 1.0,
        "echo": False,
        "turns": True,
    }
    return [
        Incident(moment, "report", stop),
        Incident(moment, "report", leaves),
        Incident(moment, "conduct", turns),
    ]


def _again(stretch: Stretch, moment: int) -> list[Incident]:
    """A fill that is reported, then a crash, then the same fill under another id."""
    report = {"symbol": stretch.trader().symbol, "of": "any", "how": "again", "by": stretch.seconds(200.0)}
    trap = {"effect": "journal fill", "when": "after", "skip": 0, "down": 60.0}
    return [Incident(moment, "report", report), Incident(moment, "trap", trap)]


TROUBLES: tuple[Trouble, ...] = (
    Trouble(draw=_late, share=0.5, per_day=0.15),
    Trouble(draw=_missing, share=0.4, per_day=0.08),
    Trouble(draw=_twice, share=0.3, per_day=0.1),
    Trouble(draw=_corrected, share=0.3, per_day=0.1),
    Trouble(draw=_absurd, share=0.3, per_day=0.08),
    Trouble(draw=_broken, share=0.2, per_day=0.08),
    Trouble(draw=_foreign, share=0.3, per_day=0.08),
    Trouble(draw=_promotion, share=0.5, per_day=0.1),
    Trouble(draw=_nothing, share=0.1, per_day=0.04),
    Trouble(draw=_judge, share=0.3, per_day=0.15),
    Trouble(draw=_switch("HALT"), share=0.2, per_day=0.05),
    Trouble(draw=_switch("KILL"), share=0.2, per_day=0.05),
    Trouble(draw=_roll_out, share=0.3, per_day=0.06, modes=LIVE),
    Trouble(draw=_garbage, share=0.1, per_day=0.05),
    Trouble(draw=_stray, share=0.2, per_day=0.1),
    Trouble(draw=_lie, share=0.2, per_day=0.05, modes=LIVE),
    Trouble(draw=_trap, share=0.5, per_day=0.12),
    Trouble(draw=_kill, share=0.4, per_day=0.06),
    Trouble(draw=_stop, share=0.3, per_day=0.05),
    Trouble(draw=_disk, share=0.12, per_day=0.05),
    Trouble(draw=_switch("no time"), share=0.15, per_day=0.05, modes=LIVE),
    Trouble(draw=_clock, share=0.3, per_day=0.08),
    Trouble(draw=_conduct, share=0.6, per_day=0.25, modes=LIVE),
    Trouble(draw=_report, share=0.5, per_day=0.2, modes=LIVE),
    Trouble(draw=_contrary, share=0.2, per_day=0.08, modes=LIVE),
    Trouble(draw=_both, share=0.3, per_day=0.15, modes=LIVE),
    Trouble(draw=_again, share=0.2, per_day=0.1, modes=LIVE),
)
"""Every kind of trouble. Rates are for a life that is neither calm nor busy."""

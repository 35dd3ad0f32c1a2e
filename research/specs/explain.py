"""A spec in sentences, and how often each of its conditions holds."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from lockstep.market.timeframe import Timeframe
from lockstep.strategy.config import AgeLimits, Distance, FixedSize, RiskSize, Size
from lockstep.strategy.families.rules import RulesConfig
from research.specs.ids import meaning
from research.specs.occurrence import Frequencies, frequencies
from research.specs.rows import TrainingRows
from research.specs.wording import filter_line, joined, lines, number_words, phrase

_ADJECTIVES = {"1d": "daily", "1h": "hourly", "1min": "one-minute"}
_ENTER = {"long": "it buys", "short": "it sells short"}
_ONLY = {
    "long": "It goes long only while",
    "short": "It goes short only while",
    "both": "It enters only while",
}
_MISSING = "A bar on which a value is missing is not entered; an exit is judged by the values that are there."
_LEAVE = {"long": "A long position is sold", "short": "A short position is bought back"}


@dataclass(frozen=True, kw_only=True)
class Saying:
    """A sentence, and the list that it introduces: (depth, text) each."""

    text: str
    items: tuple[tuple[int, str], ...] = ()


@dataclass(frozen=True, kw_only=True, eq=False)
class Explanation:
    """What a spec does.

    sayings      sentences, in the order in which they are best read
    meanings     (id, what its values are) of every id that it reads
    frequencies  None where there were no bars to look at
    """

    config: RulesConfig
    sayings: tuple[Saying, ...]
    meanings: tuple[tuple[str, str], ...]
    frequencies: Frequencies | None = None

    @property
    def text(self) -> str:
        """The sentences, one line each, lists below the sentence that introduces them.

        >>> from lockstep.strategy.families.rules import RulesConfig
        >>> low = {"id": "rsi_2", "below": 10}
        >>> dip = RulesConfig(name="dip", long_entry=low, max_bars=5)
        >>> print(explain(dip).text.splitlines()[1])
        While it holds nothing, it buys at the next bar's open when rsi_2 is below 10.
        """
        return "\n".join(line for each in self.sayings for line in _written(each))

    def _repr_html_(self) -> str:
        from research.specs.views import explanation

        return explanation(self)


def _written(said: Saying) -> Iterator[str]:
    yield said.text
    for depth, text in said.items:
        yield f"{'  ' * (depth + 1)}- {text}"


def explain(config: RulesConfig, rows: TrainingRows | None = None) -> Explanation:
    """Say what a spec does, and with `rows` how often its conditions hold there."""
    return Explanation(
        config=config,
        sayings=tuple(_sayings(config)),
        meanings=tuple((each, meaning(each)) for each in config.feature_ids),
        frequencies=None if rows is None else frequencies(config, rows),
    )


def _sayings(config: RulesConfig) -> Iterator[Saying]:
    yield Saying(text=f"{config.name} decides at the close of every {_adjective(config.bars)} bar.")
    if config.score:
        yield Saying(text=f"Its score is {_sum(config)}.")
    yield from _entries(config)
    yield from _gates(config)
    yield from _exits(config)
    yield Saying(text=_size(config))
    yield Saying(text=_MISSING)
    recorded = [each for each in config.features if each not in config.replaced(features=()).feature_ids]
    if recorded:
        decide = "decides" if len(recorded) == 1 else "decide"
        yield Saying(text=f"It also records {joined(recorded)}, which {decide} nothing.")
    if config.max_age != AgeLimits():
        bars, days = config.max_age.bars, config.max_age.days
        yield Saying(text=f"A value of another series may be {bars} bars or {days} days old.")


def _adjective(bars: Timeframe) -> str:
    spelled = str(bars)
    return _ADJECTIVES.get(spelled) or spelled.replace("min", "-minute").replace("h", "-hour")


def _entries(config: RulesConfig) -> Iterator[Saying]:
    when = "at the next bar's open" if config.execution == "next_open" else "at that close"
    for side in ("long", "short"):
        condition = getattr(config, f"{side}_entry")
        if condition is not None:
            yield _conditional(f"While it holds nothing, {_ENTER[side]} {when} when", condition)
    if config.long_entry is not None and config.short_entry is not None:
        yield Saying(text="Where both would be true at one bar, it does neither.")
    if config.execution == "close":
        yield Saying(text="The close of the signal's own bar cannot be had live: this is for research only.")


def _exits(config: RulesConfig) -> Iterator[Saying]:
    when = "at the next bar's open" if config.execution == "next_open" else "at that close"
    for side in ("long", "short"):
        condition = getattr(config, f"{side}_exit")
        if condition is not None:
            yield _conditional(f"{_LEAVE[side]} {when} when", condition)
    timed = []
    if config.max_bars is not None:
        comma = "," * (config.auto_close is not None)
        bars = f"{config.max_bars} bars, that of the entry included{comma}"
        timed.append(f"after {'its first bar' if config.max_bars == 1 else bars}")
    if config.auto_close is not None:
        timed.append(f"at {config.auto_close} exchange time")
    if timed:
        yield Saying(text=f"At the latest a position is closed {joined(timed, 'or')}.")
    for name, distance in (("stop", config.stop), ("target", config.target)):
        if distance is not None:
            yield Saying(text=f"A {name} works from the entry's fill on, {_away(distance)} away from it.")
    if config.stop is None:
        yield Saying(text="There is no protective stop.")


def _conditional(before: str, condition: Any) -> Saying:
    inline = phrase(condition)
    if inline is not None:
        return Saying(text=f"{before} {inline}.")
    first, *rest = lines(condition)
    hold = "all of these hold" if first.text.startswith("all") else "at least one of these holds"
    return Saying(text=f"{before} {hold}:", items=tuple((each.depth - 1, each.text) for each in rest))


def _gates(config: RulesConfig) -> Iterator[Saying]:
    if config.window is not None:
        start, end = config.window.start, config.window.end
        yield Saying(
            text=f"Entries are taken only at bars that end from {start} to {end}, in the exchange's time."
        )
    for said in config.filters:
        yield Saying(text=f"{_ONLY[said.side]} {filter_line(said).text}.")
    if config.veto is not None:
        least = number_words(config.veto.at_least)
        yield Saying(text=f"An entry is vetoed unless {config.veto.id} is at least {least}.")


def _away(distance: Distance) -> str:
    if distance.percent is not None:
        return f"{number_words(distance.percent)}% of its price"
    return f"{number_words(distance.atr or 0.0)} times {distance.feature}"


def _size(config: RulesConfig) -> str:
    size, capital = config.size, f"${config.capital:,.0f}"
    if isinstance(size, FixedSize):
        contracts = number_words(size.contracts)
        return f"It trades {contracts} contract{'' if contracts == '1' else 's'}{_by_regime(size)}."
    if isinstance(size, RiskSize):
        what, share = f"a move of {size.feature} points worth", size.risk
    else:
        what, share = f"the yearly volatility of the position, by {size.feature},", size.target
    return f"It trades as many contracts as make {what} {share * 100:.6g}% of {capital}{_by_regime(size)}."


def _by_regime(size: Size) -> str:
    by = size.by_regime
    if by is None:
        return ""
    parts = (("bull", by.bull), ("bear", by.bear), ("sideways", by.sideways))
    named = [f"{number_words(part * 100)}% in a {name} market" for name, part in parts if part < 1.0]
    if by.high_volatility < 1.0:
        named.append(f"{number_words(by.high_volatility * 100)}% at high volatility")
    return f"; of that {', '.join(named)}, by {by.feature}"


def _sum(config: RulesConfig) -> str:
    text = ""
    for each in config.score:
        sign = "-" if each.weight < 0 else "+"
        term = f"{number_words(abs(each.weight))} × {each.id}"
        text += f" {sign} {term}" if text else f"{'-' if each.weight < 0 else ''}{term}"
    return text

"""Grid files in the habits of other tools: recognised, and translated into a block that loads.

The file is refused; the block that would be right says what it changed. How others write the values of one
parameter is in `foreign_values.py`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import date, datetime, timedelta
from itertools import pairwise
from typing import Any

import yaml

from lockstep.errors import ForeignGrid
from lockstep.strategy.config import Filter
from lockstep.strategy.family import Family
from research.experiments.foreign_values import DIGITS, first_of, translated
from research.experiments.paths import known_paths

_PARAMETERS = (
    "params", "param", "param_grid", "param_space", "grid", "search_space", "space", "hyperparameters",
    "hyperparams", "sweep", "optparams", "distributions",
)  # fmt: skip
_SYMBOLS = (
    "symbol", "ticker", "tickers", "pair", "pairs", "pair_whitelist", "asset", "assets", "instrument",
    "instruments", "universe", "market", "markets",
)  # fmt: skip
_MEASURES = (
    "metric", "objective", "optimize", "maximize", "scoring", "score", "sort_by", "rank_by", "hyperopt_loss",
    "loss",
)  # fmt: skip
_RANGES = {
    "train": ("train", "training", "in_sample", "is"),
    "validation": ("validation", "valid", "val"),
    "test": ("test", "testing", "out_of_sample", "oos"),
    "holdout": ("holdout", "final"),
}
_STARTS = ("start", "from", "begin", "start_date", "first", "fromdate")
_ENDS = ("end", "to", "stop", "end_date", "last", "todate")
_WHOLE = ("timerange", "period", "dates", "date_range", "range")
# What other tools put beside a grid and this one takes from the command line.
_OPTIONS = {
    "n_trials": "--random {}", "n_iter": "--random {}", "epochs": "--random {}", "max_evals": "--random {}",
    "iterations": "--random {}", "trials": "--random {}", "samples": "--random {}", "seed": "--seed {}",
    "random_state": "--seed {}", "name": "--name {}", "walk_forward": "--walk-forward 4y/1y/1y",
    "n_splits": "--walk-forward 4y/1y/1y", "n_jobs": "", "max_workers": "", "sampler": "", "pruner": "",
    "direction": "", "method": "", "study_name": "--name {}", "jobs": "",
}  # fmt: skip
_OF_STRATEGY = (
    "strategy", "timeframe", "interval", "freq", "cash", "init_cash", "capital", "commission", "fees",
    "slippage", "stake_amount",
)  # fmt: skip
_NATIVE = ("symbols", "parameters", "split", "select_by", "top", "limits")
_ALIASES = {
    "stop.percent": ("stop_loss", "stop_loss_pct", "stop_loss_percent", "sl", "sl_pct", "sl_stop"),
    "target.percent": ("take_profit", "take_profit_pct", "tp", "tp_pct", "tp_stop", "profit_target"),
    "max_bars": ("max_hold", "holding_period", "hold_days", "max_days", "max_holding_days", "hold_bars"),
}
_FILTER = re.compile(r"filters\.\d+(\.\w+)?")
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}|\d{4}/\d{2}/\d{2}|(?<!\d)\d{8}(?!\d)")
_DAY = timedelta(days=1)
_FRACTION = 0.25
_NAMED = 6


def require_native(content: Any, where: str, family: Family) -> None:
    """Raise ForeignGrid, with the translated block, where a grid file follows another tool's habits.

    family   of the strategies whose parameters the file is about
    """
    if not isinstance(content, Mapping):
        return
    translation = Translation(content, family)
    if translation.found:
        found = list(dict.fromkeys(translation.found))
        named = ", ".join(found[:_NAMED]) + (f" and {len(found) - _NAMED} more" if found[_NAMED:] else "")
        raise ForeignGrid(
            f"{where}: {named}: written as for another tool; put the block below in its place",
            hint=translation.block(),
        )


class Translation:
    """A grid file as one of ours: `found` are the entries that were another tool's, `notes` what to know."""

    def __init__(self, content: Mapping[Any, Any], family: Family) -> None:
        self.found: list[str] = []
        self.notes: list[str] = []
        self._unknown: list[str] = []
        self._content = {str(key): value for key, value in content.items()}
        self._known = known_paths(family.example(name="any", filters=(Filter(feature="rsi_2", max=1.0),)))
        self._aliases = {**_ALIASES, **family.aliases}
        self._ranges: dict[str, list[date | None]] = {}
        self._lines: dict[str, list[str]] = {}
        for key, value in self._content.items():
            self._take(key, value)
        self._lines["split"] = list(self._split())
        if len(self._lines.get("parameters", ())) < 2:
            self.notes.append("parameters: are missing; give {path: [values]}")

    def block(self) -> str:
        """Return the block, in the order of the documents, notes as comments on top."""
        notes = [f"# {each}" for each in (*self.notes, *self._unknown)]
        return "\n".join([*notes, *(line for key in _NATIVE for line in self._lines.get(key, ()))]) + "\n"

    def _take(self, key: str, value: Any) -> None:
        name = _plain(key)
        if key == "parameters" or (name in map(_plain, _PARAMETERS) and "parameters" not in self._content):
            self._foreign(key, key != "parameters")
            self._lines["parameters"] = ["parameters:", *self._parameters(value, key)]
        elif key == "split":
            if isinstance(value, Mapping):
                for part, dates in value.items():
                    self._date(f"split.{part}", dates)
        elif key in _NATIVE and not (key == "symbols" and isinstance(value, str)):
            self._lines[key] = [f"{key}: {_flow(value)}"]
        elif key == "symbols" or name in map(_plain, _SYMBOLS):
            self._foreign(key)
            symbols = value.replace(",", " ").split() if isinstance(value, str) else value
            self._lines["symbols"] = [f"symbols: {_flow(symbols)}"]
        elif name in map(_plain, _MEASURES):
            self._foreign(key)
            self._measure(key, str(value))
        elif not self._date(key, value):
            self._beside(key, value)

    def _foreign(self, what: str, is_foreign: bool = True) -> None:
        if is_foreign:
            self.found.append(what)

    def _measure(self, key: str, value: str) -> None:
        known = next(
            (each for each in ("sharpe", "sortino", "calmar", "cagr") if each in value.lower()), None
        )
        if known:
            self._lines["select_by"] = [f"select_by: {known}"]
        else:
            self.notes.append(
                f"{key} {value}: winners are chosen by sharpe, sortino, calmar or cagr (select_by)"
            )

    def _beside(self, key: str, value: Any) -> None:
        option = _OPTIONS.get(key.lower())
        if option is None and key.lower() not in _OF_STRATEGY:
            # Nobody's habit that we know: alone, it is a misspelling, which the grid file itself reports.
            self._unknown.append(f"{key}: is unknown here and was left out")
            return
        self._foreign(key)
        if option is None:
            self.notes.append(f"{key}: belongs in the strategy file (--strategy) or the instrument")
        elif option:
            self.notes.append(f"{key}: is an option of the command, {option.format(value)}")
        else:
            self.notes.append(f"{key}: has no counterpart and was left out")

    # Dates

    def _date(self, key: str, value: Any) -> bool:
        """Take a range, or an edge of one; whether the key speaks of dates."""
        inside = key.startswith("split.")
        name = _plain(key.removeprefix("split."))
        for part, names in _RANGES.items():
            for spelled in map(_plain, names):
                if name in (spelled, f"{spelled}range", f"{spelled}period", f"{spelled}dates"):
                    self._put(
                        part, key, _dates_in(value), native=inside and key[6:] == part and part != "test"
                    )
                    return True
                for edge, words in enumerate((_STARTS, _ENDS)):
                    ways = [f"{spelled}{_plain(word)}" for word in words]
                    ways += [f"{_plain(word)}{spelled}" for word in words]
                    if name in ways:
                        self._put(part, key, _edge(edge, value))
                        return True
        whole = {*map(_plain, _WHOLE)}
        for edge, words in enumerate((_STARTS, _ENDS)):
            if name in map(_plain, words):
                self._put("whole", key, _edge(edge, value))
                return True
        if name in whole and _dates_in(value):
            self._put("whole", key, _dates_in(value))
            return True
        return False

    def _put(self, part: str, key: str, dates: Sequence[date | None], *, native: bool = False) -> None:
        self._foreign(key, not native)
        there = self._ranges.setdefault(part, [None, None])
        for edge, day in enumerate(dates[:2]):
            there[edge] = day or there[edge]

    def _split(self) -> Iterator[str]:
        ranges = dict(self._ranges)
        if "test" in ranges:
            to = "holdout" if "validation" in ranges and "holdout" not in ranges else "validation"
            if to == "holdout":
                self.notes.append("test: is the hold-out here; validation chooses the winner")
            ranges.setdefault(to, ranges["test"])
        whole = ranges.pop("whole", None)
        if whole and "train" not in ranges and "validation" not in ranges:
            ranges["train"] = whole
            self.notes.append("one range only: declare a later one, validation: [first, last], to choose on")
        self._apart(ranges)
        known = [name for name in ("train", "validation", "holdout") if all(ranges.get(name, (None,)))]
        for name in ("train", "validation", "holdout"):
            if name in ranges and name not in known:
                self.notes.append(f"{name}: one of its two dates is missing, or is no date; give YYYY-MM-DD")
        if known:
            yield "split:"
            yield from (f"  {name}: [{ranges[name][0]}, {ranges[name][1]}]" for name in known)

    def _apart(self, ranges: dict[str, list[date | None]]) -> None:
        """End a range a day earlier where the next one starts on its last day."""
        order = [ranges[name] for name in ("train", "validation", "holdout") if name in ranges]
        for before, after in pairwise(order):
            if before[1] is not None and before[1] == after[0]:
                before[1] -= _DAY
                self.notes.append(
                    "ranges share no day: one that ended on the next one's first day ends before it"
                )

    # Parameters

    def _parameters(self, content: Any, key: str) -> Iterator[str]:
        self._foreign(
            f"{key} as a list",
            isinstance(content, list) and any(isinstance(each, Mapping) for each in content),
        )
        for name, value in self._flat(content):
            path = self._path(name)
            values, note = translated(value)
            if note is not None:
                self._foreign(f"{key}.{name}")
                if note:
                    self.notes.append(f"{path}: {note}")
            if path.endswith("percent") and path != name:
                values = self._percent(path, name, values)
            yield f"  {path}: {_flow(values)}"

    def _flat(self, content: Any) -> Iterator[tuple[str, Any]]:
        """Yield the entries; `entry: {high: [0.1, 0.2]}` is `entry.high`."""
        for name, value in _entries(content):
            inside = value.items() if isinstance(value, Mapping) else ()
            nested = {f"{name}.{key}": each for key, each in inside if isinstance(each, list | Mapping)}
            if nested and all(path in self._known for path in nested):
                self._foreign(name)
                yield from nested.items()
            else:
                yield name, value

    def _path(self, name: str) -> str:
        """Return the path of a parameter: `entry__high`, `entry_high` and usual names are understood."""
        if name in self._known or _FILTER.fullmatch(name):
            return name
        same = {_plain(path): path for path in self._known}
        same |= {_plain(alias): path for path, aliases in self._aliases.items() for alias in aliases}
        path = same.get(_plain(name))
        if path is None:
            self.notes.append(f"{name}: no parameter of the strategy by that name; see docs/experiments.md")
            return name
        self._foreign(name)
        return path

    def _percent(self, path: str, name: str, values: Any) -> Any:
        """Turn fractions into percents: a stop of 0.02, or of -0.02, is 2 percent."""
        numbers = list(values.values()) if isinstance(values, Mapping) else values
        known = [each for each in numbers if isinstance(each, int | float) and not isinstance(each, bool)]
        if not known or any(abs(each) > _FRACTION for each in known) or "percent" in name.lower():
            return values
        self.notes.append(f"{path}: fractions of {name} became percents")
        if isinstance(values, Mapping):
            low, high = sorted(round(abs(values[each]) * 100, DIGITS) for each in ("start", "stop"))
            return {"start": low, "stop": high, "step": round(values["step"] * 100, DIGITS)}
        return [each if each is None else round(abs(each) * 100, DIGITS) for each in values]


def _edge(edge: int, value: Any) -> list[date | None]:
    day = next(iter(_dates_in(value)), None)
    return [None, day] if edge else [day, None]


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


def _flow(value: Any) -> str:
    text = yaml.safe_dump(value, default_flow_style=True, width=math.inf, sort_keys=False)
    return text.removesuffix("...\n").strip()


def _entries(content: Any) -> Iterator[tuple[str, Any]]:
    """Yield (name, values) of a mapping, or of a list of `{name: …, values: …}` or `{path: values}`."""
    if isinstance(content, Mapping):
        yield from ((str(name), value) for name, value in content.items())
    for each in content if isinstance(content, list) else ():
        if isinstance(each, Mapping):
            named = next((key for key in ("name", "path", "parameter", "param", "key") if key in each), None)
            if named is None:
                yield from ((str(name), value) for name, value in each.items())
            else:
                rest = {key: value for key, value in each.items() if key != named}
                yield str(each[named]), rest


def _dates_in(value: Any) -> list[date]:
    """Return the dates of a value: a date, a text with one or two, a list, or start and end by name."""
    if isinstance(value, datetime):
        return [value.date()]
    if isinstance(value, date):
        return [value]
    if isinstance(value, Mapping):
        edges = {str(key).lower(): each for key, each in value.items()}
        value = [first_of(edges, _STARTS), first_of(edges, _ENDS)]
    if isinstance(value, list | tuple):
        return [day for each in value for day in _dates_in(each)]
    found = []
    for text in _DATE.findall(str(value)):
        digits = re.sub(r"\D", "", text)
        try:
            found.append(date(int(digits[:4]), int(digits[4:6]), int(digits[6:])))
        except ValueError:
            continue
    return found

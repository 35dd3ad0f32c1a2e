"""A dialogue about a data file, at whose end the user's instruments file has a source that reads it."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from rich.console import Console

from lockstep.errors import ConfigError, DataError
from lockstep.files import replace_file
from lockstep.market.bars import Bars
from lockstep.market.command_line import reading_instruments
from lockstep.market.config import InstrumentBook, instruments_content, load_instruments, shipped_config
from lockstep.market.reading.files import Loaded, read_bars, read_ticks
from lockstep.market.reading.guess import SELECT, Guess, guess
from lockstep.market.reading.guess_stamps import Question
from lockstep.market.reading.table import read_unchanged
from lockstep.market.session_template import known_timezone
from lockstep.market.source import SUFFIXES, Source
from lockstep.market.ticks import Ticks
from lockstep.settings import suggestion, validated
from lockstep.tables import TextTable, number

_SHOWN = 5
# More bars than this share outside the session: the time zone, or what a stamp means, is probably wrong.
_MANY_OUTSIDE = 0.05
_NEW_SHARE = "{session: NYSE, multiplier: 1, tick_size: 0.01, commission: {per_share: 0.005, minimum: 1.00}}"

Ask = Callable[[str, str], str]


@dataclass(frozen=True, kw_only=True)
class SourceRequest:
    """What a source is wanted of.

    file     the data file
    target   the user's instruments file, which need not be there yet
    symbol   "": by the file's name, or asked
    name     of the source; "": by folder and timeframe
    known    what is known of the file, see `guess`
    usual    whether commands read the target without being told
    yes      ask nothing: what is open is refused, and the entry is written
    """

    file: Path
    target: Path
    symbol: str = ""
    name: str = ""
    adjustment: str = ""
    known: Mapping[str, str]
    usual: bool = True
    yes: bool = False


def add_source(request: SourceRequest, console: Console, ask: Ask) -> None:
    """Guess the layout, show bars as they would be read, and write the entry if that is wanted.

    ask   puts a question with its likely answer ("" for none) and returns the answer

    ConfigError and DataError, before anything is written, where the file cannot be read or is open to several
    readings that nobody chooses between.
    """
    if request.target.resolve() == shipped_config("instruments.yml").resolve():
        raise ConfigError(f"{request.target}: is the shipped file; an update would lose what you add there")
    file = request.file.resolve()
    data = read_unchanged(file)
    book = load_instruments()
    _show_top(console, file, data)
    symbol = _symbol(request, book, ask)
    found = _settled(request, file, data, ask)
    values = _entry(request, found, file, symbol, ask)
    name = request.name or _free_name(file, str(found.keys["timeframe"]), book)
    if name in book.sources:
        raise ConfigError(f"source {name}: is declared already; give another --name")
    source = validated(Source, {"name": name, **values}, where=f"source {name}")
    _show(console, book, symbol, source, file)
    console.print(_written({name: values}), markup=False, highlight=False)
    if not request.yes and ask(f"Write this to {request.target}? (yes, no)", "no").lower() not in (
        "y",
        "yes",
    ):
        console.print("nothing was written")
        return
    _write(request.target, name, values)
    _say_next(console, request, name, symbol, file)


# ---- questions


def _symbol(request: SourceRequest, book: InstrumentBook, ask: Ask) -> str:
    tokens = re.split(r"[^A-Za-z0-9-]+", request.file.name)
    named = {each for each in book.instruments if each.upper() in {token.upper() for token in tokens}}
    likely = named.pop() if len(named) == 1 else ""
    if request.yes and not (request.symbol or likely):
        raise ConfigError(f"{request.file}: its name tells no symbol; give --symbol ES")
    symbol = request.symbol or likely if request.yes else request.symbol or ask("Which symbol is it?", likely)
    if symbol not in book.instruments:
        near = suggestion(symbol, book.instruments).partition("; known")[0]
        way = f"add it under instruments in {request.target} first, such as {symbol}: {_NEW_SHARE}"
        raise ConfigError(f"symbol {symbol!r}: not declared{near}; {way}")
    return symbol


def _settled(request: SourceRequest, file: Path, data: bytes, ask: Ask) -> Guess:
    """Return a guess that leaves no question open."""
    known = dict(request.known)
    while (found := guess(file, data, known)).question is not None:
        if request.yes:
            raise ConfigError(f"{request.file}: {_as_refusal(found.question)}")
        known[found.question.key] = _answer(found.question, ask)
    return found


def _as_refusal(question: Question) -> str:
    key, given = question.key, "VALUE"
    if key.startswith(SELECT):
        key, given = "select", f"{key.removeprefix(SELECT)}=VALUE"
    readings = "; ".join(f"{value}: {means}" if means else value for value, means in question.choices.items())
    listed = f" ({readings})" if readings else ""
    return f"{question.text}{listed} Give --{key.replace('_', '-')} {given}"


def _answer(question: Question, ask: Ask) -> str:
    """Return an answer that the question allows; a choice may be given by its number."""
    choices = list(question.choices)
    lines = [
        question.text,
        *(f"  {i}  {each}  {question.choices[each]}" for i, each in enumerate(choices, 1)),
    ]
    while True:
        given = ask("\n".join(line.rstrip() for line in lines), question.likely).strip()
        if choices and given.isdigit() and 1 <= int(given) <= len(choices) and given not in choices:
            return choices[int(given) - 1]
        if given in choices or (not choices and _is_usable(question.key, given)):
            return given
        lines = [f"{given!r} cannot be used: {'give one of the choices' if choices else question.text}"]


def _is_usable(key: str, given: str) -> bool:
    if key != "timezone":
        return bool(given)
    try:
        return bool(given) and known_timezone(given) == given
    except ValueError:
        return False


# ---- the entry


def _entry(request: SourceRequest, found: Guess, file: Path, symbol: str, ask: Ask) -> dict[str, Any]:
    """Return the values of the source, with a preset in place of all that it says."""
    stem, suffix = _parts(file.name)
    pattern = re.sub(
        rf"(?<![A-Za-z0-9]){re.escape(symbol)}(?![A-Za-z0-9])", "{symbol}", stem, count=1, flags=re.I
    )
    place: dict[str, Any] = {"folder": file.parent.name, "file": pattern}
    if suffix not in SUFFIXES:
        place["suffix"] = suffix
    if "{symbol}" not in pattern:
        place["symbols"] = [symbol]
    adjustment = request.adjustment
    if not adjustment and not request.yes:
        choices = {"none": "", "difference": "by adding", "ratio": "by multiplying"}
        question = Question(
            "adjustment", "How were rolls or dividends taken out of the prices?", choices, "none"
        )
        adjustment = _answer(question, ask)
    explicit = {**place, **found.keys, "adjustment": adjustment or "none"}
    short = _by_preset(explicit, found.like)
    return explicit if short is None else short


def _parts(name: str) -> tuple[str, str]:
    """Return the stem and the suffix of a file's name, the suffix in lower case."""
    end = next((each for each in (".csv.gz", ".txt.gz") if name.lower().endswith(each)), Path(name).suffix)
    return name[: len(name) - len(end)], end.lower()


def _by_preset(explicit: Mapping[str, Any], like: str | None) -> dict[str, Any] | None:
    """Return the entry with `like` and without what the preset says; None where the file differs from it."""
    if like is None:
        return None
    wanted = _values(explicit)
    kept = {"like": like, **explicit}
    for key in [each for each in explicit if each not in ("folder", "timeframe", "adjustment")]:
        shorter = {name: value for name, value in kept.items() if name != key}
        if _values(shorter) == wanted:
            kept = shorter
    return kept if _values(kept) == wanted else None


def _values(entry: Mapping[str, Any]) -> dict[str, Any] | None:
    try:
        values = validated(Source, {"name": "x", **entry}, where="preset").model_dump(mode="json")
    except ConfigError:
        return None
    columns = values.get("columns", {})
    lower = {name: [str(each).lower() for each in theirs] for name, theirs in columns.items()}
    return {**values, "columns": lower}


def _free_name(file: Path, timeframe: str, book: InstrumentBook) -> str:
    folder = re.sub(r"[^a-z0-9]+", "_", file.parent.name.lower()).strip("_") or "files"
    names = (f"{folder}_{timeframe}", *(f"{folder}_{timeframe}_{count}" for count in range(2, 1_000)))
    return next(each for each in names if each not in book.sources)


# ---- what is shown


def _show_top(console: Console, file: Path, data: bytes) -> None:
    console.print(f"{file}: {len(data):,} bytes", soft_wrap=True, highlight=False)
    if file.suffix.lower() not in (".parquet", ".gz"):
        encoding = "utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8"
        for line in data[:2_000].decode(encoding, errors="replace").splitlines()[:3]:
            console.print(f"  {line}", soft_wrap=True, highlight=False, markup=False)


def _show(console: Console, book: InstrumentBook, symbol: str, source: Source, file: Path) -> None:
    """Read the file and print its first and last bars with the moments at which they are complete."""
    session = book.session_named(source.session or book.instrument(symbol).session)
    loaded: Loaded[Bars] | Loaded[Ticks]
    if source.timeframe is None:
        loaded = read_ticks(file, symbol=symbol, source=source)
        moments, columns = loaded.data.stamp, {"price": loaded.data.price, "volume": loaded.data.volume}
    else:
        loaded = read_bars(file, symbol=symbol, source=source, session=session)
        moments, columns = loaded.data.end, dict(loaded.data.columns())
    zone = session.template.timezone
    title = "trade at" if source.timeframe is None else "complete at"
    table = TextTable(f"{title} (UTC)", f"({zone})", *(number(name) for name in columns))
    count = moments.size
    for row in dict.fromkeys((*range(min(_SHOWN, count)), *range(max(0, count - _SHOWN), count))):
        moment = np.datetime64(int(moments[row]), "ns")
        prices = (f"{values[row]:.10g}" for values in columns.values())
        table.add_row(_utc(moment), _local(moment, zone), *prices)
    console.print(table)
    kind = "trades" if source.timeframe is None else f"bars of {source.spelled_timeframe}"
    console.print(f"{count:,} {kind}, those above are the first and the last", highlight=False)
    for finding in loaded.findings:
        console.print(finding, soft_wrap=True, highlight=False, markup=False)
    if source.timeframe is not None and not source.timeframe.is_session:
        outside = int(count - np.count_nonzero(session.in_session(moments, source.timeframe)))
        if outside > _MANY_OUTSIDE * count:
            line = f"outside the session {session.template.name}: {outside:,} of {count:,} bars"
            console.print(f"{line}; are time zone and stamp right?", soft_wrap=True, highlight=False)


def _utc(moment: np.datetime64) -> str:
    return str(np.datetime_as_string(moment, unit="s")).replace("T", " ")


def _local(moment: np.datetime64, zone: str) -> str:
    import pandas as pd

    return str(pd.Timestamp(moment).tz_localize("UTC").tz_convert(zone).strftime("%a %Y-%m-%d %H:%M"))


def _say_next(console: Console, request: SourceRequest, name: str, symbol: str, file: Path) -> None:
    with reading_instruments(str(request.target)):
        book = load_instruments()
    frame = book.sources[name].timeframe
    first = book.source(symbol, file.parent, timeframe=frame)[0].name if frame is not None else name
    named = "" if first == name else f" --source {name}"
    if not request.usual:
        named += f" --instruments {shlex.quote(str(request.target))}"
    console.print(f"written to {request.target}", soft_wrap=True, highlight=False)
    if first != name:
        console.print(f"source {first} comes first in this folder, so name yours:", highlight=False)
    folder = shlex.quote(str(file.parent))
    line = f"python -m research.backtest_runner --symbol {symbol} --data-dir {folder}{named}"
    console.print(line, soft_wrap=True, highlight=False, markup=False)


# ---- writing


def _write(target: Path, name: str, values: Mapping[str, Any]) -> None:
    """Add the entry to the user's file, all else of which stays as it is; atomically."""
    where = target.resolve()
    before = where.read_text(encoding="utf-8") if where.is_file() else ""
    text = with_source(before, name, values)
    expected = dict(instruments_content(where)) if before else {}
    expected["sources"] = {**(expected.get("sources") or {}), name: dict(values)}
    if yaml.safe_load(text) != expected:
        raise ConfigError(
            f"{target}: sources cannot be added to as it is written; add the entry above by hand"
        )
    try:
        where.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(f"{target}: {error.strerror}: cannot be written; check the folder") from error
    replace_file(where, text, error=DataError)


def with_source(text: str, name: str, values: Mapping[str, Any]) -> str:
    r"""Return the text of an instruments file with one more source at the end of its section.

    Comments and layout stay. What the section is, YAML decides: the caller compares contents.

    >>> print(with_source("sources:  # mine\n  a: {folder: x}\n", "b", {"folder": "y"}), end="")
    sources:  # mine
      a: {folder: x}
      b:
        folder: y
    """
    lines = text.splitlines(keepends=True)
    if lines and not lines[-1].endswith("\n"):
        lines[-1] += "\n"
    begins = re.compile(r"sources:\s*(\{\s*\}|null|~)?\s*(#.*)?$")
    start = next((i for i, line in enumerate(lines) if begins.match(line)), None)
    if start is None:
        return "".join([*lines, "\n" if lines else "", "sources:\n", _written({name: values}, 2)])
    lines[start] = re.sub(r"^sources:\s*(\{\s*\}|null|~)", "sources:", lines[start])
    stop = next((i for i in range(start + 1, len(lines)) if re.match(r"[^\s#]", lines[i])), len(lines))
    entries = [line for line in lines[start + 1 : stop] if re.match(r" +[^\s#]", line)]
    indent = len(entries[0]) - len(entries[0].lstrip(" ")) if entries else 2
    while stop > start + 1 and not re.match(r" +[^\s#]", lines[stop - 1]):
        stop -= 1
    return "".join([*lines[:stop], _written({name: values}, indent), *lines[stop:]])


def _written(entry: Mapping[str, Any], indent: int = 0) -> str:
    """Return one entry as YAML: a key per line, lists and mappings within it in brackets."""
    ((name, values),) = entry.items()
    lines = [f"{name}:", *(f"{' ' * (indent or 2)}{_line(key, value)}" for key, value in values.items())]
    return "".join(f"{' ' * indent}{line}\n" for line in lines)


def _line(key: str, value: Any) -> str:
    style: dict[str, Any] = {"allow_unicode": True, "sort_keys": False, "width": 1_000}
    if isinstance(value, list | Mapping):
        return f"{key}: {yaml.safe_dump(value, default_flow_style=True, **style).strip()}"
    return str(yaml.safe_dump({key: value}, default_flow_style=False, **style)).strip()

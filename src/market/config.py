"""`InstrumentBook`: instruments, sessions and sources, shipped (`instruments.yml`) and the user's own.

The user's file has the same sections. Its entries come on top of the shipped ones; one that has a shipped
entry's name replaces it, which is said once.
"""

from __future__ import annotations

import functools
import logging
import multiprocessing
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from pydantic import BaseModel

from lockstep.desk import desk_folder
from lockstep.errors import ConfigError, DataError
from lockstep.identity import json_digest
from lockstep.market.exception_lists import with_listed
from lockstep.market.history import Market
from lockstep.market.instrument import COMMISSION_EXAMPLES, Instrument, traded_symbol
from lockstep.market.session_template import SessionTemplate
from lockstep.market.sessions import Session
from lockstep.market.source import Source
from lockstep.market.timeframe import Timeframe
from lockstep.settings import Settings, parse_yaml, read_bytes, suggestion, validated

Entry = TypeVar("Entry", SessionTemplate, Source, Instrument)

_PACKAGE = Path(__file__).resolve().parents[1]
# Inside the package when installed from a wheel, beside it in a checkout.
_PLACES = (_PACKAGE / "configs", _PACKAGE.parent / "configs")
_SECTIONS = ("sessions", "sources", "instruments")
# Read by `lockstep.market.families`.
_ALSO = ("families",)

USER_FILE_VARIABLE = "LOCKSTEP_INSTRUMENTS"
"""Environment variable: the user's instruments file; empty: none."""

# Calendars of futures exchanges, by each name that exchange_calendars knows.
_FUTURES_CALENDARS = frozenset(
    "CMES CME CBOT COMEX NYMEX IEPA ICE ICEUS NYFE XEUR EUREX XCBF CFE us_futures".split()
)
# What digests always contain. A field that came later counts once it differs from its default, so that a new
# version of the program does not void evidence on instruments that declare nothing new.
_FIRST_FIELDS: Mapping[type[BaseModel], frozenset[str]] = {
    Instrument: frozenset(
        "symbol multiplier tick_size size_step currency commission slippage_ticks session pair"
        " proxy_of".split()
    ),
    SessionTemplate: frozenset("name calendar timezone open close grid".split()),
    Source: frozenset(
        "name folder package file symbols timeframe stamp timezone stamp_format session adjustment"
        " usable_from".split()
    ),
}
_LOGGER = logging.getLogger("lockstep.instruments")
_said: set[str] = set()


class _Declared(NamedTuple):
    """An entry as a file gives it."""

    file: Path
    values: object


class InstrumentBook(Settings):
    """Instruments, sessions and sources as declared in instruments.yml, by name.

    >>> from lockstep.market import load_instruments
    >>> book = load_instruments()
    >>> book.instrument("ES").tick_size, book.instrument("ES").session
    (0.25, 'CME')
    """

    sessions: dict[str, SessionTemplate]
    sources: dict[str, Source]
    instruments: dict[str, Instrument]

    def instrument(self, symbol: str) -> Instrument:
        """Return the instrument; ConfigError with the nearest symbol where there is none.

        symbol   or the name of a lane that trades it, which the instrument then bears
        """
        traded = traded_symbol(symbol)
        if traded not in self.instruments:
            raise ConfigError(
                f"symbol {traded!r}: not in instruments.yml{suggestion(traded, self.instruments)}"
            )
        return self.instruments[traded].named(symbol)

    def session(self, symbol: str) -> Session:
        """Return the session that an instrument trades in; every caller gets the same object."""
        return self.session_named(self.instrument(symbol).session)

    def session_named(self, name: str) -> Session:
        """Return the session of a template."""
        if name not in self.sessions:
            raise ConfigError(f"session {name!r}: not in instruments.yml{suggestion(name, self.sessions)}")
        return _session_of(self.sessions[name])

    def market(self, symbol: str) -> Market:
        """Return the instrument with its session."""
        return Market(instrument=self.instrument(symbol), session=self.session(symbol))

    @property
    def markets(self) -> dict[str, Market]:
        """The market of every declared symbol."""
        return {symbol: self.market(symbol) for symbol in self.instruments}

    def markets_with(self, lanes: Iterable[str]) -> dict[str, Market]:
        """Return the market of every declared symbol, and those that lanes trade by the lanes' names."""
        return self.markets | {lane: self.market(lane) for lane in lanes}

    def digest(self, symbols: Iterable[str], sources: Iterable[str]) -> str:
        """Return the SHA-256 (hex) of all that is declared of these symbols and sources and their sessions.

        Values count, not how the file writes them, nor what else it declares, nor display names.
        ConfigError where one of them is not declared.
        """
        instruments = [self.instrument(symbol) for symbol in sorted(set(symbols))]
        read = [self.source_named(name) for name in sorted(set(sources))]
        named = {*(each.session for each in instruments), *(each.session for each in read)}
        sessions = sorted(named - {""})
        content = {
            "instruments": [_content(each, Instrument, exclude={"name"}) for each in instruments],
            "sources": [_content(each, Source) for each in read],
            "sessions": [_content(self.session_named(name).template, SessionTemplate) for name in sessions],
        }
        return json_digest(content)

    def sources_of(
        self, symbols: Iterable[str], folder: Path | None, name: str | None = None
    ) -> tuple[str, ...]:
        """Return the names of the sources that bars of the symbols in `folder` may come from, sorted.

        folder, name   as in `source`; whether the files are there does not matter
        """
        found = {each.name for symbol in symbols for each in self._declared(symbol, folder, name)}
        return tuple(sorted(found))

    def source_named(self, name: str) -> Source:
        """Return a source; ConfigError with the nearest name where there is none."""
        if name not in self.sources:
            raise ConfigError(f"source {name!r}: not in instruments.yml{suggestion(name, self.sources)}")
        return self.sources[name]

    def source(
        self,
        symbol: str,
        folder: Path | None = None,
        *,
        timeframe: Timeframe | None = None,
        name: str | None = None,
    ) -> tuple[Source, Path]:
        """Return the source that bars of `symbol` come from, and its file.

        Candidates are the sources, in the order of the file, whose `folder` pattern matches the name of
        `folder` (None: those that come with an installed package), that hold the symbol, and whose file is
        there; `name` picks one of any folder name. Without a timeframe the first one is taken; with one,
        that of exactly this timeframe, else the coarsest that it can be made of. A source that names no
        session has the instrument's.
        """
        own = {"session": self.instrument(symbol).session}
        if name is not None:
            self.source_named(name).require_for(symbol, folder)
        declared = self._declared(symbol, folder, name)
        read = [source if source.session else source.model_copy(update=own) for source in declared]
        found = [(source, path) for source in read if (path := source.find(symbol, folder))]
        if not found:
            raise DataError(_no_file(symbol, folder, declared))
        usable = [pair for pair in found if timeframe is None or _makes(pair[0].timeframe, timeframe)]
        if not usable:
            there = ", ".join(f"{path.name} ({source.spelled_timeframe})" for source, path in found)
            raise DataError(f"{symbol} {timeframe}: cannot be made of {there}; choose a longer timeframe")
        if timeframe is None:
            return usable[0]
        return max(usable, key=lambda pair: _coarseness(pair[0].timeframe))

    def _declared(self, symbol: str, folder: Path | None, name: str | None) -> list[Source]:
        if name is not None:
            return [self.source_named(name)]
        matching = [source for source in self.sources.values() if source.matches(folder)]
        declared = [source for source in matching if source.holds(symbol)]
        if not declared:
            raise ConfigError(_no_source(symbol, folder, self.sources.values()))
        return declared


def _no_source(symbol: str, folder: Path | None, sources: Iterable[Source]) -> str:
    if folder is None:
        held = ", ".join(pattern for source in sources if source.package for pattern in source.symbols)
        return f"{symbol}: no data comes with Lockstep (only for {held}); give a data folder"
    names = ", ".join(source.name for source in sources if source.folder)
    rule = f"no source describes it; declare one in instruments.yml, or name one of {names}"
    return f"{symbol} in folder {folder}: {rule}"


def _no_file(symbol: str, folder: Path | None, declared: list[Source]) -> str:
    stems = ", ".join(sorted({source.stem(symbol) for source in declared}))
    where = f"folder {folder}" if folder else f"package {declared[0].package}"
    return f"{symbol}: no file {stems} (.csv, .csv.gz or .parquet) in {where}; check the folder"


def _makes(base: Timeframe | None, wanted: Timeframe) -> bool:
    """Whether bars of `wanted` are those of `base`, or can be made of them."""
    if base is None or base == wanted:
        return True
    if base.is_session or wanted.is_session:
        return wanted.is_session
    return wanted.minutes > base.minutes and wanted.minutes % base.minutes == 0


def _coarseness(timeframe: Timeframe | None) -> float:
    if timeframe is None:
        return 0.0
    return float("inf") if timeframe.is_session else float(timeframe.minutes)


@functools.cache
def _session_of(template: SessionTemplate) -> Session:
    return Session(template)


def shipped_config(name: str) -> Path:
    """Return a file of `configs/`, of the checkout or of the installed package: `instruments.yml`."""
    for folder in _PLACES:
        if (folder / name).is_file():
            return folder / name
    raise ConfigError(f"{name}: not found in {' or '.join(map(str, _PLACES))}; give its path")


def default_user_file() -> Path:
    """Return where the user's instruments file is looked for.

    `instruments.yml` of the desk folder that the working folder is in; elsewhere it is
    `~/.config/lockstep/instruments.yml`, where XDG_CONFIG_HOME, if set, replaces `~/.config`.
    """
    if (desk := desk_folder()) is not None:
        return desk.instruments
    base = os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config"
    return Path(base) / "lockstep" / "instruments.yml"


def user_file() -> Path | None:
    """Return the user's instruments file: that of LOCKSTEP_INSTRUMENTS, else the default one where it exists.

    ConfigError where LOCKSTEP_INSTRUMENTS names no file; set but empty, it means none.
    """
    named = os.environ.get(USER_FILE_VARIABLE)
    if named is None:
        return path if (path := default_user_file()).is_file() else None
    if named and not Path(named).expanduser().is_file():
        raise ConfigError(f"{USER_FILE_VARIABLE} {named}: no such file; correct the path, or unset it")
    return Path(named).expanduser() if named else None


def load_instruments(path: Path | None = None) -> InstrumentBook:
    """Read what is declared: the shipped `instruments.yml` with the user's file (`user_file`) on top of it.

    path   read this file alone; it must declare all that its entries name

    ConfigError names the file and the entry that is wrong; an unknown key is answered with the nearest one.
    """
    files = [path] if path is not None else [shipped_config("instruments.yml"), user_file()]
    contents = tuple((each, read_bytes(each)) for each in files if each is not None)
    return _book(contents, shipped_config("exceptions.csv"), complete=path is not None)


@functools.lru_cache(maxsize=8)
def _book(files: tuple[tuple[Path, bytes], ...], lists: Path, *, complete: bool) -> InstrumentBook:
    """Return the book of these files with these contents: YAML and rules take a quarter of a second.

    lists   the shipped lists of exceptions
    """
    merged = _merged(files, complete=complete)
    merged["sessions"] = _with_exceptions(merged["sessions"], lists)
    book = InstrumentBook(
        sessions=_entries(merged, "sessions", SessionTemplate, "name"),
        sources=_entries(merged, "sources", Source, "name"),
        instruments=_entries(merged, "instruments", Instrument, "symbol"),
    )
    _require_known_names(merged, book)
    return book


def _merged(files: Sequence[tuple[Path, bytes]], *, complete: bool) -> dict[str, dict[str, _Declared]]:
    """Return the entries of each section by name, those of later files on top.

    complete   every section must be there
    """
    merged: dict[str, dict[str, _Declared]] = {section: {} for section in _SECTIONS}
    for file, text in files:
        content = _sections(file, text, complete=complete)
        for section in _SECTIONS:
            found = content.get(section)
            if found is None and not complete:
                continue
            if not isinstance(found, Mapping):
                fault = " is missing; add it, with" if section not in content else ": expected"
                raise ConfigError(f"{file}: section {section}{fault} entries by name")
            for name, values in found.items():
                before = merged[section].get(str(name))
                if before is not None and before.values != values:
                    _say_once(f"{file}: {section}.{name} replaces that of {before.file}")
                merged[section][str(name)] = _Declared(file, values)
    return merged


def instruments_content(file: Path) -> Mapping[str, Any]:
    """Return what an instruments file holds, by section; ConfigError for any key that is no section."""
    return _sections(file, read_bytes(file), complete=False)


def _sections(file: Path, text: bytes, *, complete: bool) -> Mapping[str, Any]:
    content = parse_yaml(text, file)
    if content is None and not complete:
        return {}
    if not isinstance(content, Mapping):
        raise ConfigError(f"{file}: expected a mapping with {', '.join(_SECTIONS)}")
    for key in content:
        if key not in (*_SECTIONS, *_ALSO):
            raise ConfigError(f"{file}: unknown key {key!r}{suggestion(str(key), (*_SECTIONS, *_ALSO))}")
    return content


def _say_once(line: str) -> None:
    """Log a line, once, and by the process that the user started: its workers read the same files."""
    if line not in _said and multiprocessing.parent_process() is None:
        _LOGGER.warning(line)
    _said.add(line)


def _with_exceptions(sessions: Mapping[str, _Declared], lists: Path) -> dict[str, _Declared]:
    """Return the declared sessions with the lists of exceptions that they name."""
    return {
        name: _Declared(file, with_listed(values, lists, f"{file}: sessions.{name}"))
        for name, (file, values) in sessions.items()
    }


def _entries(
    merged: Mapping[str, Mapping[str, _Declared]], section: str, model: type[Entry], key: str
) -> dict[str, Entry]:
    return {
        name: validated(model, _named(values, key, name), where=f"{file}: {section}.{name}")
        for name, (file, values) in merged[section].items()
    }


def _named(values: object, key: str, name: str) -> object:
    return {key: name, **values} if isinstance(values, Mapping) else values


def _require_known_names(merged: Mapping[str, Mapping[str, _Declared]], book: InstrumentBook) -> None:
    """Raise ConfigError where an entry names another one that is not there, or leaves its costs open."""
    for symbol, instrument in book.instruments.items():
        place = f"{merged['instruments'][symbol].file}: instruments.{symbol}"
        _require_known(f"{place}.session", instrument.session, book.sessions)
        _require_known(f"{place}.pair", instrument.pair, book.instruments)
        _require_known(f"{place}.proxy_of", instrument.proxy_of, book.instruments)
        _require_commission(place, instrument, book.sessions[instrument.session])
    for name, source in book.sources.items():
        place = f"{merged['sources'][name].file}: sources.{name}"
        _require_known(f"{place}.session", source.session or None, book.sessions)


def _require_known(place: str, name: str | None, known: Mapping[str, object]) -> None:
    if name is not None and name not in known:
        raise ConfigError(f"{place} {name!r}: not declared{suggestion(name, known)}")


def _require_commission(place: str, instrument: Instrument, session: SessionTemplate) -> None:
    """Raise ConfigError where what an order costs is left to a default that is one of futures."""
    if "commission" not in instrument.model_fields_set and session.calendar not in _FUTURES_CALENDARS:
        raise ConfigError(
            f"{place}: commission is missing, and only futures have a default (calendar {session.calendar} "
            f"is no futures exchange's); write commission: {COMMISSION_EXAMPLES}"
        )


def _content(entry: BaseModel, model: type[BaseModel], exclude: set[str] | None = None) -> dict[str, Any]:
    """Return the values of an entry that digests contain, see `_FIRST_FIELDS`."""
    changed = entry.model_dump(mode="json", exclude_defaults=True)
    return {
        name: value
        for name, value in entry.model_dump(mode="json", exclude=exclude).items()
        if name in _FIRST_FIELDS[model] or name in changed
    }

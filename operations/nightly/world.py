"""What a night finds: the bars of each symbol as they are now, and whether anything is new.

A file is read again only where its bytes changed since the last night, so that a night without news is over
in a moment.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path

import numpy as np

from lockstep.errors import LockstepError, PipelineError
from lockstep.identity import json_digest
from lockstep.live.config import LiveConfig
from lockstep.market.bars import Bars
from lockstep.market.config import InstrumentBook
from lockstep.market.loader import load_bars
from lockstep.market.sessions import Session
from operations.nightly.config import NightlyConfig
from operations.watch.config import MonitoringConfig

FACTS = "ingest.json"


@dataclass(frozen=True, kw_only=True)
class SymbolBars:
    """The bars of a symbol as a night finds them.

    files     SHA-256 (hex) of each file that is read for it, by path
    bars      how many there are; newest: date of the newest complete session, ISO
    refusal   why they are not used tonight, one line; empty where they are. Then the others say what was
              there when they last were, and are empty where they never were
    """

    symbol: str
    files: Mapping[str, str]
    bars: int = 0
    newest: str = ""
    refusal: str = ""


@dataclass(frozen=True, kw_only=True)
class NightWorld:
    """What decides what a night does; symbols: by name, in the order of the configuration."""

    symbols: Mapping[str, SymbolBars]
    digest: str

    @property
    def usable(self) -> tuple[str, ...]:
        """The symbols whose bars are used."""
        return tuple(name for name, each in self.symbols.items() if not each.refusal)

    @property
    def refusals(self) -> tuple[str, ...]:
        """Why bars are not used, a line each."""
        return tuple(each.refusal for each in self.symbols.values() if each.refusal)

    @property
    def night(self) -> str:
        """The name of the night: its newest complete session; PipelineError where no bars can be used."""
        if not self.usable:
            raise PipelineError(f"no symbol has bars that can be used: {'; '.join(self.refusals)}")
        return max(self.symbols[name].newest for name in self.usable)


def look(
    config: NightlyConfig, before: Mapping[str, SymbolBars], book: InstrumentBook, now: datetime
) -> NightWorld:
    """Return what there is; `before` is what the last night found."""
    found = {symbol: _symbol(config, symbol, before.get(symbol), book, now) for symbol in config.symbols}
    parts = [
        config.model_dump(mode="json", exclude={"spaces", "results", "log", "keep_nights", "alerts"}),
        [each.digest for each in config.spaces],
        {name: asdict(each) for name, each in found.items()},
        {str(path): _state(path) for path in _outside(config)},
    ]
    return NightWorld(symbols=found, digest=json_digest(parts))


def known_bars(folder: Path | None) -> dict[str, SymbolBars]:
    """Return what the night found that left `folder`; nothing without one."""
    if folder is None or not (folder / FACTS).is_file():
        return {}
    found = json.loads((folder / FACTS).read_text(encoding="utf-8"))
    return {name: SymbolBars(**each) for name, each in found["symbols"].items()}


def _symbol(
    config: NightlyConfig, symbol: str, before: SymbolBars | None, book: InstrumentBook, now: datetime
) -> SymbolBars:
    try:
        files = dict(_files(config, symbol, book))
        if before is not None and before.files == files and not before.refusal:
            return before
        bars = load_bars(symbol, config.data_dir, book=book, source=config.source)
        newest = newest_session(bars, book.session(symbol), now)
        _require_grown(bars, newest, before)
    except (LockstepError, OSError) as error:
        refusal = " ".join(str(error).split())
        refusal = refusal if refusal.startswith(symbol) else f"{symbol}: {refusal}"
        known = before or SymbolBars(symbol=symbol, files={})
        return SymbolBars(
            symbol=symbol, files=known.files, bars=known.bars, newest=known.newest, refusal=refusal
        )
    return SymbolBars(symbol=symbol, files=files, bars=len(bars), newest=newest)


def _files(config: NightlyConfig, symbol: str, book: InstrumentBook) -> Iterator[tuple[str, str]]:
    """Yield the files of a symbol and of its pair, which is read where it is there."""
    _, path = book.source(symbol, config.data_dir, name=config.source)
    yield str(path), _digest(path)
    pair = book.instrument(symbol).pair
    if pair is not None:
        try:
            _, path = book.source(pair, config.data_dir, name=config.source)
        except LockstepError:
            return
        yield str(path), _digest(path)


def newest_session(bars: Bars, session: Session, now: datetime) -> str:
    """Return the date of the newest session that is complete at `now`, ISO.

    A session bar is complete when it ends; intraday bars are when their session has closed.
    """
    stamp = int(np.datetime64(now.replace(tzinfo=None), "ns").astype(np.int64))
    dates = session.dates(bars.end, bars.timeframe)
    ends = bars.end
    if not bars.timeframe.is_session:
        dates = np.unique(dates)
        ends = session.nominal_close(dates)
    there = int(np.searchsorted(ends, stamp, side="right"))
    if not there:
        raise PipelineError(f"{bars.source}: no session of it is complete at {now:%Y-%m-%d %H:%M} UTC")
    return str(dates[there - 1])


def _require_grown(bars: Bars, newest: str, before: SymbolBars | None) -> None:
    if before is None or not before.bars:
        return
    if len(bars) < before.bars or newest < before.newest:
        raise PipelineError(
            f"{bars.source}: has {len(bars):,} bars up to {newest}, and the last night saw {before.bars:,} "
            f"up to {before.newest}: a file that shrank is not used; fetch it again, or name another "
            "folder of results if it is meant"
        )


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _outside(config: NightlyConfig) -> Iterator[Path]:
    """Yield what else a night reads, which grows by itself: journals with their logs, configurations."""
    paths = [each for each in (config.journal, config.monitoring, config.retraining) if each is not None]
    if config.monitoring is not None:
        paths.append(LiveConfig.load(MonitoringConfig.load(config.monitoring).desk).journal)
    for path in paths:
        yield path
        yield path.with_name(f"{path.name}-wal")


def _state(path: Path) -> tuple[int, int] | None:
    """Return size and time of a file that is too large to be read for this; None where there is none."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_size, found.st_mtime_ns

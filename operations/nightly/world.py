"""What a night finds: the bars of each symbol as they are now, and whether anything is new.

A file is read again only where its bytes changed since the last night, so that a night without news is over
in a moment.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path

import numpy as np

from lockstep.errors import LockstepError, PipelineError
from lockstep.identity import json_digest
from lockstep.market.bars import Bars
from lockstep.market.config import InstrumentBook
from lockstep.market.loader import load_bars
from lockstep.market.sessions import Session
from operations.nightly.config import NightlyConfig
from operations.nightly.desk import desk_state, file_digests, journal_state, retraining_state

FACTS = "ingest.json"
BY = "pipeline"
"""Who does what a night does, for the records."""


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
    """What decides what a night does; symbols: by name, in the order of the configuration.

    digest       of all of it
    journal      state of the journal whose bars are seen first; desk: digest of the desk that is watched, and
                 retraining, of what people say to its retrainings; each empty without one, see `desk.py`
    """

    symbols: Mapping[str, SymbolBars]
    digest: str
    journal: str = ""
    desk: str = ""
    retraining: str = ""

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
    watched, again = config.monitoring, config.retraining
    outside = {
        "journal": "" if config.journal is None else journal_state(config.journal),
        "desk": "" if watched is None else json_digest(desk_state(watched, book, by=BY)),
        "retraining": "" if again is None else json_digest(retraining_state(again)),
    }
    parts = [
        config.model_dump(mode="json", exclude={"spaces", "results", "log", "keep_nights", "alerts"}),
        [each.digest for each in config.spaces],
        {name: asdict(each) for name, each in found.items()},
        outside,
    ]
    return NightWorld(symbols=found, digest=json_digest(parts), **outside)


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
        files = dict(file_digests([symbol], config.data_dir, config.source, book))
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

"""An epoch is bound to the instruments that it trades and reads, and to a processor that keeps denormals."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lockstep.errors import FloatModeError, JournalError
from lockstep.floats import EXACT, require_exact
from lockstep.identity import library_versions
from lockstep.live.codec import content_of
from lockstep.live.config import LiveConfig
from lockstep.live.epochs import declared_hashes
from lockstep.live.events import EngineStarted, Event
from lockstep.live.journal import Journal
from lockstep.live.messages import SetRecord
from lockstep.live.service import Service
from lockstep.market.config import InstrumentBook, load_instruments
from support import desks, float_modes, papers
from support.papers import COMP, SPX

TAILED = [
    {"kind": "tail", "symbol": symbol, "path": f"{symbol}.csv", "source": source}
    for symbol, source in (("COMP", "futures_1min"), ("SPX", "futures_1min"))
]


@pytest.fixture(scope="module")
def book() -> InstrumentBook:
    return load_instruments()


def with_tick(book: InstrumentBook, symbol: str) -> InstrumentBook:
    changed = book.instrument(symbol).model_copy(update={"tick_size": 0.5})
    return book.model_copy(update={"instruments": {**book.instruments, symbol: changed}})


def rows(folder: Path) -> list[SetRecord | Event]:
    with Journal.open(folder / "live.db", readonly=True) as journal:
        return list(journal.entries(1))


def run(folder: Path, sets: int) -> None:
    with Service(folder / "live.yml", mode=None, environment={}, stop_after=sets) as service:
        service.run()


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A desk of COMP that has decided three times."""
    folder = tmp_path_factory.mktemp("desk")
    papers.store(folder / "store")
    papers.config(folder)
    run(folder, 3)
    return folder


def test_an_epoch_records_its_instruments_and_a_start_its_floating_point_mode(
    desk: Path, book: InstrumentBook
) -> None:
    with Journal.open(desk / "live.db", readonly=True) as journal:
        (epoch,) = journal.epochs()
        start = next(iter(journal.events(EngineStarted)))
    libraries = {f"library {name}" for name in library_versions()}
    here = {"code", "config", "machine", "feed replay", *libraries}
    read = {name for name in epoch.hashes if name.startswith("feature ")}
    assert set(epoch.hashes) == {"instruments", *here, *read}
    assert "feature ibs" in read
    assert epoch.hashes["instruments"] == book.digest(["COMP", "SPX"], ["embedded_comp", "embedded_spx"])
    assert content_of(start) == {"replayed": 0, "floats": EXACT}


@pytest.mark.parametrize("symbol", ["COMP", "SPX"])
def test_a_changed_tick_size_ends_an_epoch(
    desk: Path, book: InstrumentBook, symbol: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """PARITY 37, of what is traded and of what is only read."""
    before = rows(desk)
    monkeypatch.setattr("lockstep.live.service.load_instruments", lambda: with_tick(book, symbol))
    with pytest.raises(JournalError, match="instruments changed since epoch 1 of the journal was begun; if"):
        run(desk, 1)
    assert rows(desk) == before


def test_another_instrument_is_none_of_its_business(
    desk: Path, book: InstrumentBook, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lockstep.live.service.load_instruments", lambda: with_tick(book, "GC"))
    before = len([row for row in rows(desk) if isinstance(row, SetRecord)])
    run(desk, 1)
    assert len([row for row in rows(desk) if isinstance(row, SetRecord)]) == before + 1


def test_the_sources_of_tailed_files_count(tmp_path: Path, book: InstrumentBook) -> None:
    keys = [COMP, SPX]

    def declared(source: str, **feeds: Any) -> dict[str, str]:
        changed = book.sources[source].model_copy(update={"timezone": "Asia/Tokyo"})
        other = book.model_copy(update={"sources": {**book.sources, source: changed}})
        config = LiveConfig.load(papers.config(tmp_path, **feeds))
        assert declared_hashes({}, keys, config, book) == declared_hashes({}, reversed(keys), config, book)
        return {
            "before": declared_hashes({}, keys, config, book),
            "after": declared_hashes({}, keys, config, other),
        }

    for source, feeds, counts in (
        ("futures_1min", {"feeds": TAILED}, True),
        ("embedded_spx", {"feeds": TAILED}, False),
        ("embedded_spx", {}, True),
        ("futures_1min", {}, False),
    ):
        found = declared(source, **feeds)
        assert (found["before"] != found["after"]) is counts, (source, feeds)


@pytest.fixture
def switched() -> Iterator[None]:
    """Switch the floating-point mode back."""
    yield
    float_modes.switch()


def test_an_engine_whose_thread_begins_to_drop_denormals_stops(tmp_path: Path, switched: None) -> None:
    """As when a new version brings a library that is imported while the desk trades."""
    require_exact()
    journal, models = desks.MemoryJournal(), {"COMP": desks.model()}

    def look() -> None:
        if len(journal.sets) == 5:
            float_modes.switch(float_modes.FLUSH)

    outside = desks.FakeOutside(on_look=look)
    engine = desks.engine(tmp_path, models, journal, desks.history(420), warm=400, outside=outside)
    with pytest.raises(FloatModeError, match="flushed to zero"):
        engine.run()
    float_modes.switch()
    assert len(journal.sets) == 5, "what was decided before is kept, nothing after it"

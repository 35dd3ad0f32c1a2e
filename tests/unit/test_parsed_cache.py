"""Parsed files that are kept: found for the same bytes and declaration only, and never trusted blindly."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from lockstep.errors import SourceChanged
from lockstep.market.bars import Bars
from lockstep.market.reading import files, parsed_cache
from lockstep.market.sessions import Session
from lockstep.market.source import Source
from support.markets import CME, NYSE
from support.vendor_files import DAYS, HEADER, at, daily, loaded, minutes, table, written

TEXT = table(HEADER, at("2024-01-02 {}"))


@pytest.fixture(autouse=True)
def _own_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(parsed_cache, "WORTH", 1)
    monkeypatch.setenv("LOCKSTEP_CACHE_DIR", str(tmp_path / "cache"))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "data"
    path.mkdir()
    return path


def entries() -> list[Path]:
    where = parsed_cache.folder()
    return sorted(where.iterdir()) if where.is_dir() else []


def unread(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make every reader fail: what loads then comes from the cache."""
    for reader in ("typed_table", "table_of"):
        monkeypatch.setattr(files, reader, lambda *_: pytest.fail("parsed again"))


def same(one: Bars, other: Bars) -> bool:
    return one.content_hash == other.content_hash and one.source == other.source


@pytest.mark.parametrize("text", [TEXT, TEXT.replace("4780.25", '"4780.25"')])
def test_the_second_load_parses_nothing(folder: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    path, source = written(folder, text), minutes()
    first = loaded(path, source)
    assert len(entries()) == 1
    unread(monkeypatch)
    second = loaded(path, source)
    assert same(first.data, second.data)
    assert (second.rows, second.rejected, second.findings) == (3, (), ())
    assert not second.data.close.flags.writeable
    moved = written(folder, text, "NQ_bt.csv")
    again = loaded(moved, minutes(name="other", folder="elsewhere")).data
    assert again.close.tolist() == first.data.close.tolist()
    with pytest.raises(pytest.fail.Exception, match="parsed again"):
        loaded(path, minutes(stamp="close"))


def key(source: Source, session: Session | None = CME, head: bytes = b"h", digest: str = "d") -> str:
    return parsed_cache.key(head, digest, source, session)


@pytest.mark.parametrize(
    "changed",
    [
        {"digest": "e"}, {"head": b"g"}, {"session": NYSE}, {"session": None},
        {"session": Session(CME.template.model_copy(update={"close": "16:00"}))},
        *({"source": minutes(**each)} for each in (
            {"stamp": "close"}, {"timezone": "Asia/Tokyo"}, {"scale": 0.01}, {"columns": {"close": "Last"}},
            {"decimal": ","}, {"order": "any"}, {"ignore": ["symbol"]}, {"timeframe": "5min"},
        )),
    ],
)  # fmt: skip
def test_whatever_decides_the_bars_is_in_the_key(changed: dict[str, Any]) -> None:
    given: dict[str, Any] = {"source": minutes(), "session": CME, "head": b"h", "digest": "d"}
    assert key(**(given | changed)) != key(**given)
    assert key(**(given | {"source": minutes(name="x", folder="y", file="z", symbols=["ES"])})) == key(
        **given
    )


def test_other_code_and_other_libraries_have_entries_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    before = key(minutes())
    parsed_cache._code.cache_clear()
    monkeypatch.setattr(parsed_cache, "library_versions", lambda names: dict.fromkeys(names, "9"))
    other = key(minutes())
    parsed_cache._code.cache_clear()
    monkeypatch.setattr(parsed_cache, "code_hash", lambda root: f"edited {root}")
    assert len({before, other, key(minutes())}) == 3
    parsed_cache._code.cache_clear()


@pytest.mark.parametrize("how", ["truncated", "one bit", "no Arrow", "empty", "another entry"])
def test_a_damaged_entry_is_ignored_and_written_again(
    folder: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    path = written(folder, TEXT)
    first = loaded(path, minutes()).data
    (entry,) = entries()
    sound = entry.read_bytes()
    at_close = sound.index(first.close.tobytes())
    flipped = sound[:at_close] + bytes([sound[at_close] ^ 1]) + sound[at_close + 1 :]
    damaged = {"truncated": sound[:-40], "one bit": flipped, "no Arrow": b"x" * 99, "empty": b""}.get(how)
    if damaged is None:
        parsed_cache.keep("other", {"datetime": first.end})
        damaged = entry.with_name("other.arrow").read_bytes()
    entry.write_bytes(damaged)
    assert same(loaded(path, minutes()).data, first)
    assert entry.read_bytes() == sound
    unread(monkeypatch)
    assert same(loaded(path, minutes()).data, first)


def test_only_files_without_any_finding_are_kept(folder: Path) -> None:
    loaded(written(folder, TEXT.rstrip()), minutes())
    loaded(written(folder, TEXT.replace("4781.5,", "x,")), minutes(), quarantine=True)
    assert entries() == []
    loaded(written(folder, TEXT), minutes(), quarantine=True)
    assert len(entries()) == 1


def test_small_files_are_not_kept(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parsed_cache, "WORTH", len(TEXT) + 1)
    loaded(written(folder, TEXT), minutes())
    assert entries() == []


def test_the_entries_used_longest_ago_go_first(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    texts = [TEXT.replace("1200", str(1200 + i)) for i in range(3)]
    loaded(written(folder, texts[0]), minutes())
    size = entries()[0].stat().st_size
    monkeypatch.setattr(parsed_cache, "LIMIT", 2 * size)
    loaded(written(folder, texts[1]), minutes())
    used, unused = entries()
    for entry in (used, unused):
        os.utime(entry, (1_000, 1_000))
    assert parsed_cache.load(used.stem) is not None
    loaded(written(folder, texts[2]), minutes())
    assert used in entries()
    assert unused not in entries()
    assert len(entries()) == 2


def test_a_folder_that_cannot_be_written_to_is_no_failure(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file is in the way")
    assert len(loaded(written(folder, TEXT), minutes()).data) == 3


def test_the_folder_may_be_deleted_while_bars_are_mapped(folder: Path) -> None:
    path = written(folder, TEXT)
    first = loaded(path, minutes()).data
    mapped = loaded(path, minutes()).data
    for entry in entries():
        entry.unlink()
    assert same(mapped, first)
    assert same(loaded(path, minutes()).data, first)


def test_a_large_file_that_changes_while_it_is_read_is_refused_and_not_kept(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = written(folder, TEXT)
    read = files.typed_table

    def growing(*given: Any) -> Any:
        path.write_text(TEXT + "2024-01-02 14:33,1,1,1,1,1\n")
        return read(*given)

    monkeypatch.setattr(files, "typed_table", growing)
    with pytest.raises(SourceChanged, match="changed while it was read"):
        loaded(path, minutes())
    assert entries() == []


def test_parquet_and_days_are_kept_too(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = folder / "ES_bt.parquet"
    prices = {"open": 1.0, "high": 2.0, "low": 0.5, "close": 1.5}
    pd.DataFrame({"datetime": DAYS, **prices, "volume": 7}).to_parquet(path)
    first = loaded(path, daily()).data
    unread(monkeypatch)
    assert same(loaded(path, daily()).data, first)

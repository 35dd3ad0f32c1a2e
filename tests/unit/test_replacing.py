"""Files and folders are replaced in one step: `lockstep.files`."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from lockstep.errors import DataError, StoreFailure
from lockstep.files import remove_leftovers, replace_file, replacing, replacing_folder


def test_a_file_is_replaced_whole_and_nothing_is_left_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")
    with replacing(path) as temporary:
        temporary.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


def test_a_block_that_fails_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")

    def fail() -> None:
        with replacing(path) as temporary:
            temporary.write_text("half")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_the_error_is_the_callers(tmp_path: Path) -> None:
    missing = tmp_path / "no" / "a.txt"
    with pytest.raises(DataError, match=r"a\.txt: cannot be written: .*; nothing was changed"):
        replace_file(missing, "x", error=DataError)
    with pytest.raises(StoreFailure):
        replace_file(missing, b"x")


def test_a_folder_is_replaced_whole(tmp_path: Path) -> None:
    path = tmp_path / "run"
    for number in (1, 2):
        with replacing_folder(path) as temporary:
            (temporary / f"{number}.txt").write_text(str(number))
            assert path.exists() is (number == 2)
    assert [each.name for each in path.iterdir()] == ["2.txt"]
    assert list(tmp_path.iterdir()) == [path]
    assert path.stat().st_mode & 0o777 == 0o755


def test_a_folder_that_cannot_be_put_in_place_leaves_the_old_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "run"
    with replacing_folder(path) as temporary:
        (temporary / "old.txt").write_text("old")
    real = os.replace

    def failing(source: Path, target: Path) -> None:
        if Path(target) == path and Path(source).suffix == ".tmp":
            raise OSError(28, "No space left on device")
        real(source, target)

    monkeypatch.setattr(os, "replace", failing)
    with pytest.raises(OSError, match="No space"), replacing_folder(path) as temporary:
        (temporary / "new.txt").write_text("new")
    assert [each.name for each in path.iterdir()] == ["old.txt"]
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("durable", [True, False])
def test_only_what_is_durable_waits_for_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, durable: bool
) -> None:
    synced = []
    real = os.fsync
    monkeypatch.setattr(os, "fsync", lambda handle: synced.append(handle) or real(handle))
    replace_file(tmp_path / "a.txt", "x", durable=durable)
    assert bool(synced) is durable


def test_what_killed_writers_left_is_removed(tmp_path: Path) -> None:
    (tmp_path / ".a.txt.7-1.tmp").touch()
    (tmp_path / ".b.txt.7-1.tmp").touch()
    remove_leftovers(tmp_path / "a.txt")
    assert [each.name for each in tmp_path.iterdir()] == [".b.txt.7-1.tmp"]

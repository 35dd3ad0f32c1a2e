"""Network drives by the mount table, and the two databases with a write-ahead log that must not be on one."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import pytest

from lockstep import drives
from lockstep.drives import drive_of
from lockstep.errors import ExperimentError, JournalError
from lockstep.live.journal import Journal
from research.ledger.database import Database

TABLE = r"""/dev/vda / ext4 rw,relatime 0 0
proc /proc proc rw 0 0
server:/export {root}/mnt nfs4 rw,vers=4.2 0 0
/dev/vdb {root}/mnt/fast xfs rw 0 0
//server/data {root}/my\040share cifs rw 0 0
me@host: {root}/remote fuse.sshfs rw 0 0
drvfs {root}/host 9p rw 0 0
short line
"""


@pytest.fixture
def root(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    table = tmp_path / "mounts"
    table.write_text(TABLE.replace("{root}", str(tmp_path)))
    monkeypatch.setattr(drives, "_TABLE", table)
    for name in ("mnt/fast", "my share", "remote", "host", "mntx"):
        (tmp_path / name).mkdir(parents=True)
    return tmp_path


@pytest.mark.parametrize(
    ("folder", "kind"),
    [
        ("mnt", "nfs4"), ("mnt/not/yet/there", "nfs4"), ("mnt/fast", "xfs"), ("mnt/fast/../slow", "nfs4"),
        ("my share", "cifs"), ("remote", "fuse.sshfs"), ("host", "9p"), ("mntx", "ext4"), (".", "ext4"),
    ],
)  # fmt: skip
def test_the_deepest_mount_is_the_drive(root: Path, folder: str, kind: str) -> None:
    drive = drive_of(root / folder / "live.db")
    assert drive is not None
    assert drive.kind == kind
    assert drive.is_network == (kind in ("nfs4", "cifs", "fuse.sshfs"))
    assert drive.is_shared == (kind == "9p")
    assert (drive.doubt is None) == (kind in ("xfs", "ext4"))


def test_links_relative_names_and_later_mounts(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (root / "link").symlink_to(root / "remote")
    drive = drive_of(root / "link" / "live.db")
    assert drive is not None
    assert drive.kind == "fuse.sshfs"
    monkeypatch.chdir(root / "mnt")
    drive = drive_of(Path("live.db"))
    assert drive is not None
    assert drive.kind == "nfs4"
    table = root / "mounts"
    table.write_text(table.read_text() + f"/dev/vdc {root}/mnt ext4 rw 0 0\n")
    drive = drive_of(Path("live.db"))
    assert drive is not None
    assert drive.kind == "ext4"


def test_this_machine_has_a_table_and_another_may_have_none(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(drives, "_TABLE", root / "nothing")
    assert drive_of(root) is None
    if Path("/proc/self/mounts").exists():
        monkeypatch.setattr(drives, "_TABLE", Path("/proc/self/mounts"))
        assert drive_of(Path(os.devnull)) is not None


def test_databases_on_a_network_drive_are_refused_and_nothing_is_written(root: Path) -> None:
    for folder in ("mnt", "my share", "remote"):
        place = root / folder / "live.db"
        with pytest.raises(
            JournalError, match=rf"live\.db: is on a network drive \(.* at {root}.*this machine"
        ):
            Journal.open(place)
        with pytest.raises(ExperimentError, match=r"is on a network drive .*; set LOCKSTEP_DB to a disk"):
            Database.open(f"sqlite:///{root / folder / 'new' / 'trials.db'}")
        assert [path.name for path in (root / folder).iterdir()] == (["fast"] if folder == "mnt" else [])


def test_a_folder_shared_with_the_host_is_warned_of(root: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "lockstep"):
        Journal.open(root / "host" / "live.db").close()
        Database.open(f"sqlite:///{root / 'host' / 'trials.db'}")
    said = [each.getMessage() for each in caplog.records]
    assert len(said) == 2
    assert all("is on a folder shared with the host (9p at" in each for each in said)


def test_a_disk_of_this_machine_is_not_spoken_of(root: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Negative control."""
    with caplog.at_level(logging.WARNING, "lockstep"):
        Journal.open(root / "mnt" / "fast" / "live.db").close()
        Database.open(f"sqlite:///{root / 'mntx' / 'trials.db'}")
    assert not caplog.records

"""Which drive a file is on: SQLite's write-ahead log needs one that belongs to this machine.

The log's index is memory that processes share, and its locks are those of the file system. On a network drive
neither holds: databases are locked for ever, lose commits or break (sqlite.org/wal.html, "All processes using
a database must be on the same host computer").
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

_TABLE = Path("/proc/self/mounts")

# As mount tables write them; `fuse.` and what follows is a program that serves files, these over a network.
_NETWORK = frozenset(
    "nfs nfs4 cifs smb3 smbfs smb2 ncpfs afs coda ceph glusterfs lustre beegfs gpfs gfs2 ocfs2 pvfs2 orangefs"
    " davfs davfs2 fuse.sshfs fuse.glusterfs fuse.ceph fuse.davfs2 fuse.s3fs fuse.goofys fuse.mount-s3"
    " fuse.gcsfuse fuse.blobfuse fuse.blobfuse2 fuse.rclone fuse.smbnetfs fuse.curlftpfs fuse.juicefs"
    " fuse.seaweedfs fuse.moosefs fuse.afp".split()
)
# Folders that a virtual machine or WSL takes from its host: locks hold among processes on one side at most.
_SHARED = frozenset("9p v9fs virtiofs vboxsf fuse.vmhgfs-fuse vmhgfs prl_fs drvfs fuse.grpcfuse".split())


class Drive(NamedTuple):
    """A mounted file system. kind: as the mount table names it, such as ext4 or nfs4."""

    point: Path
    kind: str

    @property
    def is_network(self) -> bool:
        """Whether other machines serve its files."""
        return self.kind in _NETWORK

    @property
    def is_shared(self) -> bool:
        """Whether it is a folder of the host, seen from a virtual machine or from WSL."""
        return self.kind in _SHARED

    @property
    def doubt(self) -> str | None:
        """Return why no database may, or should, live there, as the end of a sentence; None where it may."""
        what = (
            "a network drive"
            if self.is_network
            else "a folder shared with the host"
            if self.is_shared
            else None
        )
        if what is None:
            return None
        return f"is on {what} ({self.kind} at {self.point}), where SQLite's locks do not work"


def drive_of(path: Path) -> Drive | None:
    """Return the drive that a file is on, or would be; None where this system has no mount table."""
    try:
        lines = _TABLE.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except OSError:
        return None
    whole = path.expanduser().resolve()
    # A later mount hides an earlier one on the same folder.
    drives = [Drive(Path(_plain(parts[1])), parts[2]) for line in lines if len(parts := line.split(" ")) > 2]
    within = [each for each in drives if whole.is_relative_to(each.point)]
    return max(reversed(within), key=lambda each: len(each.point.parts), default=None)


def _plain(text: str) -> str:
    r"""Return a folder of the mount table, in which a space is \040."""
    return re.sub(r"\\([0-7]{3})", lambda found: chr(int(found[1], 8)), text)

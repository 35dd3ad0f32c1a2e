"""The peers' rates on the bars and thresholds of the sweep's own measurement."""

from __future__ import annotations

import json
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.peers.environment import python
from lockstep.market.bars import Bars

_HERE = Path(__file__).resolve().parent


@dataclass(frozen=True, kw_only=True)
class Peer:
    """An engine; `bars` and `variants` are how many of them it is given, since the slow ones take hours."""

    name: str
    script: str
    bars: int
    variants: int
    repeats: int


@dataclass(frozen=True, kw_only=True)
class Rate:
    """What was measured: bar-variants per second, and the closed trades of its variants."""

    peer: Peer
    cells_per_second: float
    trades: tuple[int, ...]


PEERS = (
    Peer(name="vectorbt, Rust, 2 processes", script="run_vectorbt.py", bars=100_000, variants=100, repeats=5),
    Peer(name="backtesting.py", script="run_backtesting.py", bars=100_000, variants=2, repeats=2),
    Peer(
        name="Backtrader optstrategy, 2 processes",
        script="run_backtrader.py",
        bars=20_000,
        variants=4,
        repeats=2,
    ),
)


def rates(bars: Bars, pairs: Sequence[tuple[float, float]]) -> Iterator[Rate]:
    """Run every peer; PeersMissing where their environment cannot be built."""
    interpreter = python()
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "workload.npz"
        columns = {name: getattr(bars, name) for name in ("end", "open", "high", "low", "close")}
        np.savez(file, pairs=np.array(pairs), **columns)
        for peer in PEERS:
            yield _rate(interpreter, peer, file)


def _rate(interpreter: Path, peer: Peer, file: Path) -> Rate:
    sizes = (str(each) for each in (peer.bars, peer.variants, peer.repeats))
    done = subprocess.run(
        [str(interpreter), str(_HERE / peer.script), str(file), *sizes],
        cwd=_HERE,
        capture_output=True,
        text=True,
        check=True,
    )
    found = json.loads(done.stdout.strip().splitlines()[-1])
    return Rate(peer=peer, cells_per_second=found["cells_per_second"], trades=tuple(found["trades"]))

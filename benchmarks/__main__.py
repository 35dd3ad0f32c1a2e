"""Print what is promised beside what is measured: `make bench`."""

from __future__ import annotations

from itertools import chain

from rich.console import Console

from benchmarks.dashboard import dashboard
from benchmarks.engine import memory, overhead
from benchmarks.experiments import wide_grid
from benchmarks.features import batch, cold, streaming
from benchmarks.forward import evidence
from benchmarks.ledger import old_ledger
from benchmarks.live import live
from benchmarks.loading import loading
from benchmarks.long_run import long_run
from benchmarks.maximum import running_maximum
from benchmarks.models import one_row, rolling_back
from benchmarks.optimise import optimise
from benchmarks.peers.environment import PeersMissing
from benchmarks.portfolio import configurations, together
from benchmarks.quality import checking
from benchmarks.report import page
from benchmarks.specs import hashing
from benchmarks.startup import importing
from benchmarks.stress import gaps
from benchmarks.sweep import growth, of_specs, peers, throughput
from benchmarks.training import forests, search
from benchmarks.watching import watching
from lockstep.tables import TextTable, number, prose


def main() -> None:
    """Run every measurement; a promise that is not kept is shown, and is no failure of this command."""
    numbers = map(number, ("value", "promise", "of promise"))
    table = TextTable("measured", *numbers, prose("note"), title="100,000 hourly bars")
    single = (
        importing, cold, batch, streaming, overhead, together, configurations, gaps, memory,
        growth, running_maximum, one_row, rolling_back, evidence, checking,
    )  # fmt: skip
    several = (
        throughput(),
        of_specs(),
        wide_grid(),
        old_ledger(),
        live(),
        forests(),
        search(),
        loading(),
        page(),
        long_run(),
        hashing(),
        optimise(),
        watching(),
        dashboard(),
    )
    for result in chain((measurement() for measurement in single), *several):
        share = f"{result.value / result.promise:.0%}{'' if result.kept else '  missed'}"
        value = (
            f"{result.value:,.3g} {result.unit}"
            if result.value < 1000
            else f"{result.value:,.0f} {result.unit}"
        )
        table.add_row(result.what, value, f"{result.promise:g} {result.unit}", share, result.note)
    console = Console(width=140)
    console.print(table)
    try:
        console.print(peers())
    except PeersMissing as missing:
        console.print(f"no other engines to compare with: {missing}")


if __name__ == "__main__":
    main()

"""The files of a future's contracts, read as one series by its roll table."""

from __future__ import annotations

from pathlib import Path

from lockstep.errors import DataError
from lockstep.market import reach
from lockstep.market.bars import Bars
from lockstep.market.continuous import adjusted, stitched
from lockstep.market.reading.files import Loaded, read_bars
from lockstep.market.rolls import FOLDER, RollTable
from lockstep.market.sessions import Session
from lockstep.market.source import Source


def read_contract(
    path: Path, *, symbol: str, source: Source, session: Session, quarantine: bool = False
) -> Loaded[Bars]:
    """Read the file of one contract: its own prices, whatever the source makes of them all."""
    alone = source.model_copy(update={"adjustment": "none"})
    return read_bars(path, symbol=symbol, source=alone, session=session, quarantine=quarantine)


def read_contracts(
    table: Path, *, symbol: str, source: Source, session: Session, tick: float, quarantine: bool = False
) -> Loaded[Bars]:
    """Read the contracts that a roll table names, and join them; rows and rejects are those of all files.

    table   its path, which is what `InstrumentBook.source` returns; tick   points of a tick of the instrument

    DataError where the table names a contract of which there is no file, and as `RollTable.read` and
    `stitched`.
    """
    rolls = RollTable.read(table, symbol)
    if reach.UNTIL is not None:
        rolls = rolls.until(reach.UNTIL)
    folder = table.parent.parent if table.parent.name == FOLDER else table.parent
    files = source.contracts(symbol, folder)
    missing = [each for each in rolls.contracts if each not in files]
    if missing:
        raise DataError(f"{table}: {', '.join(missing)}: no such contract in {folder}; give its file")
    read = {
        each: read_contract(files[each], symbol=symbol, source=source, session=session, quarantine=quarantine)
        for each in rolls.contracts
    }
    bars = stitched(
        rolls, {name: each.data for name, each in read.items()}, session, tick, source=str(folder)
    )
    if source.adjustment == "difference":
        bars = adjusted(bars)
    rejected = tuple(fault for each in read.values() for fault in each.rejected)
    return Loaded(
        data=bars,
        source=source,
        rows=sum(each.rows for each in read.values()),
        rejected=rejected,
        rejected_path=next((each.rejected_path for each in read.values() if each.rejected_path), None),
        findings=tuple(
            f"{files[name].name}: {finding}" for name, each in read.items() for finding in each.findings
        ),
    )

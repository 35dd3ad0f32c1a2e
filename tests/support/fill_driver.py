"""A live desk whose broker reports its fills, in forked children that die by SIGKILL around each of them.

    fill_driver.py BARS FOLDER:never|FOLDER:killed|FOLDER:small...

FOLDER/url holds the address of the broker's server. A desk `small` dies too, and sends a tenth of its size as
MCOMP (`support/units.py`). A child dies at the first fill that it is about to
journal: the even ones before the transaction, the odd ones after it. Prints how many died.
"""

from __future__ import annotations

import os
import signal
import sys
import time
import traceback
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from lockstep.live.brokers.protocol import BrokerDesk
from lockstep.live.events import Event, FillReported, OrderSent
from lockstep.live.journal import Journal
from lockstep.live.journal.rows import StoredSet
from lockstep.live.messages import SetRecord
from lockstep.live.operator.statement import reported_ids
from lockstep.live.outside import BrokerFills
from lockstep.live.units import OutwardUnits
from lockstep.secrets import Secrets
from support import desks
from support.toys.broker import ToyBrokerSettings
from support.units import KNOWN

WARM = 400
PATIENCE = 10.0
MODEL = desks.model(threshold=0.0)


class Dying:
    """The real journal, whose process dies before or after it writes a fill."""

    def __init__(self, journal: Journal, fate: str) -> None:
        self._journal, self._fate = journal, fate

    def append_set(self, record: SetRecord) -> int:
        return self._journal.append_set(record)

    def append(self, *events: Event) -> tuple[int, ...]:
        fatal = any(event.kind == "fill" for event in events)
        if fatal and self._fate == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        written = self._journal.append(*events)
        if fatal and self._fate == "after":
            os.kill(os.getpid(), signal.SIGKILL)
        return written

    def recorded(self, epoch: int) -> Iterator[StoredSet | Event]:
        return self._journal.recorded(epoch)


class Hearing(desks.FakeOutside):
    """An outside that looks on only when every order that was sent has its fill: a replay does not wait."""

    def __init__(self, journal: Journal, fills: BrokerFills) -> None:
        super().__init__()
        self._journal, self._fills = journal, fills

    def commands(self) -> Sequence[Event]:
        deadline = time.monotonic() + PATIENCE
        sent = {event.order_id for event in self._journal.events(OrderSent)}
        booked = {event.order_id for event in self._journal.events(FillReported)}
        while sent - booked - {event.order_id for event in self._fills.read()}:
            assert time.monotonic() < deadline, f"no fill is heard: {self._fills.trouble}"
            time.sleep(0.002)
        return self._fills.read()

    def done(self, events: Sequence[Event]) -> None:
        self._fills.done(events)


def run(folder: Path, bars: int, fate: str, *, small: bool) -> None:
    """Run the desk until it dies or the history ends."""
    history, secrets = desks.history(WARM + bars), Secrets({})
    desk = BrokerDesk(
        markets={"COMP": history.markets["COMP"]}, secret=secrets.read, scrub=secrets.scrub, live=True
    )
    accounts = {"COMP": "NQ-1", "MCOMP": "MNQ-1"}
    settings = ToyBrokerSettings(accounts=accounts, url_file=folder / "url", seconds=5.0, every=0.03)
    connection = settings.connect(desk)
    with Journal.open(folder / "live.db") as journal:
        epoch = journal.newest_epoch()
        if epoch is None:
            first = desks.first_epoch({"COMP": MODEL}, history, WARM, mode="live")
            epoch = replace(first, number=journal.begin_epoch(first))
        assert connection.fills is not None
        seen = reported_ids(journal.events(FillReported))
        fills = BrokerFills(connection.fills, seen=seen, since=0, units=KNOWN)
        fills.start(lambda: None)
        desks.engine(
            folder, {"COMP": MODEL}, Dying(journal, fate), history, warm=WARM, epoch=epoch,
            broker=connection.orders, outside=Hearing(journal, fills), expire=10**18,
            units=OutwardUnits(known=KNOWN, stage={"COMP": "MCOMP"} if small else {}),
            fraction=0.1 if small else 1.0,
        ).run()  # fmt: skip
        fills.stop()


def main(bars: int, *desks_: str) -> int:
    """Run each desk, FOLDER:never, killed or small, until a child reaches the end; print how many died."""
    # What is loaded and compiled here need not be in every child.
    desks.engine(Path(), {"COMP": MODEL}, desks.MemoryJournal(), desks.history(WARM + bars), warm=WARM).run()
    for each in desks_:
        folder, _, how = each.rpartition(":")
        died = 0
        while (code := child(Path(folder), bars, how, died)) < 0:
            died += 1
        if code:
            return code
        print(died)
    return 0


def child(folder: Path, bars: int, how: str, died: int) -> int:
    """Run a desk in a child; return its exit code, negative for a signal."""
    pid = os.fork()
    if pid == 0:
        try:
            fate = "" if how == "never" else ("after" if died % 2 else "before")
            run(folder, bars, fate, small=how == "small")
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), *sys.argv[2:]))

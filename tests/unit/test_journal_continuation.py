"""The next epoch begins where the newest one stands, or does not begin."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import pytest

from lockstep.errors import JournalError
from lockstep.live.journal import Journal
from lockstep.live.journal.continuation import continued
from lockstep.live.messages import Epoch
from support import journals as make
from support.events import an_event
from support.journals import FLAT, HOUR, START, exactly

HASHES = {"code": "new"}
NOW = START + 99 * HOUR


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    with Journal.open(tmp_path / "live.db") as opened:
        yield opened


def next_epoch(journal: Journal, reason: str = "a new feature") -> Epoch:
    return continued(journal, reason=reason, now=NOW, hashes=HASHES)


def test_it_stands_where_the_newest_one_stood(journal: Journal) -> None:
    journal.begin_epoch(make.epoch(warm=2, states={**make.epoch().states, "6E": FLAT}))
    for number in range(1, 4):
        journal.append_set(make.bar_set(number))
    only_es = make.bar_set(4, symbols=("ES",))
    journal.append_set(only_es)
    found = next_epoch(journal)
    assert (found.number, found.mode, found.reason, found.started) == (2, "paper", "a new feature", NOW)
    assert found.hashes == HASHES
    assert exactly(found.states) == exactly(
        {"6E": FLAT}
        | {each.symbol: each.state for each in make.bar_set(3).lanes}
        | {"ES": only_es.lanes[0].state}
    )
    assert exactly(found.warmup) == exactly(
        {
            make.key(symbol): tuple((START + HOUR * number, make.bar(number)) for number in numbers)
            for symbol, numbers in {"ES": (3, 4), "NQ": (2, 3), "GC": (2, 3), "CL": (2, 3)}.items()
        }
    )
    assert journal.begin_epoch(found) == 2
    assert journal.verify() == []


def test_without_a_set_it_is_the_old_start_again(journal: Journal) -> None:
    first = make.epoch(states={"ES": make.lane("ES", 2).state})
    journal.begin_epoch(first)
    found = next_epoch(journal)
    assert exactly(found.states) == exactly(first.states)
    assert exactly(found.warmup) == exactly(first.warmup)
    assert found.bundles == first.bundles


def test_bundles_are_those_that_decided_or_took_over_since(journal: Journal) -> None:
    journal.begin_epoch(make.epoch(bundles={"ES": "old", "NQ": "kept", "GC": "old"}, states={}))
    journal.append(
        an_event("swap", symbol="ES", content={"to_sha256": "second"}),
        an_event("swap", symbol="GC", content={"to_sha256": "taken over"}),
    )
    lanes = (make.lane("ES", 1, bundle="second"),)
    journal.append_set(dataclasses.replace(make.bar_set(1), lanes=lanes))
    assert next_epoch(journal).bundles == {"ES": "second", "NQ": "kept", "GC": "taken over"}
    journal.append(an_event("swap", symbol="ES", content={"to_sha256": "third"}))
    assert next_epoch(journal).bundles["ES"] == "third"


def test_there_must_be_an_epoch_and_a_reason(journal: Journal) -> None:
    with pytest.raises(JournalError, match="no epoch yet"):
        next_epoch(journal)
    journal.begin_epoch(make.epoch())
    with pytest.raises(JournalError, match="needs a reason"):
        next_epoch(journal, "  ")


class TestUnsettled:
    """Set 8 leaves an order waiting in every lane."""

    ORDER = f"1-paper-ES-{START + 8 * HOUR}-entry-1"

    def begin(self, journal: Journal, mode: str = "shadow") -> None:
        journal.begin_epoch(make.epoch(mode=mode))
        journal.append_set(make.bar_set(8, symbols=("ES",)))

    def tell(self, journal: Journal, *kinds: str) -> None:
        journal.append(*(an_event(kind, symbol="ES", content={"order_id": self.ORDER}) for kind in kinds))

    @pytest.mark.parametrize("kinds", [("send",), ("send", "unknown")])
    def test_an_order_that_may_be_at_the_broker(self, journal: Journal, kinds: tuple[str, ...]) -> None:
        self.begin(journal)
        self.tell(journal, *kinds)
        with pytest.raises(JournalError, match=rf"{self.ORDER} may be at the broker \(`{kinds[-1]}`"):
            next_epoch(journal)

    def test_an_order_that_has_not_left(self, journal: Journal) -> None:
        self.begin(journal)
        with pytest.raises(JournalError, match=f"{self.ORDER} of ES has not been sent"):
            next_epoch(journal)

    def test_paper_orders_do_not_leave(self, journal: Journal) -> None:
        self.begin(journal, mode="paper")
        waiting = next_epoch(journal).states["ES"].waiting
        assert waiting is not None
        assert waiting.order_id == self.ORDER

    def test_an_order_that_was_taken(self, journal: Journal) -> None:
        self.begin(journal)
        self.tell(journal, "send", "acknowledged")
        assert next_epoch(journal).states["ES"].waiting is not None

    @pytest.mark.parametrize("kind", ["fill", "rejected", "resolved", "withdrawn"])
    def test_what_no_recorded_account_holds_yet(self, journal: Journal, kind: str) -> None:
        self.begin(journal, mode="live")
        self.tell(journal, "send", "acknowledged", kind)
        with pytest.raises(JournalError, match=rf"entry 4 \({kind}\) came after the last bar of its instr"):
            next_epoch(journal)
        journal.append_set(make.bar_set(9, symbols=("ES",)))
        assert next_epoch(journal).number == 2

    def test_what_an_earlier_epoch_left_open_is_its_own_matter(self, journal: Journal) -> None:
        self.begin(journal)
        self.tell(journal, "send", "unknown")
        journal.begin_epoch(make.epoch(mode="shadow"))
        assert next_epoch(journal).number == 3


def test_another_mode_begins_flat(journal: Journal) -> None:
    journal.begin_epoch(make.epoch())
    found = continued(journal, reason="roll-out", now=NOW, hashes=HASHES, mode="shadow")
    assert found.mode == "shadow"
    held = dataclasses.replace(FLAT, account=(1.0, 5_000.0, *FLAT.account[2:]))
    journal.begin_epoch(make.epoch(states={"ES": held}))
    with pytest.raises(JournalError, match="mode paper to live: ES has a position or an order waiting"):
        continued(journal, reason="roll-out", now=NOW, hashes=HASHES, mode="live")
    assert continued(journal, reason="upgrade", now=NOW, hashes=HASHES, mode="paper").mode == "paper"

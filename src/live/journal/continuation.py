"""The epoch after a deliberate change: it begins where the newest one stands."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple, get_args

from lockstep.errors import JournalError
from lockstep.live.events import (
    BarJudged,
    Event,
    ExitWithoutBar,
    FillReported,
    ModelSwapped,
    OrderEvent,
    OrderRejected,
    OrderResolved,
    OrderSent,
    OrderUnknown,
    OrderWithdrawn,
    PortfolioResumed,
)
from lockstep.live.journal.reader import JournalReader
from lockstep.live.journal.rows import read_state
from lockstep.live.journal.schema import COLUMNS
from lockstep.live.messages import Epoch, LaneState, Mode, symbol_of
from lockstep.strategy.matching import POSITION

_MovesAnAccount = FillReported | OrderRejected | OrderResolved | OrderWithdrawn | ExitWithoutBar


class SymbolPosition(NamedTuple):
    """Where a symbol stands: the set of its newest decision (0 for none), its bundle, its state."""

    sequence: int
    bundle: str
    state: LaneState


def continued(
    journal: JournalReader, *, reason: str, now: int, hashes: Mapping[str, str], mode: Mode | None = None
) -> Epoch:
    """Return an epoch that goes on from the newest recorded states of the newest one.

    mode   of the new epoch, None for the same; another one begins flat: simulated positions are not real

    Windows are warmed by as many bars as they were at its start, the newest in the journal. JournalError
    where there is no epoch or no reason, and where what is recorded is not settled: an order that may or may
    not be at the broker, or a fill that no recorded state holds yet.
    """
    if not reason.strip():
        raise JournalError("an epoch needs a reason: say what was changed, and why")
    newest = journal.newest_epoch()
    if newest is None:
        raise JournalError(f"journal {journal.path}: it has no epoch yet; the engine begins the first one")
    first = journal.first_entry(newest.number)
    positions = positions_of(journal, newest, first)
    events = [
        each
        for each in journal.events(*get_args(OrderEvent), BarJudged, PortfolioResumed)
        if each.sequence >= first
    ]
    found = next(_unsettled(newest, positions, events), "")
    if mode not in (None, newest.mode):
        found = found or next(_not_flat(positions, f"mode {newest.mode} to {mode}"), "")
    if found:
        raise JournalError(f"journal {journal.path}: {found}")
    return Epoch(
        number=newest.number + 1,
        mode=mode or newest.mode,
        reason=reason,
        started=now,
        hashes=dict(hashes),
        bundles=_bundles(
            newest, positions, [each for each in journal.events(ModelSwapped) if each.sequence >= first]
        ),
        warmup={key: journal.bars(key, limit=len(bars)) for key, bars in newest.warmup.items()},
        states={symbol: each.state for symbol, each in positions.items()},
    )


def positions_of(journal: JournalReader, newest: Epoch, first: int) -> dict[str, SymbolPosition]:
    """Return where each symbol stands since entry `first`; one without a decision stands as at the start."""
    begun = {
        symbol: SymbolPosition(0, newest.bundles.get(symbol, ""), state)
        for symbol, state in newest.states.items()
    }
    states = ", ".join(COLUMNS["states"][2:])
    decided = journal.select(
        f"SELECT max(sequence), symbol, bundle, {states} FROM decisions WHERE sequence >= ? GROUP BY symbol",
        first,
    )
    return begun | {row[1]: SymbolPosition(row[0], row[2], read_state(row[3:])) for row in decided}


def _bundles(
    newest: Epoch, positions: Mapping[str, SymbolPosition], swaps: Sequence[ModelSwapped]
) -> dict[str, str]:
    """Return the bundle of each symbol: the one that decided last, or that took over after it."""
    bundles = {**newest.bundles, **{symbol: each.bundle for symbol, each in positions.items()}}
    for swap in swaps:
        at = positions.get(swap.symbol)
        if at is None or swap.sequence > at.sequence:
            bundles[swap.symbol] = swap.to_sha256
    return bundles


def _not_flat(positions: Mapping[str, SymbolPosition], change: str) -> Iterator[str]:
    """Yield what forbids to change the mode."""
    for symbol, each in positions.items():
        if each.state.account[POSITION] or each.state.waiting is not None:
            yield f"{change}: {symbol} has a position or an order waiting, begin flat: use HALT with flatten"


def _unsettled(
    newest: Epoch, positions: Mapping[str, SymbolPosition], events: Sequence[Event]
) -> Iterator[str]:
    """Yield what forbids to begin an epoch, with what to do about it."""
    told = {event.order_id: event for event in events if isinstance(event, OrderEvent) and event.order_id}
    for order_id, newest_step in told.items():
        if isinstance(newest_step, OrderSent | OrderUnknown):
            kind = newest_step.kind
            yield f"order {order_id} may be at the broker (`{kind}` is the last of it): resolve it first"
    for symbol, each in positions.items():
        waiting = each.state.waiting
        if newest.mode != "paper" and waiting is not None and waiting.order_id not in told:
            yield f"order {waiting.order_id} of {symbol} has not been sent yet: run the engine until it has"
    last = max((each.sequence for each in positions.values()), default=0)
    for event in events:
        if isinstance(event, _MovesAnAccount):
            at = positions.get(event.symbol or symbol_of(event.order_id))
            if at is None or event.sequence > at.sequence:
                yield (
                    f"entry {event.sequence} ({event.kind}) came after the last bar of its instrument, whose"
                    " account does not hold it yet: run the engine until the next one"
                )
        elif isinstance(event, PortfolioResumed) and event.sequence > last:
            yield (
                f"entry {event.sequence} ({event.kind}) came after the last bar set, whose portfolio is"
                " still halted: run the engine until the next bar set"
            )
        elif isinstance(event, BarJudged) and event.decision == "accept" and event.sequence > last:
            yield (
                f"entry {event.sequence} (quarantine) came after the last bar set, whose windows do not hold"
                " the bar yet: run the engine until the next bar set"
            )

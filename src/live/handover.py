"""Handing an instrument from one version of its model to the next, at a bar boundary."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypedDict

from lockstep.errors import LockstepError
from lockstep.live.events import ModelSwapped, SwapPending, SwapWithdrawn
from lockstep.live.messages import Wanted
from lockstep.market.history import Market
from lockstep.strategy.matching import POSITION

if TYPE_CHECKING:
    # The configuration names the policies, and is read by programs that trade no model.
    from lockstep.live.traded import Memory, Seat, TradedModel

Policy = Literal["adopt", "manage_out", "flatten"]

_RETRY = 60_000_000_000
_NEW_EPOCH = "once it is flat, stop the engine and begin a new epoch: lockstep journal new-epoch"


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A version that is to take over from `present`; `obstacle` says why it cannot in the running desk.

    A version of no name and no bundle stands for none: nothing is to be traded, the present one leaves.
    """

    present: str
    model: TradedModel | None
    version: str
    sha256: str
    obstacle: str = ""

    @property
    def words(self) -> str:
        """What is going on, for people."""
        only = f"{self.present} opens nothing more, it may only leave"
        if self.obstacle:
            return f"{self.version}: {self.obstacle}; {only}" if self.version else f"{self.obstacle}; {only}"
        return f"{self.version} takes over once {self.present} is out; {only}"


class Handover:
    """Decides when a version takes over. It changes nothing itself: it says what is to be journaled.

    While a candidate is noted for a symbol, whatever keeps it waiting, the present version is superseded: it
    may leave its position and open nothing.

    policy   by symbol: `adopt` lets the new version manage an open position, `manage_out` waits until the
             old one has left it, `flatten` makes it leave at the next bar
    load     loads the bundle of a SHA-256 of a symbol
    fits     raises a LockstepError for a lane's name and a model that the desk's portfolio cannot take there;
             None: there is no portfolio
    """

    def __init__(
        self,
        policy: Mapping[str, Policy],
        load: Callable[[str, str], TradedModel],
        markets: Mapping[str, Market],
        memory: Memory,
        fits: Callable[[str, TradedModel], object] | None = None,
    ) -> None:
        self._fits = fits
        self._policy = policy
        self._load = load
        self._markets = markets
        self._memory = memory
        self._tried: dict[str, int] = {}
        self.candidates: dict[str, Candidate] = {}

    @property
    def superseded(self) -> dict[str, str]:
        """Symbols whose present version may only leave, and why in words."""
        return {symbol: candidate.words for symbol, candidate in self.candidates.items()}

    def consider(self, seat: Seat, wanted: Wanted) -> SwapPending | SwapWithdrawn | None:
        """Take note of the version that is to be traded; returns an event where that is news."""
        present = self.candidates.get(seat.symbol)
        if wanted.sha256 == seat.model.bundle.sha256:
            if self.candidates.pop(seat.symbol, None) is None:
                return None
            return SwapWithdrawn(**_change(seat, wanted.version, wanted.sha256), obstacle="")
        if present is not None and present.sha256 == wanted.sha256:
            if wanted.sha256 or present.obstacle == wanted.absence:
                return None
        candidate = self.candidate(seat, wanted)
        self.candidates[seat.symbol] = candidate
        change = _change(seat, candidate.version, candidate.sha256)
        return SwapPending(**change, obstacle=candidate.obstacle)

    def candidate(self, seat: Seat, wanted: Wanted) -> Candidate:
        """Load a version and find out whether it can take over in the running desk."""
        model, obstacle = None, wanted.absence
        if not obstacle:
            try:
                model = self._load(seat.symbol, wanted.sha256)
                obstacle = self._obstacle(seat, model)
                if not obstacle and self._fits is not None:
                    self._fits(seat.symbol, model)
            except LockstepError as error:
                obstacle = str(error)
        return Candidate(
            present=seat.model.bundle.version,
            model=model,
            version=wanted.version,
            sha256=wanted.sha256,
            obstacle=obstacle,
        )

    def try_again(self, seat: Seat, now: int) -> None:
        """Look at an obstacle again, once a minute: a bundle that was restored, a window that has filled."""
        found = self.candidates[seat.symbol]
        if not found.obstacle or not found.sha256 or now - self._tried.get(seat.symbol, 0) < _RETRY:
            return
        self._tried[seat.symbol] = now
        self.candidates[seat.symbol] = self.candidate(seat, Wanted(found.version, found.sha256))

    def _obstacle(self, seat: Seat, model: TradedModel) -> str:
        """Return why a version cannot take over now, empty where it can."""
        if model.key != seat.model.key:
            return f"it decides on {model.key}, the desk on {seat.model.key}; {_NEW_EPOCH}"
        for key, needed in model.needs(self._markets).items():
            there = self._memory.count(key)
            if there == 0 or needed > self._memory.size:
                return f"its windows need {needed} bars of {key}, which the desk does not keep; {_NEW_EPOCH}"
            if there < needed:
                return f"waits for bars of {key}: there are {there} of {needed} that its windows need"
        return ""

    def ready(self, seat: Seat, position: float, *, waiting: bool) -> Candidate | None:
        """Return the version that takes over now, None while there is none or it must wait."""
        candidate = self.candidates.get(seat.symbol)
        if candidate is None or candidate.obstacle or waiting:
            return None
        if position and self._policy.get(seat.symbol, "manage_out") != "adopt":
            return None
        return candidate

    def must_leave(self, symbol: str) -> bool:
        """Whether the present version has to leave its position for the next one."""
        candidate = self.candidates.get(symbol)
        return candidate is not None and not candidate.obstacle and self._policy.get(symbol) == "flatten"

    def policy(self, symbol: str) -> Policy:
        """Return the declared policy of a symbol, `manage_out` by default."""
        return self._policy.get(symbol, "manage_out")


def swap_event(seat: Seat, candidate: Candidate, policy: Policy, account: tuple[float, ...]) -> ModelSwapped:
    """Return the event that makes a version take over; it is journaled before it happens."""
    change = _change(seat, candidate.version, candidate.sha256)
    return ModelSwapped(**change, obstacle="", policy=policy, position=account[POSITION])


class _Change(TypedDict):
    """Fields of every event that tells of a change of versions."""

    symbol: str
    from_version: str
    from_sha256: str
    to_version: str
    to_sha256: str


def _change(seat: Seat, version: str, sha256: str) -> _Change:
    before = seat.model.bundle
    return _Change(
        symbol=seat.symbol,
        from_version=before.version,
        from_sha256=before.sha256,
        to_version=version,
        to_sha256=sha256,
    )


def wanted_by(event: SwapPending | SwapWithdrawn) -> Wanted:
    """Return the version that an event names."""
    absence = "" if event.to_sha256 else event.obstacle
    return Wanted(event.to_version, event.to_sha256, absence)

"""What passes between the lanes of one account and whoever admits their entries; knows no portfolio.

A bar set has two phases. In the first every lane decides on its own: exits are sent, an entry is only
proposed. In the second all proposals of the set are answered at once, then every lane acts on its answer.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from lockstep.strategy.decision import REFUSED
from lockstep.strategy.matching import Account

REFUSALS = (
    "halted", "daily_loss", "scale", "unknown", "rank", "positions", "contracts", "total_contracts",
    "weight_cap", "gross", "net", "group", "volatility", "margin", "other_arm",
)  # fmt: skip
"""Why a proposal is refused; decision codes are REFUSED + place, so the list only grows at its end."""


class LaneNews(NamedTuple):
    """What a lane says of its newest bar.

    close         points
    volatility    value of `Admissions.volatility_id`, fraction of the price a year; NaN: missing, not asked
    measure       what its size is worked out from, see `sizing.measured`; 0.0 for a fixed size
    probability   of the model that the trade wins; NaN without one
    score         value of `Admissions.rank_id`; NaN: missing or not asked
    quantity      contracts that the lane would enter with by its own rules, signed; 0.0: it proposes nothing
    """

    close: float
    volatility: float
    measure: float
    probability: float
    score: float
    quantity: float


class LaneStanding(NamedTuple):
    """What a lane has when all exits of the set are sent: its account, and whether an entry waits to fill."""

    account: Account
    is_entering: bool


class Admission(NamedTuple):
    """The answer to one proposal.

    code       the entry's own code, or REFUSED + place in REFUSALS
    quantity   contracts, signed; 0.0 where it is refused
    """

    code: int
    quantity: float


class Settled(NamedTuple):
    """The answers of one bar set, None for a lane that proposed nothing.

    flatten   whatever is open must leave
    """

    admissions: Sequence[Admission | None]
    flatten: bool


class Admissions(Protocol):
    """Whoever answers proposals; lanes are in the order of `symbols`, which is sorted.

    volatility_id, rank_id   ids of the decision vector that it wants of every lane, "" for none
    """

    symbols: tuple[str, ...]
    volatility_id: str
    rank_id: str

    def settle(
        self, stamp: int, news: Sequence[LaneNews | None], standing: Sequence[LaneStanding]
    ) -> Settled:
        """Answer the proposals of a set that ends at `stamp` (UTC ns), later than every set before.

        news       of each lane, None where it has no bar in this set
        standing   of each lane
        """


def refusal(code: int) -> str:
    """Return the rule of a decision's code from REFUSED on, as in REFUSALS."""
    return REFUSALS[code - REFUSED]

"""The verdict on a search, a model or a strategy: one of four words, and one reason.

no edge    the test against its benchmark does not reject luck, nor does the test against zero
drift      it earns, but no more than its benchmark did: the market held as much, or the strategy without the
           model
unproven   more than luck and more than the benchmark, or not testable from its history at all; and something
           that a promotion needs failed, is missing, or has not been asked yet
promoted   everything that a promotion needs was there when it was promoted

`verdict` says when each applies. No word is there for "promoted in spite of it": force puts a strategy into a
file, and its verdict stays what the evidence says.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from research.statistics.gate import FRESH, MAXIMUM, Check, GateEvidence, GateVerdict

Word = Literal["no edge", "drift", "unproven", "promoted"]
NO_EDGE, DRIFT, UNPROVEN, PROMOTED = get_args(Word)
WORDS: tuple[Word, ...] = get_args(Word)

NEXT = "every check passed; promotion is next"


@dataclass(frozen=True, kw_only=True)
class VerdictLine:
    """A word and the reason for it; `why` are all further reasons, the gravest first."""

    word: Word
    reason: str
    why: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.word}: {self.reason}"

    @property
    def is_loss(self) -> bool:
        """Whether a page shows it in the colour of losses."""
        return self.word in (NO_EDGE, DRIFT)


def verdict(
    *,
    edge: bool | None,
    profit: bool,
    because: str,
    lacking: Sequence[str] = (),
    promoted: bool = False,
    waiting: str = NEXT,
) -> VerdictLine:
    """Return the verdict; a pure function, and the only place that says when each word applies.

    edge      whether the test against the benchmark, after all that was tried, rejects luck; None where it
              was not made, or is not valid
    profit    whether the same test against zero rejects luck
    because   what the test against the benchmark said: the reason for `no edge` and `drift`
    lacking   what else failed or is missing, the gravest first; empty where nothing is
    promoted  whether it was promoted
    waiting   the reason for `unproven` where nothing is lacking

    | edge | profit | lacking | promoted | word |
    |---|---|---|---|---|
    | no | no | any | any | no edge |
    | no | yes | any | any | drift |
    | yes, none | any | something | any | unproven |
    | yes, none | any | nothing | no | unproven |
    | yes, none | any | nothing | yes | promoted |

    >>> str(verdict(edge=True, profit=True, because="", lacking=["the hold-out lost money"]))
    'unproven: the hold-out lost money'
    """
    if edge is False:
        return VerdictLine(word=DRIFT if profit else NO_EDGE, reason=because, why=tuple(lacking))
    if lacking:
        first, *rest = lacking
        return VerdictLine(word=UNPROVEN, reason=first, why=tuple(rest))
    if promoted:
        return VerdictLine(word=PROMOTED, reason="it kept to everything that a promotion asks")
    return VerdictLine(word=UNPROVEN, reason=waiting)


def of_gate(
    evidence: GateEvidence,
    found: GateVerdict,
    size: float,
    *,
    against_zero: float,
    further: Sequence[str] = (),
    promoted: bool = False,
    waiting: str = NEXT,
) -> VerdictLine:
    """Return the verdict on the winner of a search, from what the gate found.

    size          the largest admitted p-value, `GateLimits.size`
    against_zero  p-value of the same test without the market taken off; nan where it was not made
    further       refusals that are not the gate's: of the law, and of the hold-out

    The maximum test decides whether there is an edge. Where the search learned from earlier results it is not
    valid, and fresh evidence takes its place: enough of it is an edge, a null replay that does as well is
    none, and without either nothing is proven.
    """
    edge = _edge(evidence, found, size)
    lacking = [check.sentence for check in _by_weight(found) if edge is not False or check.name != MAXIMUM]
    return verdict(
        edge=edge,
        profit=against_zero <= size,
        because=_because(evidence, against_zero=against_zero, size=size),
        lacking=[*lacking, *further],
        promoted=promoted,
        waiting=waiting,
    )


def of_checks(
    found: GateVerdict,
    tests: Collection[str],
    *,
    profit: bool,
    drifts: str = "",
    promoted: bool = False,
    waiting: str = NEXT,
) -> VerdictLine:
    """Return the verdict on a version of a model or a strategy, from its checks.

    tests    names of the checks that test it against its benchmark: for an edge all that apply must pass; one
             that was not measured leaves it open
    profit   whether it earns at all, tested against zero
    drifts   how the reason begins where it does and the benchmark does as well
    """
    asked = [check for check in found.applicable if check.name in tests]
    failed = [check for check in asked if not check.passed and not math.isnan(check.value)]
    edge = False if failed else (True if asked and all(check.passed for check in asked) else None)
    because = failed[0].sentence if failed else ""
    return verdict(
        edge=edge,
        profit=profit,
        because=f"{drifts}{because}" if profit else because,
        lacking=[check.sentence for check in found.refusals if edge is not False or check != failed[0]],
        promoted=promoted,
        waiting=waiting,
    )


def _edge(evidence: GateEvidence, found: GateVerdict, size: float) -> bool | None:
    if any(check.name == FRESH and check.passed for check in found.applicable):
        return True
    p_value = evidence.p_value if evidence.searched == "declared" else evidence.replay_p
    if p_value is None or math.isnan(p_value):
        return None
    return p_value <= size


def _by_weight(found: GateVerdict) -> list[Check]:
    """Return the refusals: what the search cannot mend first, then in the order of the gate."""
    return sorted(found.refusals, key=lambda check: check.name not in (MAXIMUM, FRESH))


def _because(evidence: GateEvidence, *, against_zero: float, size: float) -> str:
    """Say what the test of the best found, as to a trader; only read where it did not reject."""
    adaptive = evidence.searched == "adaptive"
    p_value = (evidence.replay_p or math.nan) if adaptive else evidence.p_value
    if math.isnan(p_value):
        return ""
    if against_zero <= size:
        return (
            "it made money, but holding as much of the market all the time would have done so too; what its "
            f"timing adds, luck adds in {chance(p_value)}"
        )
    tried = "the same search on shifted decisions" if adaptive else f"the best of {_trials(evidence.trials)}"
    return f"{tried} without skill does as well in {chance(p_value)}; at most {percent(size)} is admitted"


def _trials(count: int) -> str:
    return f"{count:,} trials" if count != 1 else "one trial"


def chance(p_value: float) -> str:
    """Return a probability as a trader says it: `38 of 100 cases`, `fewer than 1 of 1,000 cases`."""
    if p_value < 0.001:
        return "fewer than 1 of 1,000 cases"
    if p_value < 0.0095:
        return f"{p_value * 1000:.0f} of 1,000 cases"
    return f"{p_value * 100:.0f} of 100 cases"


def percent(value: float) -> str:
    """Return a probability with two digits that count: `5%`, `0.76%`."""
    return f"{100.0 * value:.2g}%"

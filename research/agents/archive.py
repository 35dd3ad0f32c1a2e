"""The archive of a session: one elite for each niche, and the niches beside them that nobody has tried.

MAP-Elites: Mouret and Clune, Illuminating search spaces by mapping elites (2015), arXiv:1504.04909.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from research.agents.critic import may_win
from research.agents.proposal import CatalogueEntry, Niche, Trial

SIDES = ("long", "short", "both")
EXPOSURES = HOLDINGS = range(4)


# What the critic says of a trial, by the trial's identity: a session asks at every proposal again.
_able: dict[int, tuple[Trial, bool]] = {}
_MOST_KNOWN = 4096


def _may_win(trial: Trial) -> bool:
    known = _able.get(id(trial))
    if known is None or known[0] is not trial:
        if len(_able) >= _MOST_KNOWN:
            _able.clear()
        known = _able[id(trial)] = (trial, may_win(trial))
    return known[1]


def elites(trials: Iterable[Trial]) -> dict[Niche, Trial]:
    """Return the best trial of each niche that may win, the first of equal ones."""
    found: dict[Niche, Trial] = {}
    for each in trials:
        if each.niche is None or not _may_win(each):
            continue
        known = found.get(each.niche)
        if known is None or each.fitness > known.fitness:
            found[each.niche] = each
    return found


def open_niches(
    trials: Sequence[Trial], catalogue: Iterable[CatalogueEntry], *, most: int | None = None
) -> tuple[Niche, ...]:
    """Return niches that no trial lies in and that differ in one coordinate from an elite's, in one step.

    Those beside the best elites come first; each once. Families are those of the catalogue.
    """
    best = sorted(elites(trials).items(), key=lambda item: (-item[1].fitness, item[1].number))
    tried = {each.niche for each in trials if each.niche is not None}
    families = sorted({each.family for each in catalogue})
    found: dict[Niche, None] = {}
    for niche, _ in best:
        for each in _beside(niche, families):
            if each not in tried:
                found[each] = None
        if most is not None and len(found) >= most:
            break
    return tuple(found)[:most]


def _beside(niche: Niche, families: Sequence[str]) -> Iterator[Niche]:
    feature, side, exposure, holding = niche.feature, niche.side, niche.exposure, niche.holding
    for other in SIDES:
        if other != side:
            yield Niche(feature=feature, side=other, exposure=exposure, holding=holding)
    for step in (-1, 1):
        if exposure + step in EXPOSURES:
            yield Niche(feature=feature, side=side, exposure=exposure + step, holding=holding)
        if holding + step in HOLDINGS:
            yield Niche(feature=feature, side=side, exposure=exposure, holding=holding + step)
    for family in families:
        if family != feature:
            yield Niche(feature=family, side=side, exposure=exposure, holding=holding)

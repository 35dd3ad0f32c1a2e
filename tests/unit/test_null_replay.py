"""The null replay: shifts, ranks, and its size on searches whose real run is one of many alike."""

from __future__ import annotations

import math
import threading

import numpy as np
import pytest

from lockstep.errors import ConfigError
from research.statistics.null_replay import LEAST_SHIFT, null_replay, null_shifts

SIMULATED, BOUND = 200, 21


class TestShifts:
    @pytest.mark.parametrize("sessions", [522, 700, 1_006, 4_000])
    def test_are_different_and_far_enough_either_way(self, sessions: int) -> None:
        shifts = null_shifts(sessions)
        assert len(set(shifts)) == len(shifts) == min(99, sessions - 2 * LEAST_SHIFT + 1)
        assert all(min(each, sessions - each) >= LEAST_SHIFT for each in shifts)

    def test_are_those_of_the_seed(self) -> None:
        assert null_shifts(2_000, seed=4) == null_shifts(2_000, seed=4) != null_shifts(2_000, seed=5)

    def test_all_there_are_occur(self) -> None:
        assert sorted(null_shifts(523)) == list(range(252, 272))

    @pytest.mark.parametrize(("sessions", "replays"), [(521, 99), (100, 99), (5_000, 18), (5_000, 0)])
    def test_too_few_are_refused(self, sessions: int, replays: int) -> None:
        with pytest.raises(ConfigError):
            null_shifts(sessions, replays=replays)


class TestRank:
    @pytest.mark.parametrize(
        ("better", "equal", "p_value"),
        [(0, 0, 0.01), (4, 0, 0.05), (0, 4, 0.05), (50, 10, 0.61), (99, 0, 1.0)],
    )
    def test_the_real_search_counts_among_its_replays(self, better: int, equal: int, p_value: float) -> None:
        shifts = range(300, 399)

        def search(shift: int) -> float:
            place = shift - 300
            return 1.0 if shift == 0 or better <= place < better + equal else 2.0 * (place < better)

        found = null_replay(search, shifts)
        assert found.p_value == pytest.approx(p_value)
        assert found.objective == 1.0
        assert found.draws == tuple(shifts)

    def test_a_replay_that_finds_nothing_is_worse_than_any(self) -> None:
        found = null_replay(lambda shift: -3.0 if shift == 0 else math.nan, range(300, 319))
        assert found.objectives == (-math.inf,) * 19
        assert found.p_value == 0.05

    def test_a_search_that_found_nothing_is_refused(self) -> None:
        with pytest.raises(ConfigError, match="found nothing"):
            null_replay(lambda _: math.nan, range(300, 319))

    def test_any_number_of_threads_gives_the_same(self) -> None:
        used = set()

        def search(shift: int) -> float:
            used.add(threading.get_ident())
            return float(np.random.default_rng(shift).normal())

        shifts, heard = null_shifts(1_000), []
        alone = null_replay(search, shifts, advance=lambda: heard.append(1))
        together = null_replay(search, shifts, jobs=4)
        assert alone == together
        assert len(heard) == 100
        assert len(used) > 1


def learned(decisions: np.ndarray, returns: np.ndarray, random: np.random.Generator) -> float:
    """Return the best t of a search that keeps what helped: thresholds and weights of some columns."""
    weights, best = random.normal(size=decisions.shape[1]), -math.inf
    for _ in range(40):
        tried = weights + random.normal(size=weights.size)
        pnl = np.sign(decisions @ tried) * returns
        found = float(pnl.mean() / pnl.std() * math.sqrt(pnl.size))
        if found > best:
            weights, best = tried, found
    return best


def passed(nights: int, edge: float) -> tuple[int, int]:
    """Return how often the replay, and a plain t of 1.645, call the result of such a search significant."""
    replayed = plain = 0
    for night in range(nights):
        draw = np.random.default_rng([7, night])
        decisions = draw.normal(size=(600, 3))
        returns = draw.standard_t(5, size=600) + edge * decisions[:, 0]

        def search(
            shift: int, night: int = night, decisions: np.ndarray = decisions, returns: np.ndarray = returns
        ) -> float:
            return learned(np.roll(decisions, shift, axis=0), returns, np.random.default_rng([8, night]))

        found = null_replay(search, null_shifts(600, replays=19, seed=night))
        replayed += found.p_value <= 0.05
        plain += found.objective > 1.645
    return replayed, plain


@pytest.mark.no_cover
def test_a_search_that_learns_keeps_its_size_and_finds_an_edge() -> None:
    replayed, plain = passed(SIMULATED, edge=0.0)
    assert replayed <= BOUND
    assert plain > 2 * BOUND, "negative control: its best t is no test"
    found, _ = passed(40, edge=0.3)
    assert found > 32

"""How often a shadow period errs, looked at every day; the whole is `benchmarks/soak.py retraining`."""

from __future__ import annotations

import pytest

from benchmarks import retraining
from lockstep.monitoring import champion

COUNT = 80


def rates(name: str) -> dict[str, float]:
    world = retraining.WORLDS[name]
    found: dict[str, float] = retraining.rates([retraining.period(world, seed) for seed in range(COUNT)])
    return found


def test_equal_models_are_seldom_called_better_and_worse_ones_not_worse() -> None:
    better, not_worse = retraining.allowed(COUNT)
    for name in ("equal", "worse by a little more than the margin"):
        assert retraining.is_as_stated(name, rates(name), better, not_worse), name


def test_a_comparison_that_asks_for_less_would_be_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(champion, "BETTER_AT", 1.5)
    assert not retraining.is_as_stated("equal", rates("equal"), *retraining.allowed(COUNT))


def test_a_look_at_each_day_comes_to_the_same() -> None:
    found = set()
    for name in ("better by .08, 250 signals", "equal, much alike", "worse by .05, 250 signals"):
        for seed in range(2):
            scores = retraining.WORLDS[name].scores(seed)[:110]
            first = retraining.first_decision(scores)
            assert first == retraining.looked_at_daily(scores)
            found.add(first[0])
    assert len(found) > 1

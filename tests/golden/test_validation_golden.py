"""Published examples of the statistics that judge a search."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from statistics import NormalDist

import numpy as np
import pytest

from research.splits.purged import CombinatorialPurgedCV
from research.statistics.pbo import BlockMoments, overfitting
from research.statistics.sharpe import (
    SharpeSample,
    deflated_sharpe,
    expected_maximum,
    minimum_backtest_length,
    minimum_track_record,
    probabilistic_sharpe,
)


@pytest.mark.parametrize(("trials", "published"), [(100, 0.9004), (46, 0.9505)])
def test_deflated_sharpe_of_the_published_example(trials: int, published: float) -> None:
    """Bailey and López de Prado (2014): annual ratio 2.5, five years of 250 days, variance 0.5 a year."""
    sample = SharpeSample(ratio=2.5 / math.sqrt(250), periods=1250, skew=-3.0, kurtosis=10.0)
    assert deflated_sharpe(sample, trials=trials, variance=0.5 / 250) == pytest.approx(published, abs=5e-5)


@pytest.mark.parametrize(
    "mutant",
    [
        {"trials": 1},
        {"variance": 0.5},
        {"ratio": 2.5},
        {"kurtosis": 7.0 + 3.0 + 3.0},
        {"periods": 1250 * 5},
    ],
)
def test_the_example_notices_a_wrong_ingredient(mutant: dict[str, float]) -> None:
    """One trial, yearly variance, yearly ratio, excess added twice, periods in years: all show."""
    right = {
        "ratio": 2.5 / math.sqrt(250),
        "periods": 1250,
        "kurtosis": 10.0,
        "trials": 100,
        "variance": 0.002,
    }
    used = right | mutant
    sample = SharpeSample(
        ratio=used["ratio"], periods=int(used["periods"]), skew=-3.0, kurtosis=used["kurtosis"]
    )
    value = deflated_sharpe(sample, trials=used["trials"], variance=used["variance"])
    assert abs(value - 0.9004) > 5e-4


@pytest.mark.parametrize(("trials", "published", "error"), [(10, 1.57, 5e-3), (100, 2.5306, 5e-5)])
def test_expected_maximum(trials: int, published: float, error: float) -> None:
    """Bailey et al. (2014): 1.57 for 10 trials; Bailey and López de Prado (2014): 100 trials."""
    assert expected_maximum(trials) == pytest.approx(published, abs=error)


@pytest.mark.parametrize(("trials", "exact"), [(10, 1.53875), (100, 2.50759), (1000, 3.24144)])
def test_expected_maximum_is_near_the_exact_order_statistic(trials: int, exact: float) -> None:
    """Harter (1961), Expected Values of Normal Order Statistics, Biometrika 48, 151-165."""
    assert expected_maximum(trials) == pytest.approx(exact, rel=0.03)
    assert expected_maximum(trials, 0.25) == pytest.approx(expected_maximum(trials) / 2)


@pytest.mark.parametrize(("skew", "kurtosis", "published"), [(0.0, 3.0, 0.982), (-2.448, 10.164, 0.913)])
def test_probabilistic_sharpe_of_two_years_of_months(skew: float, kurtosis: float, published: float) -> None:
    """Bailey and López de Prado (2012): monthly ratio 0.458, 24 months."""
    sample = SharpeSample(ratio=0.458, periods=24, skew=skew, kurtosis=kurtosis)
    assert probabilistic_sharpe(sample) == pytest.approx(published, abs=5e-4)


@pytest.mark.parametrize(("per_year", "years"), [(252, 2.73), (52, 2.83), (12, 3.24)])
def test_track_record_to_tell_two_from_one(per_year: int, years: float) -> None:
    """Bailey and López de Prado (2012): annual ratio 2 against 1, 95 %, normal; days, weeks, months."""
    sample = SharpeSample(ratio=2 / math.sqrt(per_year), periods=1000)
    periods = minimum_track_record(sample, 1 / math.sqrt(per_year))
    assert periods / per_year == pytest.approx(years, abs=5e-3)


def test_five_years_bear_forty_five_trials() -> None:
    """Bailey et al. (2014): with five years and more than 45 trials, noise is expected to reach 1."""
    assert minimum_backtest_length(45) < 5.0 < minimum_backtest_length(46)


@pytest.mark.parametrize(
    ("groups", "tested", "splits", "paths"), [(6, 2, 15, 5), (8, 4, 70, 35), (10, 2, 45, 9)]
)
def test_number_of_splits_and_paths(groups: int, tested: int, splits: int, paths: int) -> None:
    """López de Prado (2018), section 12.4."""
    start = np.arange(groups)
    splitter = CombinatorialPurgedCV(groups, tested, start=start, end=start)
    assert splitter.get_n_splits() == splits
    assert splitter.n_paths == paths
    assert splitter.paths().shape == (paths, groups)


def test_which_split_feeds_which_path() -> None:
    """López de Prado (2018), figure 12.1 and 12.2: six groups, two tested; splits counted from 0 here."""
    start = np.arange(6)
    paths = CombinatorialPurgedCV(6, 2, start=start, end=start).paths()
    assert paths[0].tolist() == [0, 0, 1, 2, 3, 4]
    assert paths[4].tolist() == [4, 8, 11, 13, 14, 14]


def test_noise_is_overfitted_half_of_the_time_and_an_edge_never() -> None:
    """Bailey et al. (2017), section 6: PBO scatters around one half without skill, and nears 0 with it."""
    random = np.random.default_rng(7)
    noise = [overfitting(BlockMoments.of(random.normal(size=(480, 40)), 8)).probability for _ in range(60)]
    assert 0.42 < np.mean(noise) < 0.58
    assert 0.1 < np.std(noise) < 0.3
    returns = random.normal(size=(2000, 40))
    returns[:, 5] += 3.0 / math.sqrt(252)
    found = overfitting(BlockMoments.of(returns, 16))
    assert found.probability < 0.01
    assert np.mean(found.chosen == 5) > 0.95


def test_the_years_that_a_search_needs_are_those_of_the_page() -> None:
    """docs/validation.md: the best of N independent trials at 5 %, found in four cases of five."""
    page = (Path(__file__).resolve().parents[2] / "docs/validation.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| ([\d.]+) \| ([\d.]+) \| ([\d.]+) \| ([\d.]+) \|$", page, re.MULTILINE)
    assert [row[0] for row in rows] == ["0.5", "1", "2", "3"]
    quantile = NormalDist().inv_cdf
    for yearly, *told in rows:
        for trials, years in zip((1, 100, 10_000), told, strict=True):
            needed = ((quantile(0.95 ** (1 / trials)) + quantile(0.8)) / float(yearly)) ** 2
            assert float(years) == pytest.approx(needed, abs=0.051)


def test_the_rates_of_the_page_are_those_of_the_soak() -> None:
    root = Path(__file__).resolve().parents[2]
    page = (root / "docs/validation.md").read_text(encoding="utf-8")
    found = json.loads((root / "benchmarks/results/sizes.json").read_text())
    best, ratio = found["best of many"], found["Sharpe ratio"]
    spa = [value for name, value in best.items() if name.startswith("SPA, 500")]
    control = [value for name, value in best.items() if name.startswith("bootstrap deviation as scale, 500")]
    assert f"| {min(spa) / 10} to {max(spa) / 10} % | {found['bound'] / 10} % |" in page
    assert f"| {control[0] / 10} and {control[1] / 10} % |" in page
    assert f"error over blocks | {ratio['error over blocks, phi 0.3'] / 10} % |" in page
    assert f"usual error | {ratio['plain error, phi 0.3'] / 10} % |" in page

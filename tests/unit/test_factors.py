"""Factors: built from bars, read from files, fitted, added up, and neutralised."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lockstep.errors import ConfigError, DataError
from lockstep.market.config import shipped_config
from lockstep.settings import validated
from research.factors.config import FactorBook, load_factors
from research.factors.french import french_months, monthly
from research.factors.neutral import neutral_weights
from research.factors.regression import attribute, fit_factors, position_exposures, usual_lags
from research.factors.series import DailyBars, build_factors, common_moves, read_factor

DAYS = np.datetime64("2020-01-01") + np.arange(400)

# NIST StRD, Norris: linear calibration, certified to 15 digits. Pairs of y and x.
NORRIS = np.array(
    """0.1 0.2 338.8 337.4 118.1 118.2 888.0 884.6 9.2 10.1 228.1 226.5 668.5 666.3 998.5 996.3 449.1 448.6
    778.9 777.0 559.2 558.2 0.3 0.4 0.1 0.6 778.1 775.5 668.8 666.9 339.3 338.0 448.9 447.5 10.8 11.6 557.7
    556.0 228.3 228.1 998.0 995.8 888.8 887.6 119.6 120.2 0.3 0.3 0.6 0.3 557.6 556.8 339.3 339.1 888.0 887.2
    998.5 999.0 778.9 779.0 10.2 11.1 117.6 118.3 228.9 229.2 668.4 669.1 449.2 448.9 0.2 0.5""".split(),
    dtype=np.float64,
).reshape(-1, 2)


def bars_of(seed: int, days: Any = DAYS, *, volume: float = 100.0) -> DailyBars:
    random = np.random.default_rng(seed)
    return DailyBars(
        dates=days,
        closes=100.0 * np.exp(np.cumsum(random.normal(0, 0.01, days.size))),
        volumes=volume * (1.0 + random.random(days.size)),
    )


def book_of(**factors: dict[str, Any]) -> FactorBook:
    return validated(FactorBook, {"factors": factors}, where="here")


def built(known: dict[str, DailyBars], **factors: dict[str, Any]) -> Any:
    def find(symbol: str) -> DailyBars:
        if symbol not in known:
            raise DataError(f"{symbol}: no bars in the folder")
        return known[symbol]

    return build_factors(book_of(**factors).factors, find)


class TestBuilt:
    def test_an_instrument_is_its_return(self) -> None:
        bars = bars_of(1)
        (series,), absent = built({"6E": bars}, dollar={"kind": "instrument", "symbol": "6E", "sign": -1})
        moves = common_moves([series], DAYS[10:13])
        np.testing.assert_allclose(moves.moves[:, 0], -(bars.closes[11:13] / bars.closes[10:12] - 1))
        assert (moves.names, absent) == (("dollar",), {})

    def test_a_session_that_is_left_out_goes_into_the_next_move(self) -> None:
        bars = bars_of(1)
        (series,), _ = built({"ES": bars}, market={"kind": "instrument", "symbol": "ES"})
        every = common_moves([series], DAYS[5:8]).moves[:, 0]
        assert common_moves([series], DAYS[[5, 7]]).moves[0, 0] == pytest.approx(every.sum())

    def test_volatility_and_illiquidity_by_hand(self) -> None:
        closes = np.array([100.0, 101.0, 99.0, 100.0, 102.0, 101.0, 104.0])
        bars = DailyBars(dates=DAYS[:7], closes=closes, volumes=np.arange(1.0, 8.0))
        (vol, illiquid), _ = built(
            {"ES": bars}, vol={"kind": "volatility", "symbol": "ES", "bars": 5},
            amihud={"kind": "illiquidity", "symbol": "ES", "bars": 5},
        )  # fmt: skip
        returns = closes[1:] / closes[:-1] - 1
        expected = 0.5 * np.log((returns[1:6] ** 2).mean() / (returns[:5] ** 2).mean())
        assert vol.level[1] - vol.level[0] == pytest.approx(expected)
        ratios = np.abs(returns) / (closes[1:] * bars.volumes[1:])
        assert illiquid.level[1] - illiquid.level[0] == pytest.approx(
            np.log(ratios[1:6].mean() / ratios[:5].mean())
        )
        assert vol.dates[0] == illiquid.dates[0] == DAYS[5]

    def test_momentum_ranks_by_what_was_known(self) -> None:
        """Four instruments, two of which rise steadily: they are the higher half, a day later too."""
        slopes = {"A": 0.002, "B": 0.001, "C": -0.001, "D": -0.002}
        known = {
            name: DailyBars(dates=DAYS, closes=100 * np.exp(slope * np.arange(400)), volumes=np.ones(400))
            for name, slope in slopes.items()
        }
        factor = {"kind": "momentum", "symbols": ["D", "A", "C", "B"], "bars": 60, "skip": 5}
        (series,), _ = built(known, momentum=factor)
        each = {name: np.exp(slope) - 1 for name, slope in slopes.items()}
        np.testing.assert_allclose(np.diff(series.level), (each["A"] + each["B"] - each["C"] - each["D"]) / 2)
        assert series.dates[0] == DAYS[60]
        known["A"].closes[200:] *= 0.5
        (after,), _ = built(known, momentum=factor)
        np.testing.assert_array_equal(after.level[: 200 - 60], series.level[: 200 - 60])

    def test_size_is_small_less_big_and_needs_six_coins(self) -> None:
        known = {f"C{number}": bars_of(number, volume=10.0**number) for number in range(6)}
        factor = {"kind": "size", "symbols": list(known), "bars": 21}
        (series,), _ = built(known, crypto_size=factor)
        small = np.mean([known[f"C{number}"].closes for number in range(3)], axis=0)
        assert small.size == 400
        moves = {name: each.closes[1:] / each.closes[:-1] - 1 for name, each in known.items()}
        expected = sum(moves[f"C{number}"] / (3.0 if number < 3 else -3.0) for number in range(6))
        np.testing.assert_allclose(np.diff(series.level), expected[20:])
        del known["C5"]
        none, absent = built(known, crypto_size=factor)
        assert none == ()
        assert absent == {"crypto_size": "needs 6 coins with bars, 5 have them (C5: no bars)"}

    @pytest.mark.parametrize(
        ("closes", "sentence"),
        [
            (np.full(9, 5.0), "stands still"),
            (np.arange(9.0), "close of 2020-01-01 is not positive"),
            (np.arange(1.0, 4.0), "2 returns: 5 are needed"),
            (None, "ES: no bars in the folder"),
        ],
    )  # fmt: skip
    def test_what_cannot_be_built_says_so(self, closes: Any, sentence: str) -> None:
        known = {}
        if closes is not None:
            count = closes.size
            known["ES"] = DailyBars(dates=DAYS[:count], closes=closes, volumes=np.ones(count))
        series, absent = built(known, vol={"kind": "volatility", "symbol": "ES", "bars": 5})
        assert series == ()
        assert sentence in absent["vol"]

    def test_no_volume_no_illiquidity(self) -> None:
        bars = DailyBars(dates=DAYS, closes=bars_of(1).closes, volumes=np.zeros(400))
        _, absent = built({"SPX": bars}, amihud={"kind": "illiquidity", "symbol": "SPX"})
        assert "no volume on 2020-01-01" in absent["amihud"]


class TestFiles:
    def written(self, tmp_path: Path, *rows: str) -> Path:
        path = tmp_path / "mine.csv"
        path.write_text("\n".join(("date,move", *rows)))
        return path

    def test_a_file_without_gaps_is_taken(self, tmp_path: Path) -> None:
        path = self.written(tmp_path, *(f"{day},0.01" for day in DAYS[5:20]))
        found = common_moves([read_factor("mine", path)], DAYS)
        assert found.moves[:, 0] == pytest.approx(np.full(14, 0.01))
        assert found.dates[0] == DAYS[6]

    def test_a_file_with_gaps_is_refused(self, tmp_path: Path) -> None:
        path = self.written(tmp_path, *(f"{day},0.01" for day in DAYS[[5, 6, 9, 10]]))
        with pytest.raises(
            DataError, match=r"factor mine: .*mine\.csv: no value for 2 sessions, the first 2020-01-08"
        ):
            common_moves([read_factor("mine", path)], DAYS)

    @pytest.mark.parametrize(
        ("row", "rule"),
        [
            ("2020-13-01,1", r"mine\.csv:3: needs a date and a number"),
            ("2020-01-05", r":3: needs a date and a number"),
            ("2020-01-05,nan", r":3: dates must rise and moves be finite"),
            ("2020-01-01,1", r":3: dates must rise"),
        ],
    )
    def test_a_wrong_row_is_named(self, tmp_path: Path, row: str, rule: str) -> None:
        with pytest.raises(ConfigError, match=rule):
            read_factor("mine", self.written(tmp_path, "2020-01-02,1", row))

    def test_no_file_and_an_empty_one(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match="cannot be read"):
            read_factor("mine", tmp_path / "none.csv")
        with pytest.raises(ConfigError, match="no rows below the header"):
            read_factor("mine", self.written(tmp_path))


class TestBook:
    def test_the_shipped_factors(self) -> None:
        assert list(load_factors().factors) == [
            "market", "momentum", "volatility", "illiquidity", "dollar", "oil", "gold", "crypto_market",
            "crypto_size",
        ]  # fmt: skip
        assert shipped_config("factors.yml").name == "factors.yml"

    @pytest.mark.parametrize(
        ("factor", "rule"),
        [
            ({"kind": "instrument"}, "symbol.*is missing"),
            ({"kind": "beta", "symbol": "ES"}, "the value of 'kind' must be one of"),
            (
                {"kind": "momentum", "symbols": ["A"], "bars": 20, "skip": 20},
                "skip 20: must be below bars 20",
            ),
            ({"kind": "size", "symbols": ["A", "A"]}, "a symbol is named twice"),
            ({"kind": "instrument", "symbol": "ES", "sing": 1}, "unknown key"),
        ],
    )
    def test_a_wrong_file_is_refused(self, factor: dict[str, Any], rule: str) -> None:
        with pytest.raises(ConfigError, match=rule):
            book_of(mine=factor)


class TestFrench:
    def test_rows_of_the_library(self) -> None:
        """Kenneth French's file of three factors, percent a month: 1926-07, 1987-10, 2008-10, 2018-11."""
        factors, bills = french_months()
        stored = dict(
            zip(factors.dates.astype(str).tolist(), (100 * factors.moves).round(2).tolist(), strict=True)
        )
        assert stored["1926-07-01"] == [2.96, -2.3, -2.87]
        assert stored["1987-10-01"][0] == -23.24
        assert stored["2008-10-01"][0] == -17.23
        assert stored["2018-11-01"] == [1.69, -0.75, 0.22]
        assert bills[0] == pytest.approx(0.0022)
        assert (np.diff(factors.dates.astype("datetime64[M]").astype(int)) == 1).all()

    def test_the_market_explains_itself(self) -> None:
        factors, _ = french_months()
        fit = fit_factors(factors.moves[:, 0], factors.moves, factors.names)
        np.testing.assert_allclose(fit.betas, [1.0, 0.0, 0.0], atol=1e-12)

    def test_months_add_up(self) -> None:
        returns = np.random.default_rng(0).normal(size=400)
        months, sums = monthly(DAYS, returns)
        assert sums.sum() == pytest.approx(returns.sum())
        assert months.size == 14


class TestFit:
    def test_certified_values(self) -> None:
        """NIST Statistical Reference Datasets, Norris: B0, B1 and R-squared."""
        fit = fit_factors(NORRIS[:, 0], NORRIS[:, 1:], ["x"])
        assert fit.alpha == pytest.approx(-0.262323073774029, rel=1e-11)
        assert fit.betas[0] == pytest.approx(1.00211681802045, rel=1e-13)
        assert fit.r_squared == pytest.approx(0.999993745883712, rel=1e-13)

    def test_errors_of_newey_and_west_by_hand(self) -> None:
        """Oracle: the sandwich with Bartlett weights, written out."""
        random = np.random.default_rng(3)
        moves = random.normal(size=(300, 2)).cumsum(axis=0) * 0.1
        noise = np.convolve(random.normal(size=310), np.ones(5), "valid")[:300]
        returns = 0.2 + moves @ [1.0, -0.5] + noise
        fit = fit_factors(returns, moves, ["a", "b"], lags=4)
        design = np.column_stack((np.ones(300), moves))
        scores = design * fit.residuals[:, None]
        middle = scores.T @ scores
        for lag in range(1, 5):
            cross = scores[lag:].T @ scores[:-lag]
            middle += (1 - lag / 5) * (cross + cross.T)
        bread = np.linalg.inv(design.T @ design)
        np.testing.assert_allclose(fit.errors, np.sqrt(np.diag(bread @ middle @ bread))[1:], rtol=1e-10)
        plain = fit_factors(returns, moves, ["a", "b"], lags=0)
        assert (fit.errors > plain.errors).all()

    def test_it_adds_up(self) -> None:
        random = np.random.default_rng(1)
        moves, returns = random.normal(size=(500, 3)), random.normal(size=500) * 1e4
        fit = fit_factors(returns, moves, ["a", "b", "c"])
        found = attribute(fit, moves)
        assert (
            abs(found.factors.sum() + found.alpha + found.residual - returns.sum())
            <= 1e-9 * np.abs(returns).sum()
        )
        assert found.total == pytest.approx(returns.sum())
        assert abs(found.residual) <= 1e-9 * np.abs(returns).sum()

    def test_the_interval_of_alpha_holds_the_truth(self) -> None:
        """Of 300 fits with autocorrelated noise about 95 % hold it; a false alpha is not held."""
        random, held, wrong = np.random.default_rng(5), 0, 0
        for _ in range(300):
            moves = random.normal(size=(600, 1))
            noise = np.convolve(random.normal(size=603), [1.0, 0.5, 0.25, 0.1], "valid")
            fit = fit_factors(0.3 + 0.8 * moves[:, 0] + noise, moves, ["m"])
            held += fit.alpha_low <= 0.3 <= fit.alpha_high
            wrong += fit.alpha_low <= 0.0 <= fit.alpha_high
        assert 270 <= held <= 297
        assert wrong < 60

    def test_exposures_of_positions(self) -> None:
        random = np.random.default_rng(2)
        moves = random.normal(0, 0.01, size=(300, 1))
        changes = moves * [5_000.0, -2_000.0]
        found = position_exposures(changes, [2.0, 3.0], moves, ["market"])
        assert found[0] == pytest.approx(2 * 5_000 - 3 * 2_000)

    @pytest.mark.parametrize(
        ("returns", "moves", "rule"),
        [
            (np.ones(10), np.ones((9, 1)), "10 returns, 9 moves"),
            (np.arange(19.0), np.random.default_rng(0).normal(size=(19, 1)), "at least 20 are needed"),
            (np.arange(40.0), np.ones((40, 1)), "factor a: does not move in 40 periods"),
            (np.arange(40.0) * np.nan, np.ones((40, 1)), "returns"),
        ],
    )
    def test_bad_input(self, returns: Any, moves: Any, rule: str) -> None:
        with pytest.raises(DataError, match=rule):
            fit_factors(returns, moves, ["a"])

    def test_factors_that_say_the_same_and_negative_lags(self) -> None:
        moves = np.random.default_rng(0).normal(size=(100, 1))
        with pytest.raises(DataError, match="one of them is made of the others"):
            fit_factors(moves[:, 0], np.column_stack((moves, 2 * moves + 1)), ["a", "b"])
        with pytest.raises(ConfigError, match="lags -1"):
            fit_factors(moves[:, 0], moves, ["a"], lags=-1)
        assert usual_lags(5031) == 9


class TestNeutral:
    @pytest.mark.parametrize("seed", range(20))
    def test_it_is_neutral_and_the_nearest(self, seed: int) -> None:
        """No step within the constraints comes nearer to the weights that were given."""
        random = np.random.default_rng(seed)
        count = int(random.integers(3, 8))
        start = random.dirichlet(np.ones(count))
        slopes = random.normal(size=(count, 1))
        slopes[0], slopes[1] = abs(slopes[0]) + 0.5, -abs(slopes[1]) - 0.5
        factor = random.normal(size=(count, count + 3))
        matrix = factor @ factor.T
        found = neutral_weights(start, slopes, matrix, ["BTC"])
        assert abs(found @ slopes[:, 0]) <= 1e-9
        assert found.sum() == pytest.approx(1.0, abs=1e-9)
        assert found.min() >= 0.0

        def distance(weights: Any) -> float:
            return float((weights - start) @ matrix @ (weights - start))

        for _ in range(200):
            other = random.dirichlet(np.ones(count))
            lean = other @ slopes[:, 0]
            against = 1 if lean > 0 else 0
            part = lean / (lean - slopes[against, 0])
            other = (1 - part) * other
            other[against] += part
            assert abs(other @ slopes[:, 0]) < 1e-9
            assert distance(found) <= distance(other) + 1e-9

    def test_weights_that_are_neutral_stay(self) -> None:
        found = neutral_weights([0.5, 0.5], [[1.0], [-1.0]], np.diag([1.0, 4.0]), ["market"])
        np.testing.assert_allclose(found, [0.5, 0.5], atol=1e-12)

    def test_lanes_that_all_lean_to_one_side_are_refused(self) -> None:
        with pytest.raises(ConfigError, match=re.escape("neutral to BTC: no weights >= 0 are")):
            neutral_weights([0.5, 0.5], [[1.0], [2.0]], np.eye(2), ["BTC"])


def test_without_a_factor_there_are_no_moves_and_no_error() -> None:
    found = common_moves([], DAYS[5:8])
    assert found.moves.shape == (2, 0)
    assert found.names == ()

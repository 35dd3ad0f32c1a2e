"""Grid files, parameter paths, splits and variants."""

from __future__ import annotations

import itertools
from datetime import date
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lockstep.errors import ConfigError, ExperimentError
from lockstep.market.dates import DateRange
from lockstep.strategy.families.ibs import IbsConfig
from research.experiments.grid import Grid, Steps
from research.experiments.paths import known_paths, placed, require_known, value_at
from research.experiments.variants import VariantSpace, evaluation_id, pieces, spelled
from research.splits.ranges import Split, consecutive, windows
from support.experiments import BASELINE, GRID, SPLIT

BASE = IbsConfig.load(BASELINE)
FILTERED = BASE.replaced(filters=[{"feature": "rsi_2", "max": 30.0}])


def grid_file(folder: Path, text: str) -> Path:
    path = folder / "grid.yaml"
    path.write_text(text)
    return path


class TestSteps:
    def test_both_ends_are_in_and_sums_are_rounded(self) -> None:
        assert Steps(start=0.1, stop=0.4, step=0.1).values() == (0.1, 0.2, 0.3, 0.4)

    def test_a_stop_between_steps_is_not_passed(self) -> None:
        assert Steps(start=1.0, stop=2.4, step=0.5).values() == (1.0, 1.5, 2.0)

    def test_whole_numbers_stay_whole(self) -> None:
        values = Steps(start=2, stop=6, step=2).values()
        assert values == (2, 4, 6)
        assert all(isinstance(each, int) for each in values)

    @given(st.integers(-50, 50), st.integers(1, 60), st.sampled_from([0.01, 0.05, 0.1, 0.25]))
    def test_count_and_ends(self, first: int, count: int, step: float) -> None:
        stop = first + count * step
        values = Steps(start=first, stop=stop, step=step).values()
        assert len(values) == count + 1
        assert values[-1] == pytest.approx(stop, abs=1e-9)


class TestGrid:
    def test_the_shipped_grid(self) -> None:
        grid = Grid.load(GRID)
        assert grid.size == 600
        assert grid.parameters["stop.percent"][0] is None
        assert grid.split.holdout == DateRange(start=date(2015, 1, 1), end=date(2018, 12, 31))

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("parameter: {max_bars: [1]}", "unknown key 'parameter'; did you mean 'parameters'?"),
            ("parameters: {}", "parameters is empty"),
            ("parameters: {max_bars: []}", "no value"),
            ("parameters: {max_bars: [3, 3]}", "value 3 occurs twice"),
            ("parameters: {max_bars: {start: 5, stop: 1, step: 1}}", "must increase"),
            ("parameters: {max_bars: {start: 1, stop: 5, stp: 1}}", "stp"),
            ("parameters: {max_bars: [1]}\nlimits: {max_pob: 0.5}", "did you mean 'max_pbo'"),
            ("parameters: {max_bars: [1]}\nsplit: {train: [2012-01-01, 2011-01-01]}", "starts after it ends"),
            ("parameters: {max_bars: [1]}\nsplit: {train: [2012-01-01]}", "need the first and the last date"),
            ("parameters: {max_bars: [1]}\nsplit: {train: 2012}", "such as [2010-01-01, 2014-12-31]"),
        ],
    )
    def test_refusals(self, tmp_path: Path, text: str, message: str) -> None:
        with pytest.raises(ConfigError) as caught:
            Grid.load(grid_file(tmp_path, text))
        assert message in str(caught.value)

    def test_a_single_value_is_a_list_of_one(self, tmp_path: Path) -> None:
        grid = Grid.load(grid_file(tmp_path, "parameters: {direction: short}"))
        assert grid.parameters == {"direction": ("short",)}


class TestPaths:
    def test_known_paths(self) -> None:
        known = known_paths(FILTERED)
        assert {"entry.low", "entry.high", "stop.percent", "stop.atr", "filters.0.max", "size.target"} <= set(
            known
        )
        assert "filters.1.max" not in known
        assert {"name", "timeframe"}.isdisjoint(known)

    @pytest.mark.parametrize(
        ("path", "message"),
        [
            ("entry.hihg", "unknown parameter path 'entry.hihg'; did you mean 'entry.high'?"),
            ("stop.percnt", "did you mean 'stop.percent'?"),
            ("filters.0.max", "unknown parameter path"),
            ("timeframe", "cannot vary within an experiment"),
        ],
    )
    def test_unknown_paths_name_the_nearest(self, path: str, message: str) -> None:
        with pytest.raises(ExperimentError) as caught:
            require_known({path: (1,)}, BASE, where="grid.yaml")
        assert message in str(caught.value)

    def test_values_are_placed_and_the_base_stays(self) -> None:
        base = FILTERED.model_dump()
        found = placed(base, {"entry.high": 0.3, "stop.percent": 1.5, "filters.0.max": 20.0, "max_bars": 4})
        config = IbsConfig.model_validate(found)
        assert config.entry == (0.0, 0.3)
        assert config.stop is not None
        assert config.stop.percent == 1.5
        assert config.filters[0].max == 20.0
        assert config.max_bars == 4
        assert base == FILTERED.model_dump()
        assert value_at(found, "filters.0.max") == 20.0

    def test_a_part_can_be_made_and_taken_away(self) -> None:
        base = BASE.model_dump()
        assert placed(base, {"stop.percent": None})["stop"] is None
        assert placed(base, {"target.percent": 2.0})["target"] == {"percent": 2.0}
        assert value_at(base, "target.percent") is None
        assert placed(base, {"stop.percent": None, "stop.atr": 2.0})["stop"]["atr"] == 2.0


class TestSplit:
    def test_overlap_and_order_are_refused(self) -> None:
        with pytest.raises(ValueError, match=r"train 2010-01-01 to 2012-01-03 and test .* overlap"):
            Split.model_validate(
                {"train": ["2010-01-01", "2012-01-03"], "validation": ["2012-01-03", "2012-12-31"]}
            )
        with pytest.raises(ValueError, match="lies before train"):
            Split.model_validate(
                {"train": ["2012-01-01", "2012-12-31"], "validation": ["2011-01-03", "2011-12-31"]}
            )
        with pytest.raises(ValueError, match="hold-out"):
            Split.model_validate(
                {
                    "train": ["2010-01-01", "2010-12-31"],
                    "validation": ["2011-01-01", "2011-12-31"],
                    "holdout": ["2011-12-31", "2012-12-31"],
                }
            )

    def test_one_window_without_walk_forward(self) -> None:
        (window,) = windows(SPLIT)
        assert (window.train, window.test) == (SPLIT.train, SPLIT.validation)
        assert consecutive([window]) == [(0, "train"), (0, "test")]

    def test_walk_forward_windows_share_no_day(self) -> None:
        found = windows(SPLIT, "1y/6m/6m")
        assert str(found[0].train) == "2010-01-04 to 2011-01-03"
        assert str(found[0].test) == "2011-01-04 to 2011-07-03"
        for one, following in itertools.pairwise(found):
            assert not one.test.overlaps(following.test)
        for each in found:
            assert not each.train.overlaps(each.test)
        assert found[-1].test.end == SPLIT.validation.end
        assert consecutive(found) == [(0, "train"), *((number, "test") for number in range(len(found)))]

    def test_days_and_an_anchor(self) -> None:
        assert windows(SPLIT, "365/90/30")[0].train.end == date(2011, 1, 3)
        assert {each.train.start for each in windows(SPLIT, "365/90/90", anchored=True)} == {
            SPLIT.train.start
        }

    def test_overlapping_tests_are_strung_together_without_repetition(self) -> None:
        found = windows(SPLIT, "365/90/30")
        ranges = consecutive(found)
        tests = [found[number].test for number, part in ranges if part == "test"]
        assert len(tests) < len(found)
        assert all(one.end < other.start for one, other in itertools.pairwise(tests))

    @pytest.mark.parametrize("text", ["4y/1y/1y", "250b/50b/50b", "nonsense"])
    def test_impossible_windows(self, text: str) -> None:
        with pytest.raises((ExperimentError, ConfigError)):
            windows(SPLIT, text)


class TestVariants:
    SPACE = VariantSpace(base=BASE, values={"entry.high": (0.1, 0.2), "stop.percent": (None, 2.0, 4.0)})

    def test_the_last_path_varies_fastest(self) -> None:
        assert [self.SPACE.variant(number).parameters for number in range(3)] == [
            '{"entry.high": 0.1, "stop.percent": null}',
            '{"entry.high": 0.1, "stop.percent": 2.0}',
            '{"entry.high": 0.1, "stop.percent": 4.0}',
        ]
        config = self.SPACE.variant(5).config
        assert config is not None
        assert config.entry[1] == 0.2
        assert config.stop is not None
        assert config.stop.percent == 4.0

    def test_every_variant_equals_the_config_made_by_hand(self) -> None:
        for number in range(self.SPACE.size):
            places = self.SPACE.places(number)
            values = {path: self.SPACE.values[path][place] for path, place in places.items()}
            assert self.SPACE.variant(number).config == IbsConfig.model_validate(
                placed(BASE.model_dump(), values)
            )

    def test_a_broken_combination_says_its_rule(self) -> None:
        space = VariantSpace(base=BASE, values={"entry.low": (0.0, 0.5), "entry.high": (0.2,)})
        broken = space.variant(1)
        assert broken.config is None
        assert broken.error is not None
        assert "the first must be <= the second" in broken.error

    def test_samples_are_seeded_and_without_replacement(self) -> None:
        space = VariantSpace(base=BASE, values={"max_bars": tuple(range(1, 1001)), "exit.low": (0.5, 0.6)})
        first = space.sample(300, 1)
        assert first == space.sample(300, 1) != space.sample(300, 2)
        assert len(set(first)) == 300
        assert first == sorted(first)
        assert space.sample(5_000, 1) == list(range(2_000))

    def test_readers_read_everything(self) -> None:
        space = VariantSpace(
            base=FILTERED,
            values={
                "filters.0.feature": ("rsi_2", "ibs@NQ"),
                "stop.percent": (None, 1.0),
                "max_bars": (1, 2, 3),
            },
        )
        ids = {each for config in space.readers(range(space.size)) for each in config.feature_ids}
        assert {"rsi_2", "ibs@NQ"} <= ids
        assert len(list(space.readers(range(space.size)))) == 4

    def test_readers_look_at_all_where_a_corner_is_broken(self) -> None:
        space = VariantSpace(base=BASE, values={"entry.low": (0.5, 0.0), "entry.high": (0.2, 0.6)})
        assert len(list(space.readers(range(space.size)))) == 3

    def test_evaluations_are_named_by_code_config_and_data(self) -> None:
        one, other = (self.SPACE.variant(number) for number in (0, 1))
        assert one.config is not None
        assert other.config is not None
        name = evaluation_id("code data", one.config.config_hash)
        assert name == evaluation_id("code data", one.config.config_hash)
        assert name != evaluation_id("code data2", one.config.config_hash)
        assert name != evaluation_id("code data", other.config.config_hash)
        assert len(name) == 32

    def test_pieces(self) -> None:
        assert [list(each) for each in pieces(range(5), 2)] == [[0, 1], [2, 3], [4]]

    @pytest.mark.parametrize(
        ("value", "text"),
        [(None, "none"), (0.1, "0.1"), (3, "3"), ("long", "long"), ([0.0, 0.1], "[0.0, 0.1]")],
    )
    def test_spelled(self, value: object, text: str) -> None:
        assert spelled(value) == text

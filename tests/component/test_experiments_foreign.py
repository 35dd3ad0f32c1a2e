"""Grids written for other tools: refused with a block that loads and means the same."""

from __future__ import annotations

from pathlib import Path

import pytest

from lockstep.console import run
from lockstep.errors import ConfigError, ExperimentError, ForeignGrid
from research.experiments.grid import Grid
from research.experiments.planning import Choices, make_plan
from support.experiments import BASELINE, GRID

DATES = "train_start: 2005-01-03\ntrain_end: 2010-12-31\ntest_start: 2011-01-03\ntest_end: 2014-12-31\n"


def refused(text: str, folder: Path) -> tuple[ForeignGrid, Grid]:
    """Return the refusal of a grid file and the grid of the block that it proposes."""
    path = folder / "grid.yaml"
    path.write_text(text)
    with pytest.raises(ForeignGrid) as caught:
        Grid.load(path)
    assert "\n" not in str(caught.value)
    path.write_text(caught.value.hint)
    return caught.value, Grid.load(path)


PARAMETERS = [
    ("params: {entry.high: [0.1, 0.2]}", {"entry.high": (0.1, 0.2)}),
    (
        "param_grid: {entry__high: [0.1], exit__low: [0.7, 0.8]}",
        {"entry.high": (0.1,), "exit.low": (0.7, 0.8)},
    ),
    ("parameters: {entry_high: [0.1, 0.2]}", {"entry.high": (0.1, 0.2)}),
    ("parameters: {entry: {high: [0.1, 0.2]}}", {"entry.high": (0.1, 0.2)}),
    ("parameters: [{name: max_bars, values: [3, 5]}]", {"max_bars": (3, 5)}),
    ("parameters: [{max_bars: [3, 5]}, {entry.high: [0.2]}]", {"max_bars": (3, 5), "entry.high": (0.2,)}),
    ("parameters: {max_bars: 'range(2, 11, 4)'}", {"max_bars": (2, 6, 10)}),
    ("params: {max_bars: range(3)}", {"max_bars": (0, 1, 2)}),
    ("params: {entry.high: 'np.arange(0.1, 0.4, 0.1)'}", {"entry.high": (0.1, 0.2, 0.3)}),
    ("params: {exit.low: 'np.linspace(0.6, 0.8, num=3)'}", {"exit.low": (0.6, 0.7, 0.8)}),
    ("params: {entry.high: {type: float, low: 0.1, high: 0.3, step: 0.1}}", {"entry.high": (0.1, 0.2, 0.3)}),
    ("params: {max_bars: {type: int, low: 3, high: 5}}", {"max_bars": (3, 4, 5)}),
    ("params: {max_bars: {type: categorical, choices: [3, 8]}}", {"max_bars": (3, 8)}),
    ("parameters: {max_bars: {values: [3, 8]}}", {"max_bars": (3, 8)}),
    ("parameters: {max_bars: {value: 3}}", {"max_bars": (3,)}),
    ("parameters: {entry.high: {min: 0.1, max: 0.3}}", {"entry.high": (0.1, 0.15, 0.2, 0.25, 0.3)}),
    ("parameters: {entry.high: {start: 0.1, end: 0.3, step: 0.1}}", {"entry.high": (0.1, 0.2, 0.3)}),
    ("parameters: {entry.high: {start: 0.1, stop: 0.3, num: 2}}", {"entry.high": (0.1, 0.3)}),
    ("parameters: {entry.high: '0.1, 0.2'}", {"entry.high": (0.1, 0.2)}),
    ("params: {max_hold: 'IntParameter(3, 5, default=4)'}", {"max_bars": (3, 4, 5)}),
    ("params: {ibs_entry: 'DecimalParameter(0.1, 0.3, decimals=1)'}", {"entry.high": (0.1, 0.2, 0.3)}),
    ('params: {direction: \'CategoricalParameter(["long", "both"])\'}', {"direction": ("long", "both")}),
    ("params: {stoploss: [-0.02, -0.05]}", {"stop.percent": (2.0, 5.0)}),
    ("params: {stop_loss: [null, 0.02]}", {"stop.percent": (None, 2.0)}),
    ("params: {sl_pct: [2.0, 4.0]}", {"stop.percent": (2.0, 4.0)}),
    ("params: {tp: {start: -0.05, stop: -0.01, step: 0.02}}", {"target.percent": (1, 3, 5)}),
]


@pytest.mark.parametrize(("text", "expected"), PARAMETERS)
def test_parameters_mean_the_same(text: str, expected: dict[str, tuple[object, ...]], tmp_path: Path) -> None:
    _, grid = refused(text, tmp_path)
    assert grid.parameters == expected


@pytest.mark.parametrize(
    ("text", "train", "validation", "holdout"),
    [
        (DATES, "2005-01-03 to 2010-12-31", "2011-01-03 to 2014-12-31", None),
        ("train: [2005-01-03, 2010-12-31]\ntest: '2011-01-03:2014-12-31'",
         "2005-01-03 to 2010-12-31", "2011-01-03 to 2014-12-31", None),
        ("split: {train: {start: 2005-01-03, end: 2010-12-31}, test: [2011-01-03, 2014-12-31]}",
         "2005-01-03 to 2010-12-31", "2011-01-03 to 2014-12-31", None),
        ("start_train: 20050103\nend_train: 20101231\nval_start: 20110103\nval_end: 20121231\n"
         "test_start: 20130102\ntest_end: 20141231",
         "2005-01-03 to 2010-12-31", "2011-01-03 to 2012-12-31", "2013-01-02 to 2014-12-31"),
        ("in_sample: 2005/01/03-2010/12/31\nout_of_sample: 2011/01/03-2014/12/31",
         "2005-01-03 to 2010-12-31", "2011-01-03 to 2014-12-31", None),
        ("train_start: 2005-01-03\ntrain_end: 2011-01-01\ntest_start: 2011-01-01\ntest_end: 2014-12-31",
         "2005-01-03 to 2010-12-31", "2011-01-01 to 2014-12-31", None),
        ("timerange: 20050103-20101231", "2005-01-03 to 2010-12-31", None, None),
        ("fromdate: 2005-01-03 00:00:00\ntodate: 2010-12-31", "2005-01-03 to 2010-12-31", None, None),
    ],
)  # fmt: skip
def test_dates_become_the_split(
    text: str, train: str | None, validation: str | None, holdout: str | None, tmp_path: Path
) -> None:
    error, grid = refused(f"parameters: {{max_bars: [3, 5]}}\n{text}\n", tmp_path)
    split = grid.split
    found = [str(each) if each else None for each in (split.train, split.validation, split.holdout)]
    assert found == [train, validation, holdout]
    if validation is None:
        assert "# one range only: declare a later one" in error.hint


def test_what_surrounds_a_grid_is_translated_or_named(tmp_path: Path) -> None:
    text = (
        "strategy: ibs\nsymbol: ES, NQ\nparams: {max_bars: [3, 5]}\nmetric: {name: sortino_ratio}\n"
        f"n_trials: 200\nseed: 7\nn_jobs: 4\nlimits: {{max_pbo: 0.4}}\ntop: 3\nfrobnicate: 1\n{DATES}"
    )
    error, grid = refused(text, tmp_path)
    assert (grid.symbols, grid.select_by, grid.top, grid.limits.max_pbo) == (("ES", "NQ"), "sortino", 3, 0.4)
    for note in (
        "n_trials: is an option of the command, --random 200", "seed: is an option of the command, --seed 7",
        "strategy: belongs in the strategy file", "frobnicate: is unknown here",
        "n_jobs: has no counterpart",
    ):  # fmt: skip
        assert f"# {note}" in error.hint
    assert "strategy, symbol, params, metric, n_trials, seed and 5 more" in str(error)


def test_the_block_is_a_whole_plan(tmp_path: Path) -> None:
    refused(f"symbol: COMP\nparams: {{entry_high: [0.1, 0.2], stop_loss: [0.02]}}\n{DATES}", tmp_path)
    plan = make_plan(BASELINE, tmp_path / "grid.yaml", Choices(name="pasted"))
    assert plan.space.variant(0).config is not None
    assert plan.runs == 2


def test_a_measure_or_a_call_that_nobody_can_translate_is_said(tmp_path: Path) -> None:
    text = (
        "objective: beauty\nparams: {max_bars: 'range(first, last)', colour: [1]}\ntrain_start: yesterday\n"
    )
    path = tmp_path / "grid.yaml"
    path.write_text(text)
    with pytest.raises(ForeignGrid) as caught:
        Grid.load(path)
    for note in (
        "objective beauty: winners are chosen by", "max_bars: is a call that cannot be read",
        "colour: no parameter of the strategy", "train: one of its two dates is missing",
    ):  # fmt: skip
        assert f"# {note}" in caught.value.hint


def test_symbols_are_a_list(tmp_path: Path) -> None:
    _, grid = refused("symbols: COMP\nparameters: {max_bars: [3]}", tmp_path)
    assert grid.symbols == ("COMP",)


@pytest.mark.parametrize(
    "text",
    [
        "parameters: {entry.high: {start: 0.1, stop: 0.3, step: 0.1}, stop: [null, {percent: 2.0}]}",
        "parameters: {stop: {percent: 2.0}, window: {start: '09:30', end: '16:00'}, filters.7.max: [1]}",
        "parameters: {size: [{kind: fixed, contracts: 1}]}\nsplit: {train: [2010-01-01, 2011-01-01]}",
        GRID.read_text(encoding="utf-8"),
    ],
)
def test_a_grid_of_our_own_is_never_taken_for_another_s(text: str, tmp_path: Path) -> None:
    path = tmp_path / "grid.yaml"
    path.write_text(text)
    Grid.load(path)


@pytest.mark.parametrize("text", ["parameter: {max_bars: [1]}", "parameters: {max_bars: []}", "[1, 2]"])
def test_a_misspelling_is_answered_in_one_line(text: str, tmp_path: Path) -> None:
    path = tmp_path / "grid.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        Grid.load(path)
    assert caught.value.hint == ""


def test_the_command_prints_the_block_below_the_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "grid.yaml"
    path.write_text("params: {max_bars: [3, 5]}")
    with pytest.raises(SystemExit) as stopped:
        run(lambda: Grid.load(path))
    assert stopped.value.code == 2
    line, blank, *block = capsys.readouterr().err.splitlines()
    assert line == f"error: {path}: params: written as for another tool; put the block below in its place"
    assert blank == ""
    path.write_text("\n".join(block))
    assert Grid.load(path).size == 2
    assert issubclass(ForeignGrid, ExperimentError)

"""One variant and one candidate by hand: what they print, count and refuse, through the real commands."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from lockstep.errors import ConfigError, ExperimentError, LockstepError
from lockstep.market.config import load_instruments
from lockstep.market.dates import DateRange
from lockstep.market.history import History, SeriesKey
from lockstep.market.loader import load_bars, load_history
from lockstep.strategy.family import load_strategy
from operations.candidates import observe_files, scored
from operations.contenders import CandidateOrigin, Contender, enrol, newest
from operations.evaluations import backtest_candidate, changed, changes_of
from operations.main import app
from research.experiments.execution import Lab
from research.ledger.candidates import candidate_named, sessions_of
from research.ledger.database import Database

ROOT = Path(__file__).resolve().parents[2]
BASELINE = ROOT / "configs/strategies/ibs_baseline.yaml"
NOON = datetime(2017, 3, 7, 12, tzinfo=UTC)
LATER = datetime(2019, 1, 7, 12, tzinfo=UTC)
YEARS = ("--start", "2015-01-02", "--end", "2016-12-30")


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lab:
    monkeypatch.setenv("LOCKSTEP_DB", f"sqlite:///{tmp_path / 'experiments.db'}")
    return Lab(database=Database.open())


@pytest.fixture
def dip(lab: Lab) -> Lab:
    """A ledger in which a candidate was registered in March 2017."""
    bars = load_bars("COMP")
    key = SeriesKey("COMP", bars.timeframe)
    known = History(bars={key: newest(bars, len(bars), NOON)}, markets=load_instruments().markets)
    contender = Contender.of_strategy(load_strategy(BASELINE), "COMP")
    origin = CandidateOrigin(searched="adaptive", trials=None)
    enrol(lab.ledger, contender, known, DateRange(), origin, name="dip", family="NASDAQ100", now=NOON)
    return lab


def lockstep(*words: str) -> Result:
    return CliRunner().invoke(app, list(words), prog_name="lockstep")


def refusal(*words: str) -> str:
    """Return the line of a refusal, as the command raises it."""
    found = lockstep(*words)
    assert isinstance(found.exception, LockstepError), found.output
    return str(found.exception)


def test_a_variant_is_compared_and_both_are_counted(lab: Lab) -> None:
    found = lockstep("evaluate", "variant", "--set", "entry.high=0.3", *YEARS)
    assert found.exit_code == 0, found.output
    assert "ibs_baseline, entry.high=0.3" in " ".join(found.output.split())
    assert "NASDAQ100: 2 trials over these dates so far" in found.output
    assert lab.ledger.counted("NASDAQ100", DateRange.of("2015-01-02", "2016-12-30")).trials == 2
    # The same once more is the same two trials.
    assert "NASDAQ100: 2 trials" in lockstep("evaluate", "variant", "--set", "entry.high=0.3", *YEARS).output


@pytest.mark.parametrize(
    ("values", "line"),
    [
        (("entry.hihg=0.3",), "unknown parameter path 'entry.hihg'; did you mean 'entry.high'?"),
        (("max_bars=0",), "--set max_bars=0"),
        (("entry.high=0.2",), "is what ibs_baseline does already; change something"),
        (("entry.high",), "is no path=value"),
        (("max_bars=5", "max_bars=6"), "is given twice"),
        (("max_bars=[",), "the value is no YAML"),
        (("name=x",), "name cannot vary"),
    ],
)
def test_what_is_no_variant_is_refused_and_not_counted(lab: Lab, values: tuple[str, ...], line: str) -> None:
    words = [word for each in values for word in ("--set", each)]
    assert line in refusal("evaluate", "variant", *words, *YEARS)
    assert lab.ledger.counted("NASDAQ100", DateRange()).trials == 0


def test_values_are_read_as_yaml_and_leave_the_base_alone() -> None:
    base = load_strategy(BASELINE)
    found = changed(base, changes_of(["stop.percent=3.5", "max_bars=4"]))
    assert found.model_dump()["stop"]["percent"] == 3.5
    assert found.model_dump()["max_bars"] == 4
    assert base == load_strategy(BASELINE)
    with pytest.raises(ConfigError, match="nothing to change"):
        changes_of([])


def test_a_candidate_is_run_before_and_after_its_registration(dip: Lab) -> None:
    found = backtest_candidate(dip, "dip")
    assert found.since is not None
    assert f"{found.past.equity['session_date'].iloc[-1]:%Y-%m-%d}" == "2017-03-06"
    # Not the session that was open when it was registered, on 7 March.
    assert f"{found.since.equity['session_date'].iloc[0]:%Y-%m-%d}" == "2017-03-08"
    candidate = candidate_named(dip.ledger, "dip")
    observe_files(dip.ledger, [candidate], None, None, now=LATER)
    scored(dip.ledger, candidate, now=LATER)
    dates, residuals = sessions_of(dip.ledger, candidate)
    days = found.since.equity["session_date"].dt.date.unique().tolist()
    assert dates.tolist() == days
    # Bars that nobody corrected: what the sessions earned is what the evidence was made of.
    equity = found.since.equity.groupby(found.since.equity["session_date"].dt.date)["equity"].last()
    before = np.concatenate(([found.since.config.capital], equity.to_numpy()[:-1]))
    history = load_history("COMP", None, timeframe=found.since.config.bars)
    run = Contender.of_candidate(candidate).run(history, DateRange.of(str(days[0]), str(days[-1])))
    np.testing.assert_allclose(
        run.returns, (equity.to_numpy() - before) / found.since.config.capital, atol=1e-12
    )
    assert np.array_equal((run.returns - candidate.beta * run.market) / candidate.sigma, residuals)


def test_the_command_says_which_row_is_which(dip: Lab) -> None:
    found = lockstep("evaluate", "candidate", "dip")
    assert found.exit_code == 0, found.output
    assert found.output.count("COMP ") == 2
    assert "the last row is since its registration, 2017-03-08 to 2018-12-31" in found.output
    assert "Both engines agree on every record." in found.output


def test_pages_are_written(dip: Lab, tmp_path: Path) -> None:
    found = lockstep("evaluate", "report", "dip", "--out", str(tmp_path / "out"))
    assert found.exit_code == 0, found.output
    pages = [
        Path(line.removeprefix("page: ")) for line in found.output.splitlines() if line.startswith("page: ")
    ]
    assert len(pages) == 2
    assert all(page.stat().st_size > 10_000 for page in pages)


def test_what_is_not_there_is_refused(lab: Lab) -> None:
    assert "candidate dop: is not registered" in refusal("evaluate", "candidate", "dop")
    assert "experiment 7" in refusal("evaluate", "report", "7")
    with pytest.raises(ExperimentError):
        backtest_candidate(lab, "dop")

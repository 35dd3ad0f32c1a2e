"""Twelve ways to talk the judge round, each beside the honest way.

Each ends in a refusal, or in a line of the strategy log that its next reader cannot miss. The honest search
is made once; each test plays on in a copy of its database, in real SQLite, with a strategy log of its own.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from sqlalchemy import text
from typer.testing import CliRunner

from lockstep.errors import PromotionRefused, TrainingError
from lockstep.market.config import load_instruments
from lockstep.market.dates import FIRST, DateRange
from lockstep.market.families import load_families
from lockstep.market.loader import load_bars
from research.backtest_runner import app as runner
from research.experiments.execution import Lab
from research.experiments.plan import Plan
from research.experiments.promotion import Promotion, PromotionRequest, promote
from research.experiments.selection import ranking
from research.ledger.append_only import APPEND_ONLY
from research.ledger.database import Database
from research.model_validation.checks_luck import hold_out_agrees
from research.statistics.gate import GateLimits
from research.training.counting import trainings, trial_counter
from research.training.dataset import dates_of
from research.training.out_of_sample import look_once
from research.training.scheme import divide
from support.experiments import BASELINE, SPLIT, plan, skilled, toy_lab
from support.training import invented, invented_config, noon
from support.validation_models import HoldOutFound

LOOSE = GateLimits(max_sharpe_gap=99, min_sharpe_ratio=0, min_test_sharpe=-99, max_pbo=1, min_dsr=1e-9)
# 32 variants without an edge; the best looks like one: Sharpe 2.4 on the test range, .4 on the hold-out.
NOISE = plan(
    parameters={"entry.high": (0.05, 0.1, 0.15, 0.25, 0.3, 0.35, 0.4, 0.45), "max_bars": (44, 45, 46, 47)}
)
OPEN = SPLIT.model_copy(update={"holdout": None})


@dataclass
class Desk:
    """A trader's folder: one ledger, one strategy log, strategy files."""

    folder: Path

    @property
    def lab(self) -> Lab:
        return toy_lab(Database.open(self.url), book=load_instruments(), families=load_families())

    @property
    def url(self) -> str:
        return f"sqlite:///{self.folder / 'trials.db'}"

    @property
    def log(self) -> str:
        return (self.folder / "STRATEGY_LOG.md").read_text()

    def promote(self, experiment: int = 1, name: str = "winner", **changes: Any) -> Promotion:
        places = {"folder": self.folder / "strategies", "log": self.folder / "STRATEGY_LOG.md"}
        return promote(self.lab, PromotionRequest(experiment=experiment, name=name, **places, **changes))

    def refused(self, sentence: str, experiment: int = 1, name: str = "cheat") -> None:
        """It is refused with the sentence, which is in the ledger, and in the log if it is forced."""
        with pytest.raises(PromotionRefused, match=sentence):
            self.promote(experiment, name)
        *_, last = self.lab.ledger.verdicts("refused")
        assert last.subject == name
        self.promote(experiment, name, force=True, reason="to see the line")
        entry = self.log[self.log.index(f"## {name} (") :]
        assert "- gate: forced: to see the line" in entry
        assert "- earlier attempts: refused" in entry

    def tamper(self, *statements: str) -> None:
        """Whoever holds the file can do that: triggers keep no owner out."""
        with self.lab.database.write() as connection:
            for model in APPEND_ONLY:
                table = model.__tablename__
                for name in ("no_update", "no_delete", "no_replace"):
                    connection.execute(text(f"DROP TRIGGER {table}_{name}"))
            for statement in statements:
                connection.execute(text(statement))


@pytest.fixture(scope="module")
def searched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder of a desk that made one honest search."""
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("desk")
        patch.setenv("LOCKSTEP_CACHE_DIR", str(folder / "cache"))
        Desk(folder).lab.run(skilled())
        yield folder


@pytest.fixture
def desk(searched: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Desk:
    monkeypatch.setenv("LOCKSTEP_CACHE_DIR", str(tmp_path / "cache"))
    return copy(searched, tmp_path / "desk")


def copy(searched: Path, folder: Path) -> Desk:
    folder.mkdir()
    shutil.copy(searched / "trials.db", folder)
    return Desk(folder)


@pytest.fixture
def promoted(desk: Desk) -> Desk:
    """The honest way: the winner of the one search is promoted, and nothing had to be overruled."""
    done = desk.promote()
    assert done.refusals == ()
    assert "- gate: passed" in desk.log
    assert "earlier attempts" not in desk.log
    assert "guards" not in desk.log
    return desk


@pytest.fixture
def alias(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[float], Path]:
    """Return what writes COMP's bars, times a factor, as COMPX, a family of its own in the user's file."""

    def written(factor: float) -> Path:
        bars, folder = load_bars("COMP"), tmp_path / "mine"
        (folder / "bars").mkdir(parents=True)
        dates = load_instruments().session("COMP").dates(bars.end, bars.timeframe)
        columns = (bars.open, bars.high, bars.low, bars.close)
        lines = [
            f"{day},{','.join(repr(factor * float(each)) for each in row)},{int(volume)}"
            for day, volume, *row in zip(dates, bars.volume, *columns, strict=True)
        ]
        (folder / "bars" / "COMPX.csv").write_text(
            "Date,Open,High,Low,Close,Volume\n" + "\n".join(lines) + "\n"
        )
        (folder / "instruments.yml").write_text(
            "instruments:\n"
            "  COMPX: {session: NYSE, multiplier: 20, tick_size: 0.25, commission: {per_contract: 1.25}}\n"
            "sources:\n"
            '  mine: {folder: bars, file: "{symbol}", symbols: [COMPX], timeframe: 1d, stamp: session_date, '
            "session: NYSE, adjustment: none}\n"
            "families:\n  ANOTHER: [COMPX]\n"
        )
        monkeypatch.setenv("LOCKSTEP_INSTRUMENTS", str(folder / "instruments.yml"))
        return folder / "bars"

    return written


def test_1_rename_a_symbol(promoted: Desk, alias: Callable[[float], Path]) -> None:
    under_another_name = skilled(symbols=("COMPX",), data_dir=str(alias(1.0)))
    number = promoted.lab.run(under_another_name).id
    promoted.refused(
        r"hold-out .* of ANOTHER was opened once before \(2026-01-02 for promotion of winner", number
    )
    assert "- market: COMPX is the same market as COMP" in promoted.log


def test_2_delete_an_experiment_or_rows(promoted: Desk, tmp_path: Path, searched: Path) -> None:
    other = copy(searched, tmp_path / "other")
    before = other.lab.ledger.count("NASDAQ100", SPLIT.train.start, SPLIT.validation.end)
    other.lab.store.delete(1)
    assert other.lab.ledger.count("NASDAQ100", SPLIT.train.start, SPLIT.validation.end) == before == 3
    promoted.tamper("DELETE FROM look", "DELETE FROM link WHERE table_name = 'look'")
    promoted.refused("ledger .*: link .* does not follow the one before it")


def test_3_drop_triggers(desk: Desk) -> None:
    desk.tamper()
    done = desk.promote()
    assert done.refusals == ()
    assert "- guards of the ledger: " in desk.log
    assert "- guards of the ledger: " in done.path.read_text().replace("# ", "- ")


def test_4_fresh_database(promoted: Desk) -> None:
    for path in promoted.folder.glob("trials.db*"):
        path.unlink()
    promoted.lab.run(skilled())
    promoted.refused("STRATEGY_LOG.md, winner: this is another ledger")


def test_5_alias(promoted: Desk, alias: Callable[[float], Path]) -> None:
    with_other_prices = skilled(symbols=("COMPX",), data_dir=str(alias(0.1)))
    number = promoted.lab.run(with_other_prices).id
    promoted.refused(r"hold-out .* of ANOTHER was opened once before", number)


def alone(folder: Path, search: Plan) -> Promotion:
    """Promote in a ledger that knows of nothing else: what the cheat would give without a memory."""
    folder.mkdir()
    desk = Desk(folder)
    desk.lab.run(search)
    return desk.promote()


def test_6_winner_alone(desk: Desk, tmp_path: Path) -> None:
    winner = NOISE.model_copy(update={"parameters": {"entry.high": (0.1,), "max_bars": (45,)}})
    assert alone(tmp_path / "fresh", winner).refusals == ()
    memory = Desk(desk.folder / "memory")
    memory.folder.mkdir()
    record = memory.lab.run(NOISE)
    assert ranking(memory.lab.store, record)[0].parameters == {"entry.high": 0.1, "max_bars": 45}
    memory.refused("32 trials without skill does as well")
    number = memory.lab.run(winner).id
    memory.refused("32 trials without skill does as well", number, "alone")


def test_7_many_small_experiments(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    small = [
        NOISE.model_copy(
            update={"name": f"part {bars}", "parameters": {**NOISE.parameters, "max_bars": (bars,)}}
        )
        for bars in NOISE.parameters["max_bars"]
    ]
    for search in small:
        desk.lab.run(search)
    desk.refused("the search learned from earlier results", 2)
    assert alone(tmp_path / "fresh", small[1]).refusals == ()


def test_8_loose_limits(desk: Desk) -> None:
    number = desk.lab.run(skilled(name="loose", limits=LOOSE)).id
    desk.refused("the limits are looser than those that are shipped: max_sharpe_gap 99 instead of 1", number)
    assert "- limits: max_sharpe_gap 99, " in desk.log
    assert "LOOSER THAN SHIPPED" in desk.log


def test_9_no_hold_out(desk: Desk) -> None:
    number = desk.lab.run(skilled(name="open", split=OPEN)).id
    desk.refused("there is no hold-out", number)
    assert "- hold-out: none was sealed" in desk.log


def test_10_hand_run_over_sealed_dates(desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOCKSTEP_DB", desk.url)
    given = ["--symbol", "COMP", "--strategy", str(BASELINE), "--start", "2013-06-03", "--end", "2013-06-28"]
    done = CliRunner().invoke(runner, [*given, "--out", str(tmp_path / "runs")], catch_exceptions=False)
    assert "It is counted" in " ".join(done.output.split())
    desk.refused(r"was opened once before \(\d{4}-\d\d-\d\d for backtest of baseline_v1\)")


def test_11_retrain_with_other_seeds(tmp_path: Path) -> None:
    ledger, settings, samples = Desk(tmp_path).lab.ledger, invented_config(), invented()
    sealed = dates_of(samples, divide(settings, samples).hold_out)
    told = []
    for seed in range(1, 5):
        trial_counter(ledger, "NASDAQ100", settings, samples, seed=seed, now=noon)
        looks = look_once(ledger, "NASDAQ100", "COMP", sealed, version=f"seed {seed}", now=noon())
        found = HoldOutFound(looks=looks, p_value=0.01)
        case = SimpleNamespace(hold_out=lambda _, found=found: found, acceptance=settings.acceptance)
        told.append(hold_out_agrees.judge(case))  # type: ignore[arg-type]
    # The same luck: enough at the first look, too little at every further one, and all trainings count.
    assert [each.passed for each in told] == [True, False, False, False]
    assert (
        "it was look 4 of the family at these days, so that p = 0.01 must be at most 0.0019"
        in told[-1].sentence
    )
    before = DateRange(start=FIRST, end=sealed.start - timedelta(days=1))
    assert trainings(ledger, "NASDAQ100", before) == 4
    with pytest.raises(TrainingError, match="was opened before"):
        look_once(ledger, "NASDAQ100", "COMP", sealed, version="seed 1", now=noon())


def test_12_a_second_declared_grid_around_the_first_winner(tmp_path: Path) -> None:
    around = {"entry.high": (0.09, 0.1, 0.11), "max_bars": (45,)}
    second = NOISE.model_copy(update={"name": "around", "parameters": around})
    desk = Desk(tmp_path)
    desk.lab.run(NOISE)
    within = NOISE.model_copy(
        update={"name": "within", "parameters": {**NOISE.parameters, "max_bars": (45, 46)}}
    )
    assert desk.lab.ledger.searched(desk.lab.run(within).id, "COMP").declared
    number = desk.lab.run(second).id
    assert not desk.lab.ledger.searched(number, "COMP").declared
    desk.refused("the search learned from earlier results", number)
    assert "p-value after all of them not valid: the search learned from earlier results" in desk.log
    assert alone(tmp_path / "fresh", second).refusals == ()

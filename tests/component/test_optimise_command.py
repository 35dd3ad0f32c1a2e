"""`optimize-portfolio`: from a plan's file to a portfolio's, lanes of a store and of files, refusals."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from copy import deepcopy
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from typer.testing import CliRunner, Result

from lockstep.errors import ConfigError, DataError
from lockstep.market.config import load_instruments, shipped_config
from lockstep.market.dates import DateRange
from lockstep.models.store import ModelStore
from lockstep.portfolio.config import load_portfolio_config
from research.ledger.database import Database
from research.ledger.ledger import Ledger
from research.optimise.command import app
from research.optimise.lanes import LaneStream, StreamSource
from research.optimise.methods import CONTROLS, METHODS
from research.optimise.plan import PortfolioPlan, load_plan
from research.optimise.streams import PortfolioStreams
from research.training.out_of_sample import traced_runs
from research.training.run import Task, Trained, run_training
from support.plans import optuna_stand_in
from support.training import NOON, config, noon

BOOK = load_instruments()
PLAN: dict[str, Any] = {
    "capital": 2_000_000.0,
    "day": "NYSE",
    "lanes": [{"symbol": "COMP", "strategy": "comp.yaml"}, {"symbol": "SPX", "version": "production"}],
    "groups": {"us_equity": {"symbols": ["COMP", "SPX"]}},
    "target_volatility": 0.1,
    "drawdown": {"at": 0.5},
    "limits": {"daily_loss": {"fraction": 0.05}, "max_gross": 4.0},
}
STRATEGY = {"name": "comp", "entry": [0.0, 0.3], "max_bars": 8}
COMMAND = ("--plan", "--out", "--results", "--runs", "--store")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """A small training of SPX, with a ledger and a folder of its own."""
    folder = tmp_path_factory.mktemp("desk")
    task = Task(
        config=config(), config_path="", data_dir=None, seed=0, jobs=1, resume=False, out=folder / "runs"
    )  # fmt: skip
    return run_training(task, Ledger(Database.open(f"sqlite:///{folder / 'ledger.db'}")), now=noon)


@pytest.fixture(scope="module")
def desk(trained: Trained) -> Path:
    """A folder with the trained SPX in production, its training run, a strategy of COMP and a plan."""
    folder = trained.folder.parents[1]
    store = ModelStore(folder / "store")
    store.register(trained.bundle, record=trained.record, by="test", now=NOON)
    store.promote("SPX", "v1", by="test", now=NOON, reason="for a test", force=True)
    (folder / "comp.yaml").write_text(yaml.safe_dump(STRATEGY))
    (folder / "plan.yml").write_text(yaml.safe_dump(PLAN))
    return folder


@pytest.fixture(autouse=True)
def _own_ledger(desk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOCKSTEP_DB", f"sqlite:///{desk / 'ledger.db'}")


def called(desk: Path, *more: str, plan: str = "plan.yml", out: str = "configs") -> Result:
    places = (
        desk / plan,
        desk / out / "portfolio_config.yml",
        desk / out / "kept",
        desk / "runs",
        desk / "store",
    )
    given = [text for pair in zip(COMMAND, map(str, places), strict=True) for text in pair]
    given += ["--start", "2014-02-03"]
    return CliRunner().invoke(app, [*given, *more])


def source(desk: Path, **changes: Any) -> StreamSource:
    given: dict[str, Any] = {
        "plan": PortfolioPlan.model_validate(PLAN), "folder": desk, "store": ModelStore(desk / "store"),
        "runs": desk / "runs", "book": BOOK, "ledger": Ledger(Database.open()), "now": NOON,
    }  # fmt: skip
    return StreamSource(**given | changes)


def lanes(desk: Path, **changes: Any) -> dict[str, LaneStream]:
    return source(desk, **changes).lanes()


def test_the_command_writes_a_portfolio_that_is_read(desk: Path) -> None:
    done = called(desk)
    assert done.exit_code == 0, done.output
    assert "v1, the walk-forward" in " ".join(done.output.split())
    written = load_portfolio_config(desk / "configs" / "portfolio_config.yml", BOOK)
    assert {each.symbol: each.version or each.strategy for each in written.lanes} == {
        "COMP": "../comp.yaml", "SPX": "production",
    }  # fmt: skip
    assert (
        written.made["streams"]["SPX"]["bundle"]
        == ModelStore(desk / "store").manifest().entry("SPX", "v1").sha256
    )
    assert written.limits.max_gross == 4.0
    ledger, dates = Ledger(Database.open()), DateRange.of(*written.made["sessions"][:2])
    counted = {family: ledger.counted(family, dates) for family in ("NASDAQ100", "SP500")}
    assert counted["NASDAQ100"].trials == len(METHODS) + len(CONTROLS) + written.made["limit_sets_tried"]
    assert counted["SP500"].trials > counted["NASDAQ100"].trials
    assert counted["NASDAQ100"].adaptive == 1
    before = {path.name: path.read_bytes() for path in (desk / "configs").rglob("*") if path.is_file()}
    with pytest.MonkeyPatch.context() as patched:
        patched.setitem(sys.modules, "optuna", optuna_stand_in())
        searched = called(desk, "--optuna", "3")
    assert searched.exit_code == 0, searched.output
    (kept,) = (desk / "configs" / "kept").glob("optuna-*.json")
    assert f"search by results, in sample and adaptive: {kept}" in searched.output.replace("\n", "")
    kept.unlink()
    after = {path.name: path.read_bytes() for path in (desk / "configs").rglob("*") if path.is_file()}
    assert after == before
    assert ledger.counted("NASDAQ100", dates).trials == counted["NASDAQ100"].trials + 3


def test_a_models_stream_is_that_of_its_walk_forward(desk: Path, trained: Trained) -> None:
    """Bit for bit the trades of the training report's account, not those of the final model."""
    found = lanes(desk)["SPX"]
    runs = traced_runs(trained.outcome, trained.history)
    assert (found.dates.start, found.dates.end) == (
        runs.filtered.date[0].item(), runs.filtered.date[-1].item(),
    )  # fmt: skip
    assert found.answers is not None
    asked = np.isfinite(found.answers.probability).sum()
    assert 20 < asked < np.isfinite(trained.outcome.dataset.net_pnl).sum()
    assert found.dates.end < DateRange.of("2017-01-03").start
    plan = PortfolioPlan.model_validate(PLAN | {"lanes": PLAN["lanes"][1:], "groups": {}})
    alone = PortfolioStreams.of(plan, {"SPX": found}, BOOK)
    account = runs.filtered
    profits = np.diff(np.concatenate(([account.capital], account.session_equity)))
    np.testing.assert_array_equal(alone.days, account.sessions.astype(np.int64))
    np.testing.assert_allclose(alone.pnl[:, 0], profits, atol=1e-6)
    assert (alone.pnl[:, 0] != 0).sum() > 50
    other = np.diff(np.concatenate(([account.capital], runs.unfiltered.session_equity)))
    assert not np.allclose(alone.pnl[:, 0], other)


def test_without_its_training_run_a_model_is_out_of_sample_after_it_only(
    desk: Path, trained: Trained
) -> None:
    found = lanes(desk, runs=desk / "nowhere")["SPX"]
    fitted = DateRange.of(*trained.bundle.training["range"])
    assert found.dates.start == fitted.end + timedelta(days=1)
    assert found.answers is None
    assert "after the dates that it was fitted on" in found.seen
    looks = Ledger(Database.open()).looks("SP500", found.dates)
    assert looks[-1].purpose == "optimisation of desk"


def test_a_strategy_trades_what_no_search_saw_and_nobody_sealed(desk: Path) -> None:
    found = lanes(desk)["COMP"]
    assert str(found.dates) == "1999-01-04 to 2018-12-31"

    class Told(Ledger):
        def last_searched(self, config_hash: str) -> Any:
            assert config_hash == found.strategy.config_hash
            return DateRange.of("2004-12-31").start

        def sealed(self, family: str, dates: DateRange, also: Any = ()) -> tuple[DateRange, ...]:
            assert family == "NASDAQ100"
            return (DateRange.of("2016-01-04", "2018-12-31"),)

    known = lanes(desk, ledger=Told(Database.open()))["COMP"]
    assert str(known.dates) == "2005-01-01 to 2016-01-03"


def test_dates_that_are_in_sample_are_refused(desk: Path) -> None:
    with pytest.raises(
        ConfigError, match=r"--start 2008-01-02: SPX is out of sample from 201.* on \(v1, the"
    ):
        lanes(desk, span=DateRange.of("2008-01-02"))
    with pytest.raises(
        ConfigError, match=r"--end 2018-06-29: SPX is out of sample to 201.*end there or earlier"
    ):
        lanes(desk, span=DateRange.of(end="2018-06-29"))
    found = lanes(desk, span=DateRange.of("2013-01-02", "2015-12-31"))
    assert {str(each.dates) for each in found.values()} == {"2013-01-02 to 2015-12-31"}


def test_a_model_that_saw_all_of_its_bars_is_refused_without_its_run(desk: Path) -> None:
    class Old(StreamSource):
        def _history(self, *given: Any) -> Any:
            history = super()._history(*given)
            key = next(each for each in history.bars if each.symbol == "SPX")
            last = history.series(key)
            bars = {**history.bars, key: last.rows(0, 500)}
            return type(history)(bars=bars, markets=history.markets)

    given = source(desk)
    old = Old(**{name: getattr(given, name) for name in given.__dataclass_fields__} | {"runs": desk / "gone"})
    with pytest.raises(
        DataError, match=r"SPX v1: was fitted on .* no answer is out of sample; name the folder"
    ):
        old.lanes()


Edit = Callable[[dict[str, Any]], Any]


def put(*path: Any, value: Any) -> Edit:
    def edit(content: dict[str, Any]) -> None:
        for key in path[:-1]:
            content = content[key]
        content[path[-1]] = value

    return edit


def renamed(old: str, new: str) -> Edit:
    return lambda content: content.update({new: content.pop(old)})


LANE = {"symbol": "ES", "strategy": "comp.yaml"}
CASES: dict[str, tuple[Edit, str]] = {
    "unknown symbol": (
        lambda content: content["lanes"].append(LANE | {"symbol": "SPYY"}), "'SPYY'.*did you mean 'SPY'",
    ),
    "a former key": (renamed("capital", "cash"), "'cash' is no key any more; write capital"),
    "former lanes": (renamed("lanes", "instruments"), "'instruments' is no key any more; write lanes"),
    "former limits": (put("risk", value={}), "'risk' is no key any more; write target_volatility"),
    "unknown key": (put("target_volatilty", value=0.1), "did you mean 'target_volatility'"),
    "two lanes of a symbol": (put("lanes", 0, "symbol", value="SPX"), "SPX: two lanes trade it"),
    "a session without a calendar": (put("day", value="NYSEE"), "session 'NYSEE': .*did you mean 'NYSE'"),
    "version and strategy": (put("lanes", 0, "version", value="v1"), "COMP: give a version or a strategy"),
    "a stranger in a group": (
        put("groups", "us_equity", "symbols", value=["COMP", "SPX", "ES"]), "us_equity: ES has no lane",
    ),
    "in two groups": (put("groups", "more", value={"symbols": ["SPX"]}), "SPX: in groups more and us_equity"),
    "a group without a family's member": (
        lambda content: content["lanes"].append(LANE), "us_equity: has SPX and not ES, which are one market",
    ),
    "one market as two bets": (
        lambda content: (content["lanes"].append(LANE), content.pop("groups")),
        "ES and SPX are one market .*put both into one of `groups`",
    ),
    "a drawdown rule that locks the desk out": (
        put("limits", "drawdown", value={"tiers": [{"at": 0.03, "scale": 0.0}]}), "drawdown",
    ),
    "no drawdown": (lambda content: content.pop("drawdown"), "key 'drawdown' is missing"),
    "no lanes": (put("lanes", value=[]), "lanes"),
    "order of others": (put("rank", value={"by": "listed", "order": ["SPX"]}), "rank: order SPX is not"),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_a_bad_plan_is_refused_in_one_line(case: str, tmp_path: Path) -> None:
    edit, message = CASES[case]
    content = deepcopy(PLAN)
    edit(content)
    path = tmp_path / "plan.yml"
    path.write_text(yaml.safe_dump(content))
    with pytest.raises(ConfigError, match=message) as refused:
        load_plan(path, BOOK)
    assert "\n" not in str(refused.value)
    assert str(refused.value).startswith(f"{path}: ")


@pytest.mark.parametrize("name", ["training/portfolio.yml", "demo/portfolio.yml"])
def test_the_shipped_plans_are_read(name: str) -> None:
    assert load_plan(shipped_config(name), BOOK).symbols == ("COMP", "SPX")


def test_the_good_plan_is_read_and_every_field_is_in_its_hash(desk: Path) -> None:
    plan = load_plan(desk / "plan.yml", BOOK)
    reversed_ = plan.model_copy(update={"lanes": plan.lanes[::-1]})
    assert reversed_.plan_hash == plan.plan_hash
    changes = {
        "name": "x", "capital": 1.0, "day": "CME", "lanes": plan.lanes[:1], "groups": {},
        "correlation": plan.correlation.model_copy(update={"window": 99}), "target_volatility": 0.2,
        "drawdown": plan.drawdown.model_copy(update={"at": 0.3}),
        "limits": plan.limits.model_copy(update={"max_gross": 1.0}),
        "rank": plan.rank.model_copy(update={"top": 1}), "neutral": ("gold",),
    }  # fmt: skip
    assert changes.keys() == PortfolioPlan.model_fields.keys()
    hashes = {plan.model_copy(update={name: value}).plan_hash for name, value in changes.items()}
    assert len(hashes | {plan.plan_hash}) == len(changes) + 1


def test_a_strategy_that_fills_at_the_close_is_refused(desk: Path) -> None:
    (desk / "close.yaml").write_text(yaml.safe_dump(STRATEGY | {"execution": "close"}))
    plan = PortfolioPlan.model_validate(
        PLAN | {"lanes": [{"symbol": "COMP", "strategy": "close.yaml"}], "groups": {}}
    )
    with pytest.raises(ConfigError, match="COMP: execution close fills before its entry can be admitted"):
        lanes(desk, plan=plan)


def test_without_optuna_the_option_is_refused_before_anything_is_done(
    desk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    for trials, message in (("5", "optuna is not installed"), ("0", "--optuna 0: must be")):
        done = called(desk, "--optuna", trials, plan="none.yml", out="nowhere")
        assert isinstance(done.exception, ConfigError)
        assert message in str(done.exception)
    assert not (desk / "nowhere").exists()


def test_a_refusal_leaves_what_was_there(desk: Path, tmp_path: Path) -> None:
    shutil.copy(desk / "comp.yaml", tmp_path / "comp.yaml")
    content = PLAN | {"capital": 100.0}
    (desk / "small.yml").write_text(yaml.safe_dump(content))
    current = desk / "refused" / "portfolio_config.yml"
    current.parent.mkdir()
    current.write_text("as it was")
    done = called(desk, plan="small.yml", out="refused")
    assert isinstance(done.exception, ConfigError)
    assert "capital 100 USD: too small" in str(done.exception)
    assert current.read_text() == "as it was"
    assert list(current.parent.iterdir()) == [current]

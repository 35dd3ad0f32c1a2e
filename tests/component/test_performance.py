"""The performance store of real accounts: candidates, the lanes of a desk, the winner of an experiment."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

import operations.contenders
from lockstep.errors import DataError, LockstepError
from lockstep.live.config import LiveConfig
from lockstep.market.bars import Bars
from lockstep.market.dates import DateRange
from lockstep.market.loader import load_bars
from lockstep.strategy.config import StrategyConfig
from lockstep.strategy.family import load_strategy
from operations.candidates import scored
from operations.candidates_cli import app as candidates_app
from operations.contenders import Contender
from operations.export_cli import app as export_app
from operations.performance import account_name, store_periods
from operations.reports.account import account_numbers
from operations.reports.desk import account_of_desk
from research.backtest.account import Account
from research.backtest.run import run_backtest
from research.experiments.execution import Lab
from research.experiments.service import verified_ranking
from research.ledger.candidates import candidates
from research.ledger.database import Database
from research.ledger.first_seen import see, seen_bars
from research.ledger.performance import PeriodRow, read
from support import papers
from support.candidates import BASELINE, KEY, NOON, enrolled, known, until
from support.experiments import plan
from support.real_fills import live_desk
from support.watching import WatchedDesk, watched_desk

LATER = NOON + timedelta(days=120)


@pytest.fixture(scope="module")
def bars() -> Bars:
    return load_bars("COMP")


@pytest.fixture(scope="module")
def strategy() -> StrategyConfig:
    return load_strategy(BASELINE)


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    return Lab(database=Database.open(f"sqlite:///{tmp_path / 'experiments.db'}"))


def night(lab: Lab, bars: Bars, days: int) -> Any:
    """See and score what there is so many days after the registration, and store its periods."""
    now = NOON + timedelta(days=days)
    see(lab.ledger, KEY, until(bars, now), now=now, source="file")
    (candidate,) = candidates(lab.ledger)
    scored(lab.ledger, candidate, now=now)
    return store_periods(lab, now=now)


def months(rows: list[PeriodRow]) -> dict[str, PeriodRow]:
    return {f"{each.first_date:%Y-%m}": each for each in rows if each.period == "month"}


class TestCandidates:
    def test_shadow_is_what_a_backtest_of_the_sessions_since_makes(
        self, lab: Lab, strategy: StrategyConfig, bars: Bars
    ) -> None:
        enrolled(lab.ledger, strategy, bars)
        found = night(lab, bars, 120)
        assert [each.subject.account for each in found.stored] == ["candidate 1"]
        shadow = read(lab.ledger, mode="shadow")
        days = [each for each in shadow if each.period == "day"]
        # 7 March, in which it was registered, does not count.
        assert str(days[0].first_date) == "2012-03-08"
        span = DateRange.of("2012-03-08", str(days[-1].last_date))
        account = Account.of_backtest(run_backtest(strategy, known(bars, LATER), "COMP", span=span))
        assert [each.result for each in days] == pytest.approx(account.returns.tolist(), abs=1e-12)
        april = account.between(np.datetime64("2012-04-01"), np.datetime64("2012-04-30"))
        month = months(shadow)["2012-04"]
        assert (month.sessions, month.trades) == (april.sessions.size, april.pnl.size)
        assert month.pnl == pytest.approx(april.measures["net_profit"], abs=1e-6)
        assert month.sharpe == pytest.approx(april.measures["sharpe"])
        assert month.drawdown == pytest.approx(april.measures["max_drawdown"])
        assert month.win_rate == pytest.approx(april.measures["win_rate"], nan_ok=True)
        assert "2012-07" not in months(shadow), "it has begun, and is not over"

    def test_three_nights_store_what_one_does_and_a_second_look_nothing(
        self, lab: Lab, strategy: StrategyConfig, bars: Bars, tmp_path: Path
    ) -> None:
        other = Lab(database=Database.open(f"sqlite:///{tmp_path / 'other.db'}"))
        for each in (lab, other):
            enrolled(each.ledger, strategy, bars)
        for days in (20, 61, 120):
            night(lab, bars, days)
        night(other, bars, 120)
        one, three = ([(row.period, row.first_date, row.pnl, row.trades) for row in read(each.ledger)]
                      for each in (other, lab))  # fmt: skip
        assert one == three
        assert store_periods(lab, now=LATER).stored == (), "no new session: it is not even run"

    def test_history_is_stored_with_the_registration_or_nothing_is(
        self, lab: Lab, strategy: StrategyConfig, bars: Bars, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with monkeypatch.context() as patch:
            patch.setattr(operations.contenders, "store", _full_disk)
            with pytest.raises(LockstepError, match="no space left"):
                enrolled(lab.ledger, strategy, bars)
        assert candidates(lab.ledger) == []
        with pytest.raises(DataError, match="no bar of it was seen yet"):
            seen_bars(lab.ledger, KEY)
        enrolled(lab.ledger, strategy, bars)
        backtest = read(lab.ledger, mode="backtest")
        account = Account.of_backtest(run_backtest(strategy, known(bars, NOON), "COMP"))
        days = [each for each in backtest if each.period == "day"]
        assert [each.pnl for each in days] == pytest.approx(
            np.diff(account.session_equity, prepend=account.capital).tolist(), abs=1e-6
        )
        assert sum(each.trades for each in days) == account.pnl.size

    def test_sealed_days_stay_sealed(self, lab: Lab, strategy: StrategyConfig, bars: Bars) -> None:
        held = DateRange.of("2010-01-04", "2010-12-31")
        searched = DateRange.of("2008-01-02", "2009-12-31")
        lab.ledger.enact("NASDAQ", searched, limits={}, holdout=held, now=NOON)
        found = enrolled(lab.ledger, strategy, bars)
        days = [each for each in read(lab.ledger, mode="backtest") if each.period == "day"]
        years = [each.first_date.year for each in days]
        assert (years.count(2009), years.count(2010), years.count(2011)) == (252, 0, 252)
        every = Contender.of_candidate(found).by_regime(known(bars, NOON), DateRange())
        hidden = {each.name: each.trades for each in every}
        for each in found.regimes or ():
            hidden[each.name] -= each.trades
        assert min(hidden.values()) >= 0
        assert 10 < sum(hidden.values()) < 60, "about a year of trades"

    def test_one_that_is_not_what_it_was_stops_no_other(
        self, lab: Lab, strategy: StrategyConfig, bars: Bars, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        enrolled(lab.ledger, strategy, bars)
        enrolled(lab.ledger, strategy.replaced(max_bars=3), bars, name="other")
        see(lab.ledger, KEY, until(bars, LATER), now=LATER, source="file")
        for each in candidates(lab.ledger):
            scored(lab.ledger, each, now=LATER)
        real = operations.contenders.Contender.of_candidate

        def spoilt(candidate: Any) -> Any:
            if candidate.name == "dip":
                raise DataError("dip: is something else now")
            return real(candidate)

        monkeypatch.setattr(operations.contenders.Contender, "of_candidate", spoilt)
        found = store_periods(lab, now=LATER)
        assert found.troubles == ("performance of dip: dip: is something else now",)
        assert [each.subject.name for each in found.stored] == ["other"]
        assert found.lines[0].endswith("periods stored")


def _full_disk(*_: Any, **__: Any) -> None:
    raise LockstepError("no space left")


@pytest.fixture(scope="module")
def paper(tmp_path_factory: pytest.TempPathFactory) -> WatchedDesk:
    """A desk on paper that has traded."""
    found = watched_desk(tmp_path_factory.mktemp("desk"), reference=False)
    papers.traded(found.folder, found.models()[0], name="live.db")
    return found


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> WatchedDesk:
    """A desk in mode live whose broker reported its fills."""
    return live_desk(tmp_path_factory.mktemp("real"))


class TestDesks:
    @pytest.mark.parametrize("mode", ["paper", "live"])
    def test_months_are_those_of_the_report(
        self, lab: Lab, mode: str, request: pytest.FixtureRequest
    ) -> None:
        desk: WatchedDesk = request.getfixturevalue(mode)
        config = LiveConfig.load(desk.folder / "live.yml")
        found = store_periods(lab, now=NOON, desk=config)
        assert found.troubles == ()
        rows = months(read(lab.ledger, mode=mode))
        record = account_of_desk(config).record
        assert len(rows) > 2
        for name, each in rows.items():
            told = account_numbers(record, np.datetime64(name, "M")).month
            assert each.pnl == pytest.approx(told["net_profit"], abs=1e-6)
            assert each.trades == told["trades"]
            assert each.sharpe == pytest.approx(told["sharpe"], nan_ok=True)
            assert each.win_rate == pytest.approx(told["win_rate"], nan_ok=True)
            assert each.drawdown * record.data.capital == pytest.approx(told["max_drawdown"], abs=1e-6)
        last = f"{record.data.dates[-1].astype('M8[M]')}"
        assert last not in rows, "the newest month is not over"
        assert {each.subject.name for each in rows.values()} == {"COMP v1"}
        assert {each.subject.account for each in rows.values()} == {account_name(config.journal)}
        again = store_periods(lab, now=NOON, desk=config)
        assert sum(each.new + each.changed for each in again.stored) == 0

    def test_a_journal_that_grows_adds_what_was_not_over(self, lab: Lab, tmp_path: Path) -> None:
        desk = watched_desk(tmp_path / "desk", reference=False)
        (model,) = desk.models()
        config = LiveConfig.load(desk.folder / "live.yml")
        full = papers.desks.history(papers.WARM + papers.SETS)
        papers.traded(desk.folder, model, papers.desks.history(papers.WARM + 50), name="live.db")
        store_periods(lab, now=NOON, desk=config)
        before = read(lab.ledger)
        papers.traded(desk.folder, model, full, name="live.db")
        found = store_periods(lab, now=NOON, desk=config)
        assert sum(each.changed for each in found.stored) == 0
        after = read(lab.ledger)
        assert len(after) > len(before)
        assert [each for each in after if each in before] == before
        fresh = Lab(database=Database.open(f"sqlite:///{tmp_path / 'fresh.db'}"))
        store_periods(fresh, now=NOON, desk=config)
        assert repr(read(fresh.ledger)) == repr(after)

    def test_the_commands_store_show_and_export(
        self, paper: WatchedDesk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("LOCKSTEP_DB", f"sqlite:///{tmp_path / 'commands.db'}")
        monkeypatch.chdir(tmp_path)
        desk = str(paper.folder / "live.yml")
        told = [CliRunner().invoke(candidates_app, ["update", "--desk", desk]).output for _ in range(2)]
        assert told[0].endswith("periods stored\n")
        assert "periods" not in told[1]
        shown = CliRunner().invoke(candidates_app, ["performance", "COMP v1", "--period", "week"]).output
        assert shown.startswith("COMP v1: COMP, paper, ")
        assert "2010-W03" in shown
        out = tmp_path / "performance.parquet"
        exported = ["performance", "--out", str(out), "--format", "parquet", "--start", "2009-08-01"]
        assert CliRunner().invoke(export_app, exported).exit_code == 0
        table = pd.read_parquet(out)
        assert set(table["period"]) == {"day", "week", "month"}
        assert str(table["first_date"].min()) >= "2009-08-01"
        assert table.loc[table["period"] == "day", "sharpe"].isna().all()
        found = CliRunner().invoke(export_app, [*exported[:-1], "2030-01-01"])
        assert "no period is stored from 2030-01-01" in str(found.exception)

    def test_a_desk_that_never_ran_is_one_line(self, lab: Lab, tmp_path: Path) -> None:
        config = LiveConfig.load(papers.config(tmp_path))
        (told,) = store_periods(lab, now=NOON, desk=config).troubles
        assert told.startswith("performance of the desk of live.db: ")


def test_the_winner_of_an_experiment_on_its_test_range(
    lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOCKSTEP_DB", f"sqlite:///{tmp_path / 'experiments.db'}")
    monkeypatch.chdir(tmp_path)
    record = lab.run(plan(parameters={"max_bars": (3, 5)}))
    found = store_periods(lab, now=NOON, experiments=(record.id,))
    assert found.troubles == ()
    (winner,) = verified_ranking(lab, record, top=1)
    days = [each for each in read(lab.ledger, mode="backtest") if each.period == "day"]
    kept = winner.accounts["COMP"]
    assert [each.first_date for each in days] == kept.days.tolist()
    assert np.cumsum([each.pnl for each in days]) == pytest.approx(kept.equity - kept.capital, abs=1e-6)
    assert sum(each.trades for each in days) == kept.metrics["trades"]
    assert days[0].subject.account == f"experiment {record.id}"
    told = CliRunner().invoke(candidates_app, ["update", "--experiment", str(record.id)]).output
    assert told == "no candidate waits for evidence: register one first\n", "it is stored already"
    assert (
        store_periods(lab, now=NOON, experiments=(99,)).troubles[0].startswith("performance of experiment 99")
    )

"""A/B tests end to end: plans, replayed and shared arms, sessions written once, endings, bad input."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sqlalchemy import text

from lockstep.errors import DataError, ExperimentError
from lockstep.live.journal import Journal
from lockstep.live.messages import SetRecord
from lockstep.market import DAILY
from lockstep.market.bars import Bars
from lockstep.market.config import load_instruments
from lockstep.market.dates import DateRange
from lockstep.market.history import History, SeriesKey
from lockstep.market.loader import load_bars
from lockstep.monitoring.ab import CHALLENGER, CHAMPION, AbMode, AbVerdict
from lockstep.strategy.config import StrategyConfig
from lockstep.strategy.family import load_strategy
from operations.ab.arms import StrategyCandidate
from operations.ab.book import AbTest, ab_test_named, ab_tests, sessions_of_arm
from operations.ab.replay import replayed
from operations.ab.tester import StrategyABTester, evaluate_all, standing
from research.ledger.database import Database
from research.ledger.first_seen import see
from research.ledger.ledger import Ledger
from support import desks, papers

ROOT = Path(__file__).resolve().parents[2]
KEY = SeriesKey("COMP", DAILY)
NOON = datetime(2012, 3, 7, 12, tzinfo=UTC)
HOUR = 3_600_000_000_000


@pytest.fixture(scope="module")
def bars() -> Bars:
    return load_bars("COMP")


@pytest.fixture(scope="module")
def strategy() -> StrategyConfig:
    return load_strategy(ROOT / "configs/strategies/ibs_baseline.yaml")


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger(Database.open(f"sqlite:///{tmp_path / 'experiments.db'}"))


@pytest.fixture
def tester(ledger: Ledger) -> StrategyABTester:
    return StrategyABTester(ledger=ledger)


def until(bars: Bars, moment: datetime) -> Bars:
    stamp = np.datetime64(moment.replace(tzinfo=None), "ns").astype(np.int64)
    return bars.rows(0, int(np.searchsorted(bars.end, stamp)))


def known(bars: Bars, moment: datetime) -> History:
    return History(bars={KEY: until(bars, moment)}, markets=load_instruments().markets)


def arm(config: StrategyConfig, symbol: str = "COMP") -> StrategyCandidate:
    return StrategyCandidate.of_strategy(config, symbol, origin="file.yaml")


def created(tester: StrategyABTester, strategy: StrategyConfig, bars: Bars, **given: Any) -> AbTest:
    given = {"name": "variant", "now": NOON, "insist": True, "difference": 1.0} | given
    name, moment = given.pop("name"), given["now"]
    arms = given.pop("arms", (arm(strategy), arm(strategy.replaced(max_bars=3, name="three bars"))))
    return tester.create_test(name, *arms, known(bars, moment), **given)


def seen(ledger: Ledger, bars: Bars, moment: datetime) -> None:
    see(ledger, KEY, until(bars, moment), now=moment, source="file")


class TestCreation:
    def test_what_is_frozen(
        self, tester: StrategyABTester, ledger: Ledger, strategy: StrategyConfig, bars: Bars
    ) -> None:
        found = created(tester, strategy, bars)
        assert found == ab_test_named(ledger, "variant")
        terms = found.terms
        alone = [
            each.trades.run(known(bars, NOON), DateRange())
            for each in (arm(strategy), arm(strategy.replaced(max_bars=3, name="three bars")))
        ]
        difference = alone[1].returns - alone[0].returns
        assert terms.sigma == pytest.approx(difference.std(ddof=1), rel=1e-9)
        assert terms.correlation == pytest.approx(np.corrcoef(*(each.returns for each in alone))[0, 1])
        assert terms.champion.exposure == alone[0].beta
        assert 10 < terms.challenger.trades_a_year < 200
        assert terms.plan.sessions > 60

    def test_what_takes_too_long_is_refused_and_says_what_helps(
        self, tester: StrategyABTester, ledger: Ledger, strategy: StrategyConfig, bars: Bars
    ) -> None:
        with pytest.raises(ExperimentError, match=r"needs .* years .* power of 80 %.*insist with --yes"):
            created(tester, strategy, bars, insist=False, difference=0.5)
        assert ab_tests(ledger) == []
        found = created(tester, strategy, bars, difference=0.5, years=1.5)
        assert (found.terms.plan.sessions, found.terms.plan.power < 0.8) == (378, True)

    def test_arms_that_cannot_be_compared(
        self, tester: StrategyABTester, ledger: Ledger, strategy: StrategyConfig, bars: Bars
    ) -> None:
        other = strategy.replaced(max_bars=3, name="three bars")
        richer = strategy.replaced(capital=2 * strategy.capital)
        for arms, told in (
            ((arm(strategy), arm(strategy)), "are the same strategy"),
            ((arm(strategy), arm(other, "SPX")), "COMP and SPX: arms of a test trade the same instrument"),
            ((arm(strategy), arm(richer)), "the larger one wins by its size"),
            ((arm(strategy), arm(strategy.replaced(short_entry=(0.9, 1.0)))), "the arms never differed"),
        ):
            with pytest.raises(ExperimentError, match=told):
                created(tester, strategy, bars, arms=arms)
        with pytest.raises(ExperimentError, match="100 sessions of history; 252 are needed"):
            created(tester, strategy, bars.rows(0, 100))
        with pytest.raises(ExperimentError, match=r"mode split needs the live.yml"):
            created(tester, strategy, bars, mode=AbMode.SPLIT)
        assert ab_tests(ledger) == []

    def test_one_test_of_one_pair_and_one_name(
        self, tester: StrategyABTester, strategy: StrategyConfig, bars: Bars
    ) -> None:
        created(tester, strategy, bars)
        with pytest.raises(ExperimentError, match="is taken, since 2012-03-07"):
            created(tester, strategy, bars)
        with pytest.raises(ExperimentError, match="variant compares the same arms and is running"):
            created(tester, strategy, bars, name="again")
        tester.stop_test("variant", reason="enough", now=NOON)
        assert created(tester, strategy, bars, name="again").status == "running"


class TestReplay:
    def test_sessions_after_the_creation_as_research_runs_each_arm(
        self, tester: StrategyABTester, ledger: Ledger, strategy: StrategyConfig, bars: Bars
    ) -> None:
        created(tester, strategy, bars)
        later = NOON + timedelta(days=120)
        seen(ledger, bars, later)
        (done,) = evaluate_all(ledger, now=later, data_dir=None)
        # 7 March was not over when it was created: 8 March is the first session that begins later.
        assert (str(done.new[0]), len(done.new), done.trouble) == ("2012-03-08", 82, "")
        test = ab_test_named(ledger, "variant")
        for name, config in ((CHAMPION, strategy), (CHALLENGER, strategy.replaced(max_bars=3))):
            span = DateRange.of(str(done.new[0]), str(done.new[-1]))
            alone = arm(config).trades.run(known(bars, later), span)
            written = sessions_of_arm(ledger, test, name)
            assert np.array_equal(written.results, alone.returns)
            assert 5 < written.trades.sum() < 82
            assert (written.won <= written.trades).all()

    def test_nights_that_were_missed_change_nothing(
        self, tester: StrategyABTester, ledger: Ledger, strategy: StrategyConfig, bars: Bars, tmp_path: Path
    ) -> None:
        other = Ledger(Database.open(f"sqlite:///{tmp_path / 'other.db'}"))
        for book, nights in ((ledger, (30, 60, 61, 120)), (other, (120,))):
            mine = StrategyABTester(ledger=book)
            created(mine, strategy, bars)
            for days in nights:
                later = NOON + timedelta(days=days)
                seen(book, bars, later)
                assert mine._evaluated(ab_test_named(book, "variant"), later).trouble == ""
        rows = [standing(each, ab_test_named(each, "variant")) for each in (ledger, other)]
        assert np.array_equal(rows[0].differences, rows[1].differences)
        assert rows[0].differences.size == 82

    def test_a_corrected_bar_changes_no_session_that_is_there(
        self, tester: StrategyABTester, ledger: Ledger, strategy: StrategyConfig, bars: Bars
    ) -> None:
        test = created(tester, strategy, bars)
        first, second = (NOON + timedelta(days=each) for each in (120, 240))
        seen(ledger, bars, first)
        tester._evaluated(test, first)
        before = sessions_of_arm(ledger, test, CHALLENGER).results
        seen(ledger, replace(bars, close=(bars.high + bars.low) / 2), second)
        tester._evaluated(test, second)
        after = sessions_of_arm(ledger, test, CHALLENGER).results
        assert np.array_equal(after[: before.size], before)
        assert after.size > before.size + 60

    def test_what_would_come_out_otherwise_now_is_refused(
        self, tester: StrategyABTester, ledger: Ledger, strategy: StrategyConfig, bars: Bars,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:  # fmt: skip
        test = created(tester, strategy, bars)
        later = NOON + timedelta(days=60)
        seen(ledger, bars, later)
        tester._evaluated(test, later)
        found = dict(replayed(ledger, test))
        moved = found[CHAMPION].results.copy()
        moved[3] += 1e-12
        monkeypatch.setattr(
            "operations.ab.tester.replayed",
            lambda *_: {**found, CHAMPION: replace(found[CHAMPION], results=moved)},
        )
        with pytest.raises(ExperimentError, match=r"session 2012-03-13 of the champion was .* would be"):
            tester._evaluated(test, later)

    def test_bars_that_nobody_saw_are_named(
        self, tester: StrategyABTester, ledger: Ledger, strategy: StrategyConfig, bars: Bars
    ) -> None:
        test = created(tester, strategy, bars)
        assert tester._evaluated(test, NOON).new == []
        with pytest.raises(ExperimentError, match="append-only"), ledger.database.write() as connection:
            connection.execute(text("DELETE FROM first_seen"))
        with ledger.database.write() as connection:
            connection.execute(text("DROP TRIGGER first_seen_no_delete"))
            connection.execute(text("DELETE FROM first_seen"))
        with pytest.raises(DataError, match="COMP:1d: no bar of it was seen yet"):
            tester._evaluated(test, NOON)

    @pytest.mark.no_cover
    def test_a_replayed_arm_is_the_arm_that_runs_live_in_shadow_bit_for_bit(
        self, ledger: Ledger, tmp_path: Path
    ) -> None:
        """A desk in shadow trades the champion; the test replays it on the bars of the desk's journal."""
        model = desks.bare()
        journal = papers.traded(tmp_path, model, mode="shadow", broker=papers.Broker())
        with Journal.open(journal, readonly=True) as reader:
            rows = [row for row in reader.entries(1) if isinstance(row, SetRecord)]
        stamps = np.array([row.release.stamp for row in rows])
        marks = np.array([row.lanes[0].mark[3] for row in rows])
        history = desks.history(papers.WARM + papers.SETS)
        market = history.markets["COMP"]
        # Created before the last session of the warm-up was over: the desk's first is the test's first.
        began = moment_of(history.bars[KEY].end[papers.WARM - 1] - HOUR)
        config = desks.CONFIG
        variant = config.replaced(name="wide", exit=[0.6, 1.0])
        tester = StrategyABTester(ledger=ledger, journal=journal)
        test = tester.create_test(
            "shadow", arm(config), arm(variant), before(history, began), now=began, insist=True
        )
        warm = moment_of(stamps[0] - HOUR)
        for key, seen_before in before(history, warm).bars.items():
            see(ledger, key, seen_before, now=warm, source="warm-up")
        done = tester.evaluate_test("shadow", now=moment_of(stamps[-1] + HOUR))
        assert done.trouble == ""
        written = sessions_of_arm(ledger, test, CHAMPION)
        dates = market.session.dates(stamps, DAILY)
        live = np.diff(marks, prepend=config.capital) / config.capital
        assert np.array_equal(written.dates, dates)
        assert np.array_equal(written.results, live)
        assert written.trades.sum() > 20
        assert not np.array_equal(sessions_of_arm(ledger, test, CHALLENGER).results, live)


def moment_of(stamp: int) -> datetime:
    return datetime.fromtimestamp(int(stamp) / 1e9, tz=UTC)


def before(history: History, moment: datetime) -> History:
    return replace(history, bars={key: until(each, moment) for key, each in history.bars.items()})


class TestEndings:
    def test_a_test_ends_once_and_is_not_evaluated_again(
        self, tester: StrategyABTester, ledger: Ledger, strategy: StrategyConfig, bars: Bars
    ) -> None:
        created(tester, strategy, bars)
        tester.stop_test("variant", reason="the desk closes", now=NOON)
        with pytest.raises(ExperimentError, match="ended on 2012-03-07, stopped: the desk closes"):
            tester.evaluate_test("variant", now=NOON)
        with pytest.raises(ExperimentError, match="ended on"):
            tester.stop_test("variant", reason="again", now=NOON)
        with pytest.raises(ExperimentError, match="A/B test nobody: was not created; there is variant"):
            tester.evaluate_test("nobody", now=NOON)
        assert evaluate_all(ledger, now=NOON) == []
        with pytest.raises(ExperimentError, match="append-only"), ledger.database.write() as connection:
            connection.execute(text("UPDATE ab_event SET kind = 'won'"))

    def test_the_plans_end_is_futile(
        self, tester: StrategyABTester, ledger: Ledger, strategy: StrategyConfig, bars: Bars
    ) -> None:
        test = created(tester, strategy, bars, years=0.25)
        later = NOON + timedelta(days=120)
        seen(ledger, bars, later)
        done = tester._evaluated(test, later)
        assert done.ending is not None
        assert (done.ending.kind, done.test.status) == ("futile", "futile")
        assert done.ending.session == done.new[62]
        assert "63 sessions are over" in done.ending.reason
        assert standing(ledger, done.test).judgement.verdict is AbVerdict.FUTILE

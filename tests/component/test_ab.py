"""A/B tests end to end: plans, replayed and shared arms, sessions written once, endings, bad input."""

from __future__ import annotations

import os
import signal
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from sqlalchemy import text
from typer.testing import CliRunner

from lockstep.errors import ConfigError, DataError, ExperimentError
from lockstep.live.journal import Journal
from lockstep.live.messages import SetRecord
from lockstep.market import DAILY
from lockstep.market.bars import Bars
from lockstep.market.config import load_instruments
from lockstep.market.dates import DateRange
from lockstep.market.history import History
from lockstep.market.loader import load_bars
from lockstep.monitoring.ab import AbMode, AbVerdict
from lockstep.portfolio.split import CHALLENGER, CHAMPION, arm_of
from lockstep.strategy.config import StrategyConfig
from lockstep.strategy.family import load_strategy
from operations.ab.arms import StrategyCandidate
from operations.ab.book import (
    AbTest,
    ArmSessions,
    ab_test_named,
    ab_tests,
    end,
    sessions_of_arm,
    write_sessions,
)
from operations.ab.cli import app
from operations.ab.gates import open_gates, promotion_command
from operations.ab.replay import replayed, sessions_since
from operations.ab.tester import StrategyABTester, ending_of, evaluate_all, standing
from research.ledger.candidates import CandidateTerms, ForwardEvent, candidates, happened, register
from research.ledger.database import Database
from research.ledger.first_seen import see
from research.ledger.ledger import Ledger
from support import desks, papers, real_fills
from support.candidates import KEY, NOON, known, until

ROOT = Path(__file__).resolve().parents[2]
HOUR = 3_600_000_000_000


@pytest.fixture(scope="module")
def bars() -> Bars:
    return load_bars("COMP")


@pytest.fixture(scope="module")
def strategy() -> StrategyConfig:
    return load_strategy(ROOT / "configs/strategies/ibs_baseline.yaml")


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
    def test_the_session_of_the_creation_does_not_count(self, strategy: StrategyConfig, bars: Bars) -> None:
        pair, history = arm(strategy).trades, known(bars, NOON + timedelta(days=3))
        stamp = int(np.datetime64("2012-03-07T12:00", "ns").astype(np.int64))
        assert sessions_since(pair, history, stamp) == DateRange.of("2012-03-08", "2012-03-09")
        assert sessions_since(pair, history, int(history.bars[KEY].end[-2] - HOUR)) == DateRange.of(
            "2012-03-09", "2012-03-09"
        )
        assert sessions_since(pair, history, int(history.bars[KEY].end[-1] - HOUR)) is None

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
                assert mine.count_sessions(ab_test_named(book, "variant"), now=later).trouble == ""
        rows = [standing(each, ab_test_named(each, "variant")) for each in (ledger, other)]
        assert np.array_equal(rows[0].differences, rows[1].differences)
        assert rows[0].differences.size == 82

    def test_a_corrected_bar_changes_no_session_that_is_there(
        self, tester: StrategyABTester, ledger: Ledger, strategy: StrategyConfig, bars: Bars
    ) -> None:
        test = created(tester, strategy, bars)
        first, second = (NOON + timedelta(days=each) for each in (120, 240))
        seen(ledger, bars, first)
        tester.count_sessions(test, now=first)
        before = sessions_of_arm(ledger, test, CHALLENGER).results
        seen(ledger, replace(bars, close=(bars.high + bars.low) / 2), second)
        tester.count_sessions(test, now=second)
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
        tester.count_sessions(test, now=later)
        found = dict(replayed(ledger, test))
        moved = found[CHAMPION].results.copy()
        moved[3] += 1e-12
        monkeypatch.setattr(
            "operations.ab.tester.replayed",
            lambda *_: {**found, CHAMPION: replace(found[CHAMPION], results=moved)},
        )
        with pytest.raises(ExperimentError, match=r"session 2012-03-13 of the champion was .* would be"):
            tester.count_sessions(test, now=later)

    def test_bars_that_nobody_saw_are_named(
        self, tester: StrategyABTester, ledger: Ledger, strategy: StrategyConfig, bars: Bars
    ) -> None:
        test = created(tester, strategy, bars)
        assert tester.count_sessions(test, now=NOON).new == []
        with pytest.raises(ExperimentError, match="append-only"), ledger.database.write() as connection:
            connection.execute(text("DELETE FROM first_seen"))
        with ledger.database.write() as connection:
            connection.execute(text("DROP TRIGGER first_seen_no_delete"))
            connection.execute(text("DELETE FROM first_seen"))
        with pytest.raises(DataError, match="COMP:1d: no bar of it was seen yet"):
            tester.count_sessions(test, now=NOON)

    @pytest.mark.no_cover
    @pytest.mark.parametrize("kind", ["strategy", "model"])
    def test_a_replayed_arm_is_the_arm_that_runs_live_in_shadow_bit_for_bit(
        self, ledger: Ledger, tmp_path: Path, kind: str
    ) -> None:
        """A desk in shadow trades the champion; the test replays it on the bars of the desk's journal.

        The files that were there at its creation were old: what lies between is in the desk's warm-up.
        """
        if kind == "strategy":
            model, config = desks.bare(), desks.CONFIG
            arms = arm(config), arm(config.replaced(name="wide", exit=[0.6, 1.0]))
        else:
            store = papers.store(tmp_path / "store", 0, 1)
            model, config = papers.models(store)[0], desks.CONFIG
            one, two = (
                StrategyCandidate.named(each, "COMP", ledger, store.folder) for each in ("production", "v2")
            )
            assert one.trades.veto is not None
            arms = one, two
        journal = papers.traded(tmp_path, model, mode="shadow", broker=papers.Broker())
        with Journal.open(journal, readonly=True) as reader:
            rows = [row for row in reader.entries(1) if isinstance(row, SetRecord)]
        stamps = np.array([row.release.stamp for row in rows])
        marks = np.array([row.lanes[0].mark[3] for row in rows])
        history = desks.history(papers.WARM + papers.SETS)
        # Created before the last session of the warm-up was over: the desk's first is the test's first.
        began = moment_of(history.bars[KEY].end[papers.WARM - 1] - HOUR)
        tester = StrategyABTester(ledger=ledger, journal=journal)
        files = before(history, began - timedelta(days=60))
        test = tester.create_test("shadow", *arms, files, now=began, insist=True)
        tester.evaluate_test("shadow", now=moment_of(stamps[-1] + HOUR))
        written = sessions_of_arm(ledger, test, CHAMPION)
        live = np.diff(marks, prepend=config.capital) / config.capital
        assert np.array_equal(written.dates, history.markets["COMP"].session.dates(stamps, DAILY))
        assert np.array_equal(written.results, live)
        assert written.trades.sum() > 10
        assert not np.array_equal(sessions_of_arm(ledger, test, CHALLENGER).results, live)
        if kind == "model":
            assert promotion_command(test).startswith("lockstep promote COMP v2 --store ")
            lacking = open_gates(ledger, test, now=NOON)
            assert [each.partition(":")[0] for each in lacking] == [
                "validation", "certificate", "reference", "forward evidence",
            ]  # fmt: skip


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

    def test_what_a_kill_left_between_counting_and_ending_ends_the_next_time(
        self, tester: StrategyABTester, ledger: Ledger, strategy: StrategyConfig, bars: Bars,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:  # fmt: skip
        test = created(tester, strategy, bars, years=0.25)
        later = NOON + timedelta(days=120)
        seen(ledger, bars, later)
        with monkeypatch.context() as killed:
            killed.setattr("operations.ab.tester.end", lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL))
            child = os.fork()
            if child == 0:
                tester.count_sessions(test, now=later)
                os._exit(0)
        assert os.WTERMSIG(os.waitpid(child, 0)[1]) == signal.SIGKILL
        assert ab_test_named(ledger, "variant").status == "running"
        done = tester.count_sessions(test, now=later)
        assert (len(done.new), done.test.status) == (0, "futile")

    def test_a_registered_candidate_is_an_arm_by_its_name(
        self, ledger: Ledger, strategy: StrategyConfig
    ) -> None:
        trades = arm(strategy).trades
        terms = CandidateTerms(
            name="dip", kind="strategy", symbol="COMP", family="NASDAQ", hash=trades.hash,
            content=trades.content, sigma=0.01, beta=0.0, searched="adaptive",
        )  # fmt: skip
        register(ledger, terms, now=NOON)
        found = StrategyCandidate.named("dip", "COMP", ledger)
        assert (found.name, found.trades.hash, found.trades.champion) == ("dip", trades.hash, None)

    def test_the_plans_end_is_futile(
        self, tester: StrategyABTester, ledger: Ledger, strategy: StrategyConfig, bars: Bars
    ) -> None:
        test = created(tester, strategy, bars, years=0.25)
        later = NOON + timedelta(days=120)
        seen(ledger, bars, later)
        done = tester.count_sessions(test, now=later)
        assert done.ending is not None
        assert (done.ending.kind, done.test.status) == ("futile", "futile")
        assert done.ending.session == done.new[62]
        assert "63 sessions are over" in done.ending.reason
        assert standing(ledger, done.test).judgement.verdict is AbVerdict.FUTILE


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the live.yml of a desk in mode live whose fills were reported."""
    folder = tmp_path_factory.mktemp("desk")
    path = papers.config(folder)
    real_fills.live(folder, papers.store(folder / "store"), real_fills.uneven, stops=True)
    return path


class TestSplit:
    def split(self, tester: StrategyABTester, desk: Path, **given: Any) -> AbTest:
        history = desks.history(papers.WARM)
        began = moment_of(history.bars[KEY].end[papers.WARM - 1] + HOUR)
        arms = (
            StrategyCandidate(name=name, origin="v1", trades=arm(desks.CONFIG).trades)
            for name in ("market orders", "limit orders")
        )
        return tester.create_test(
            "limit orders", *arms, before(history, began), now=began, mode=AbMode.SPLIT, desk=desk,
            by_receiver=True, insist=True, **given,
        )  # fmt: skip

    def test_each_arm_has_the_fills_of_its_signals(
        self, tester: StrategyABTester, ledger: Ledger, desk: Path
    ) -> None:
        test = self.split(tester, desk)
        assert test.terms.plan.one_look_years == pytest.approx(99, abs=0.5)
        done = tester.evaluate_test("limit orders", now=NOON)
        assert (done.trouble, len(done.new)) == ("", 119)
        with Journal.open(desk.parent / "live.db", readonly=True) as reader:
            orders = [
                (row.release.stamp, each)
                for row in reader.entries(1)
                if isinstance(row, SetRecord)
                for each in row.lanes[0].orders
                if each.status == "completed"
            ]
        market = load_instruments().market("COMP")
        # Counted by hand: entry and exit follow each other, all that was paid is taken off.
        made: dict[str, dict[str, float]] = {CHAMPION: {}, CHALLENGER: {}}
        for (_, entry), (stamp, leave) in zip(orders[::2], orders[1::2], strict=False):
            session = str(market.session.dates(np.array([entry.decision]), DAILY)[0])
            whose = arm_of("limit orders", "COMP", session, entry.decision)
            day = str(market.session.dates(np.array([stamp]), DAILY)[0])
            points = (leave.price - entry.price) * entry.quantity * market.instrument.multiplier
            net = points - entry.commission - leave.commission
            made[whose][day] = made[whose].get(day, 0.0) + net / desks.CONFIG.capital
        for name in (CHAMPION, CHALLENGER):
            written = sessions_of_arm(ledger, test, name)
            days = dict(zip(map(str, written.dates), written.results, strict=True))
            last = str(written.dates[-1])
            expected = {day: value for day, value in made[name].items() if day <= last}
            assert len(expected) >= 4
            assert {day: value for day, value in days.items() if value} == pytest.approx(expected)
            assert written.trades.sum() >= len(expected)

    def test_split_signals_are_those_of_the_hash(self, tester: StrategyABTester, desk: Path) -> None:
        test = self.split(tester, desk)
        stamps = desks.history(papers.WARM).bars[KEY].end[-300:]
        found = tester.split_signals(test, stamps)
        assert sorted([*found[CHAMPION], *found[CHALLENGER]]) == stamps.tolist()
        assert 110 < found[CHALLENGER].size < 190
        market = load_instruments().market("COMP")
        for stamp in found[CHALLENGER].tolist():
            session = str(market.session.dates(np.array([stamp]), DAILY)[0])
            assert arm_of(test.name, "COMP", session, stamp) == CHALLENGER

    def test_a_desk_that_does_not_trade_it_is_named(self, ledger: Ledger, desk: Path, tmp_path: Path) -> None:
        tester = StrategyABTester(ledger=ledger)
        with pytest.raises(ConfigError, match=r"nothing\.yml"):
            self.split(tester, tmp_path / "nothing.yml")
        assert ab_tests(ledger) == []
        self.split(tester, papers.config(tmp_path))
        (done,) = evaluate_all(ledger, now=NOON)
        assert "live.db" in done.trouble
        assert "\n" not in done.trouble


class TestCommand:
    @pytest.fixture(autouse=True)
    def database(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Ledger:
        url = f"sqlite:///{tmp_path / 'desk.db'}"
        monkeypatch.setenv("LOCKSTEP_DB", url)
        return Ledger(Database.open(url))

    def run(self, *words: object) -> Any:
        return CliRunner().invoke(app, [str(each) for each in words])

    def refused(self, *words: object) -> str:
        found = self.run(*words)
        assert found.exit_code
        assert found.exception is not None
        assert "\n" not in str(found.exception)
        return str(found.exception)

    @pytest.mark.parametrize("name", ["core_against_variant", "feature_weight_boost"])
    def test_the_examples(self, database: Ledger, tmp_path: Path, name: str) -> None:
        file = ROOT / f"configs/ab/{name}.yml"
        if name == "core_against_variant":
            assert "more than three" in self.refused("create", file)
            assert ab_tests(database) == []
        said = self.run("create", file, *(["--yes"] if name == "core_against_variant" else []))
        assert said.exit_code == 0, said.output
        (test,) = ab_tests(database)
        plan = test.terms.plan
        assert f"{plan.needed_years:.1f} looked at every day, {plan.one_look_years:.1f} for a" in said.output
        assert f"power {plan.power:.0%}" in said.output
        assert f"{test.name}: 0 sessions counted" in self.run("evaluate").output
        assert "nothing is decided before" in self.run("status", test.name, "--out", tmp_path).output
        assert test.name in next(tmp_path.glob("ab-*.html")).read_text(encoding="utf-8")
        assert "its sessions stay" in self.run("stop", test.name, "--reason", "an example").output
        assert "stopped" in self.run("status").output
        assert "no A/B test is running" in self.run("evaluate").output

    def test_bad_input_is_one_line(self, tmp_path: Path) -> None:
        assert "A/B test nobody: was not created; there is none" in self.refused("evaluate", "nobody")
        assert "was not created" in self.refused("stop", "nobody", "--reason", "r")
        assert "was not created" in self.refused("status", "nobody")
        file, baseline = tmp_path / "test.yml", ROOT / "configs/strategies/ibs_baseline.yaml"
        for change, told in (
            ({"champion": str(baseline), "challenger": str(baseline)}, "are the same strategy"),
            ({"challenger": "nowhere.yaml"}, "nowhere.yaml"),
            ({"challenger": "v9"}, "not in the manifest"),
            ({"symbol": "NOPE"}, "NOPE"),
            ({"difference": 0}, "difference"),
            ({"mode": "both"}, "mode"),
            ({"arms": 2}, "arms"),
            ({"mode": "split"}, "needs the live.yml"),
            ({"desk": "live.yml"}, "and mode replay none"),
        ):
            content = {"name": "a", "symbol": "COMP", "champion": str(baseline), "challenger": VARIANT}
            file.write_text(yaml.safe_dump({**content, **change}), encoding="utf-8")
            assert told in self.refused("create", file), change

    def test_a_winner_prints_the_promotion_and_what_is_open(self, database: Ledger, tmp_path: Path) -> None:
        assert self.run("create", ROOT / "configs/ab/feature_weight_boost.yml").exit_code == 0
        (test,) = ab_tests(database)
        decided(database, test, edge=2.0)
        said = self.run("status", test.name, "--out", tmp_path).output
        assert "The challenger won on" in said
        assert "lockstep promote COMP --strategy" in said
        assert "score_boosted.yaml" in said
        assert "still open: validation, certificate, reference" in said
        assert "still open: forward evidence: there is none" in said
        assert candidates(database) == []
        page = next(tmp_path.glob("ab-*.html")).read_text(encoding="utf-8")
        assert "Before it is traded" in page
        assert "forward evidence: there is none" in page
        registered(database, test)
        assert "forward evidence: allows a pilot" in self.run("status", test.name).output


VARIANT = str(ROOT / "configs/ab/core_variant.yaml")


def decided(ledger: Ledger, test: AbTest, *, edge: float) -> None:
    """Write sessions of both arms that decide a test: `edge` deviations in the mean."""
    days = np.arange("2030-01-01", "2030-04-11", dtype="M8[D]")
    results = np.random.default_rng(1).normal(size=days.size) * test.terms.sigma
    ended = np.ones(days.size, dtype=np.int64)
    champion = ArmSessions(dates=days, results=np.zeros(days.size), trades=ended, won=ended)
    arms = {CHAMPION: champion, CHALLENGER: replace(champion, results=results + edge * test.terms.sigma)}
    write_sessions(ledger, test, arms, now=NOON)
    (ending,) = [each for each in [ending_of(standing(ledger, test))] if each]
    end(ledger, test, ending, now=NOON)


def registered(ledger: Ledger, test: AbTest) -> None:
    """Register the challenger as a candidate that has reached a pilot."""
    arm = test.terms.challenger
    terms = CandidateTerms(
        name="boost", kind="strategy", symbol="COMP", family="NASDAQ", hash=arm.hash, content=arm.content,
        sigma=0.01, beta=0.0, searched="adaptive",
    )  # fmt: skip
    found = register(ledger, terms, now=NOON)
    event = ForwardEvent(kind="pilot", session=NOON.date(), evidence=7.0, reason="a test")
    happened(ledger, found, [event], now=NOON)

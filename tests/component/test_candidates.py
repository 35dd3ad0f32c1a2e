"""Forward evidence end to end: what a registration spends, what is seen, scored and decided."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sqlalchemy import text

from lockstep.errors import DataError, ExperimentError
from lockstep.live.journal import Journal
from lockstep.live.messages import Release, SetRecord
from lockstep.market.bars import Bars
from lockstep.market.dates import DateRange
from lockstep.market.loader import load_bars
from lockstep.strategy.config import StrategyConfig
from lockstep.strategy.family import load_strategy
from operations.candidates import decisions, observe_journal, scored, update
from operations.contenders import CandidateOrigin, Contender, drawdown_band, enrol, of_experiment
from research.backtest.account import Account
from research.backtest.run import run_backtest
from research.experiments.service import judged, verified_ranking
from research.ledger.candidates import (
    ForwardCandidate,
    ForwardEvent,
    candidate_named,
    candidates,
    forward_multiple,
    happened,
    promoted_to,
    register,
    score,
    sessions_of,
)
from research.ledger.database import Database
from research.ledger.first_seen import see, seen_bars
from research.ledger.ledger import Ledger
from research.statistics.gate import FRESH, Check
from support.candidates import BASELINE, FREE, KEY, NOON, enrolled, known, registration, until
from support.experiments import plan, toy_lab
from support.journals import epoch


@pytest.fixture(scope="module")
def bars() -> Bars:
    return load_bars("COMP")


@pytest.fixture(scope="module")
def strategy() -> StrategyConfig:
    return load_strategy(BASELINE)


class TestBudget:
    def test_a_year_has_twelve_and_nothing_gives_one_back(self, ledger: Ledger) -> None:
        for number in range(12):
            register(ledger, registration(f"c{number}"), now=NOON)
        found = candidates(ledger)
        assert sum(each.weight for each in found) == pytest.approx(1.0)
        assert [found[0].threshold(size) for size in ("pilot", "full")] == pytest.approx([6.0, 60.0])
        event = ForwardEvent(kind="withdrawn", session=NOON.date(), evidence=1.0, reason="not wanted")
        happened(ledger, found[0], [event], now=NOON)
        for name in ("c12", "another name for c0"):
            with pytest.raises(ExperimentError, match="all 12 registrations of 2012 are spent"):
                register(ledger, registration(name), now=NOON)
        with pytest.raises(ExperimentError, match="append-only"), ledger.database.write() as connection:
            connection.execute(text("DELETE FROM candidate WHERE id = 1"))
        assert register(ledger, registration("c12"), now=NOON + timedelta(days=365)).year == 2013

    def test_the_first_of_a_year_decides_how_many_there_are(self, ledger: Ledger) -> None:
        assert register(ledger, registration("a"), now=NOON, per_year=4).threshold("full") == pytest.approx(
            20.0
        )
        with pytest.raises(
            ExperimentError, match="--per-year 12: the first registration of 2012 decided on 4"
        ):
            register(ledger, registration("b"), now=NOON, per_year=12)
        assert register(ledger, registration("b"), now=NOON).weight == 0.25

    @pytest.mark.parametrize(
        ("second", "told"), [({"hash": "x"}, "is taken"), ({"name": "b"}, "whose evidence goes on")]
    )
    def test_one_registration_of_one_thing(self, ledger: Ledger, second: Any, told: str) -> None:
        register(ledger, registration("a", hash="h"), now=NOON)
        with pytest.raises(ExperimentError, match=told):
            register(ledger, registration(**{"name": "a", "hash": "h"} | second), now=NOON)
        assert len(candidates(ledger)) == 1


class TestFirstSeen:
    def test_a_correction_changes_nothing(self, ledger: Ledger, bars: Bars) -> None:
        see(ledger, KEY, bars.rows(0, 100), now=NOON, source="first")
        corrected = replace(bars.rows(0, 120), close=bars.rows(0, 120).high)
        found = see(ledger, KEY, corrected, now=NOON, source="second")
        assert (found.new, found.corrected > 90) == (20, True)
        stored = seen_bars(ledger, KEY)
        assert np.array_equal(stored.close[:100], bars.close[:100])
        assert np.array_equal(stored.close[100:], bars.high[100:120])

    def test_nobody_has_seen_the_future(self, ledger: Ledger, bars: Bars) -> None:
        with pytest.raises(DataError, match="nobody can have seen it"):
            see(ledger, KEY, bars, now=NOON, source="file")

    @pytest.mark.parametrize("adjustment", ["difference", "ratio"])
    def test_a_roll_rewrites_an_adjusted_series_and_no_change_of_price(
        self, ledger: Ledger, bars: Bars, adjustment: Any
    ) -> None:
        moved = {
            name: getattr(bars, name) + 50.0 if adjustment == "difference" else getattr(bars, name) * 1.02
            for name in ("open", "high", "low", "close")
        }
        before, after = (replace(each, adjustment=adjustment) for each in (bars, replace(bars, **moved)))
        see(ledger, KEY, before.rows(0, 200), now=NOON, source="x")
        found = see(ledger, KEY, after.rows(0, 260), now=NOON, source="x")
        assert (found.new, found.corrected) == (60, 0)
        assert seen_bars(ledger, KEY).close == pytest.approx(bars.close[:260])
        other = replace(after, close=(after.high + after.low) / 2, open=after.low)
        with pytest.raises(DataError, match="moved by no constant"):
            see(ledger, KEY, other.rows(0, 270), now=NOON, source="x")

    @pytest.mark.no_cover
    def test_the_journal_of_a_live_engine_is_read(
        self, ledger: Ledger, strategy: StrategyConfig, bars: Bars, tmp_path: Path
    ) -> None:
        found = enrolled(ledger, strategy, bars)
        fresh = bars.rows(len(until(bars, NOON)), len(until(bars, NOON)) + 5)
        journal = tmp_path / "paper.db"
        with Journal.open(journal) as writer:
            writer.begin_epoch(epoch(symbols=("COMP",), warmup={}))
            values = zip(*(column.tolist() for column in fresh.columns().values()), strict=True)
            for end, row in zip(fresh.end.tolist(), values, strict=True):
                writer.append_set(SetRecord(release=Release(stamp=end, bars={KEY: row}), lanes=()))
        later = NOON + timedelta(days=30)
        assert observe_journal(ledger, [found], journal, now=later)[KEY].new == 5
        assert see(ledger, KEY, replace(fresh, close=fresh.high), now=later, source="x").new == 0


class TestScores:
    def test_sessions_after_the_registration_as_research_runs_them(
        self, ledger: Ledger, strategy: StrategyConfig, bars: Bars
    ) -> None:
        found = enrolled(ledger, strategy, bars)
        later = NOON + timedelta(days=120)
        see(ledger, KEY, until(bars, later), now=later, source="file")
        days = scored(ledger, found, now=later)
        # 7 March was not over when it was registered: 8 March is the first session that begins later.
        assert (str(days[0]), len(days)) == ("2012-03-08", 82)
        run = run_backtest(
            strategy, known(bars, later), "COMP", span=DateRange.of("2012-03-08", str(days[-1]))
        )
        returns = Account.of_backtest(run).returns
        market = np.diff(np.concatenate(([run.bars.open[0]], run.bars.close)))
        market /= np.concatenate(([run.bars.open[0]], run.bars.close[:-1]))
        dates, residuals = sessions_of(ledger, found)
        assert residuals == pytest.approx((returns - found.beta * market) / found.sigma)
        assert dates.tolist() == list(days)
        assert scored(ledger, found, now=later) == []

    def test_a_corrected_bar_changes_no_evidence_that_is_there(
        self, ledger: Ledger, strategy: StrategyConfig, bars: Bars
    ) -> None:
        found = enrolled(ledger, strategy, bars)
        first, second = (NOON + timedelta(days=each) for each in (120, 240))
        see(ledger, KEY, until(bars, first), now=first, source="file")
        scored(ledger, found, now=first)
        before = sessions_of(ledger, found)[1]
        corrected = replace(bars, close=(bars.high + bars.low) / 2)
        see(ledger, KEY, until(corrected, second), now=second, source="file")
        scored(ledger, found, now=second)
        after = sessions_of(ledger, found)[1]
        assert np.array_equal(after[: before.size], before)
        assert after.size > before.size + 60

    def test_what_would_score_otherwise_now_is_refused(
        self, ledger: Ledger, strategy: StrategyConfig, bars: Bars
    ) -> None:
        found = enrolled(ledger, strategy, bars)
        dates = np.array(["2012-03-08", "2012-03-09"], dtype="M8[D]")
        score(ledger, found, dates, np.array([0.5, 0.0]), now=NOON)
        with pytest.raises(
            ExperimentError, match=r"session 2012-03-09 was scored \+0.0000 and would be \+0.1"
        ):
            score(ledger, found, dates, np.array([0.5, 0.1]), now=NOON)
        assert sessions_of(ledger, found)[1].tolist() == [0.5, 0.0]

    def test_one_that_fails_does_not_stop_the_others(
        self, ledger: Ledger, strategy: StrategyConfig, bars: Bars
    ) -> None:
        enrolled(ledger, strategy, bars)
        lost = registration("lost", content={"family": "ibs", "config": strategy.model_dump(mode="json")})
        register(ledger, lost, now=NOON)
        later = NOON + timedelta(days=120)
        see(ledger, KEY, until(bars, later), now=later, source="file")
        good, bad = update(ledger, now=later, by="me")
        assert (good.sessions, good.trouble) == (82, "")
        assert "lost: is" in bad.trouble


class TestDecisions:
    @pytest.fixture
    def found(self, ledger: Ledger) -> ForwardCandidate:
        return register(ledger, registration(), now=NOON)

    def days(self, count: int) -> list[Any]:
        return [NOON.date() + timedelta(days=each) for each in range(1, count + 1)]

    def test_promoted_at_the_first_session_that_reaches_each_threshold(
        self, ledger: Ledger, found: ForwardCandidate
    ) -> None:
        x = np.full(200, 0.35)
        events = list(decisions(found, self.days(200), x))
        path = found.evidence(x)
        assert [each.kind for each in events] == ["pilot", "full"]
        for event, limit in zip(events, (6.0, 60.0), strict=True):
            at = int(np.argmax(path >= limit))
            assert (event.session, event.evidence) == (self.days(200)[at], path[at])
        assert promoted_to(ledger, "a", "COMP") is None
        happened(ledger, found, events[:1], now=NOON)
        assert promoted_to(ledger, "a", "COMP") == "pilot"
        known = candidate_named(ledger, "a")
        assert [each.kind for each in decisions(known, self.days(200), x)] == ["full"]
        assert promoted_to(ledger, "a", "ES") is None
        assert forward_multiple(ledger, "a", "COMP") is None
        score(ledger, known, np.array(self.days(200), dtype="M8[D]"), x, now=NOON)
        assert forward_multiple(ledger, "a", "COMP") == path.max() / 6.0
        assert forward_multiple(ledger, "b", "COMP") is None

    def test_history_shortens_the_way_of_a_declared_search_only(self, ledger: Ledger) -> None:
        x = np.full(200, 0.2)
        plain = register(ledger, registration("plain"), now=NOON)
        helped = register(ledger, registration("helped", searched="declared", e_history=4.0), now=NOON)
        first = [next(decisions(each, self.days(200), x)).session for each in (plain, helped)]
        assert first[1] < first[0]

    def test_a_lost_edge_retires_and_a_deep_fall_is_named_otherwise(
        self, ledger: Ledger, found: ForwardCandidate
    ) -> None:
        won = np.full(100, 0.35)
        lost = np.concatenate((won, np.full(400, -0.15)))
        kinds = [each.kind for each in decisions(found, self.days(500), lost)]
        assert kinds[0] == "pilot"
        assert kinds[-1] in ("retired", "risk")
        fell = np.concatenate((won, np.full(10, -3.0)))
        (*_, last) = decisions(found, self.days(110), fell)
        assert (last.kind, "20.0 deviations" in last.reason) == ("risk", True)
        happened(ledger, found, [last], now=NOON)
        known = candidate_named(ledger, "a")
        assert known.ended
        assert promoted_to(ledger, "a", "COMP") is None

    def test_no_promotion_no_retirement(self, found: ForwardCandidate) -> None:
        assert list(decisions(found, self.days(300), np.full(300, -0.5))) == []
        assert list(decisions(found, [], np.array([]))) == []


class TestRegistration:
    def test_what_is_frozen(self, ledger: Ledger, strategy: StrategyConfig, bars: Bars) -> None:
        found = enrolled(ledger, strategy, bars, provenance=CandidateOrigin(searched="declared", trials=350))
        assert found.p_value is not None
        assert found.e_history == pytest.approx(0.5 / min(1.0, 350 * found.p_value) ** 0.5)
        assert 0 < found.beta < 1
        assert 0.0005 < found.sigma < 0.05
        assert 5 < found.content["drawdown"] < 80
        free = enrolled(ledger, strategy.replaced(max_bars=3), bars, name="free")
        assert (free.e_history, free.p_value) == (1.0, None)

    def test_a_challenger_is_judged_by_what_it_earns_beyond_the_champion(
        self, ledger: Ledger, strategy: StrategyConfig, bars: Bars
    ) -> None:
        champion = Contender.of_strategy(strategy, "COMP")
        challenger = Contender.of_strategy(strategy.replaced(max_bars=3), "COMP")
        history = known(bars, NOON)
        paired = challenger.against(champion).run(history, DateRange())
        alone = [each.run(history, DateRange()) for each in (challenger, champion)]
        assert np.array_equal(paired.returns, alone[0].returns - alone[1].returns)
        assert paired.beta == alone[0].beta - alone[1].beta
        found = enrol(
            ledger, challenger.against(champion), history, DateRange(), FREE, name="x", family="N", now=NOON
        )
        assert found.champion == strategy.config_hash
        again = Contender.of_candidate(found)
        assert again.champion is not None
        assert again.champion.hash == strategy.config_hash
        with pytest.raises(ExperimentError, match="cannot be compared with itself"):
            champion.against(champion)

    def test_the_winner_of_a_declared_search_pays_for_every_trial(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("LOCKSTEP_CACHE_DIR", str(tmp_path / "cache"))
        lab = toy_lab(Database.open(f"sqlite:///{tmp_path / 'lab.db'}"))
        record = lab.run(plan())
        origin = of_experiment(lab, record.id)
        assert (origin.provenance.searched, origin.provenance.trials) == ("declared", 6)
        assert origin.span == record.plan.split.validation
        lab.run(plan(parameters={"entry.high": (0.12, 0.22), "max_bars": (3,)}))
        second = of_experiment(lab, 2).provenance
        assert (second.searched, second.trials) == ("adaptive", None)
        assert of_experiment(lab, record.id).provenance.trials == 8
        with pytest.raises(ExperimentError, match="searched COMP; give one of them"):
            of_experiment(lab, record.id, "ES")

    def test_a_search_that_learned_passes_by_forward_evidence_of_its_winner(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("LOCKSTEP_CACHE_DIR", str(tmp_path / "cache"))
        lab = toy_lab(Database.open(f"sqlite:///{tmp_path / 'lab.db'}"))
        lab.run(plan())
        record = lab.run(plan(parameters={"entry.high": (0.12, 0.22), "max_bars": (3,)}))
        winner = verified_ranking(lab, record, top=1)[0]

        def fresh() -> Check:
            checks = judged(lab, record, winner).verdict.checks
            return next(each for each in checks if each.name == FRESH)

        assert not fresh().passed
        config = record.plan.space.variant(winner.variant).config
        assert config is not None
        terms = registration("winner", hash=config.config_hash)
        candidate = register(lab.ledger, terms, now=NOON)
        days = np.arange("2012-03-08", "2012-09-08", dtype="M8[D]")
        score(lab.ledger, candidate, days[:40], np.full(40, 0.1), now=NOON)
        assert not fresh().passed
        assert "times what a promotion needs" in fresh().sentence
        score(lab.ledger, candidate, days, np.concatenate((np.full(40, 0.1), np.full(144, 0.4))), now=NOON)
        assert fresh().passed

    @pytest.mark.no_cover
    def test_the_exposure_is_the_sweeps(self, ledger: Ledger, strategy: StrategyConfig, bars: Bars) -> None:
        from research.sweep.run import sweep

        history = known(bars, NOON)
        swept = sweep([strategy], history, "COMP").timing[0]
        past = Contender.of_strategy(strategy, "COMP").run(history, DateRange())
        assert past.beta == pytest.approx(swept[4], rel=1e-12)
        assert past.residual.sum() == pytest.approx(swept[0], rel=1e-9)
        assert (past.residual**2).sum() == pytest.approx(swept[1], rel=1e-9)

    def test_too_little_history_registers_nothing(
        self, ledger: Ledger, strategy: StrategyConfig, bars: Bars
    ) -> None:
        with pytest.raises(ExperimentError, match="at least 60 are needed to measure its deviation"):
            enrolled(ledger, strategy, bars.rows(0, 40))
        assert candidates(ledger) == []

    def test_the_band_is_of_a_year_and_history_stays_within_it(self) -> None:
        x = np.random.default_rng(1).normal(0.05, 1.0, 2_000)
        band = drawdown_band(x)
        falls = []
        for first in range(0, 1_750, 10):
            curve = np.cumsum(x[first : first + 252])
            falls.append((np.maximum.accumulate(np.append(0.0, curve)) - np.append(0.0, curve)).max())
        assert np.mean(np.array(falls) > band) < 0.05
        assert drawdown_band(x - 0.2) > band


@pytest.fixture
def database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    url = f"sqlite:///{tmp_path / 'desk.db'}"
    monkeypatch.setenv("LOCKSTEP_DB", url)
    monkeypatch.chdir(tmp_path)
    return url


class TestCommand:
    def run(self, *words: str) -> Any:
        from typer.testing import CliRunner

        from operations.candidates_cli import app

        return CliRunner().invoke(app, list(words))

    def test_from_registration_to_retirement(self, database: str, tmp_path: Path) -> None:
        found = self.run("register", "dip", "--strategy", str(BASELINE), "--symbol", "COMP")
        assert "registration 1 of 12" in found.output, found.output
        assert "full size at 60" in found.output
        assert "by market regime: no failure found in bull" in found.output
        assert "0 new bars" in self.run("update").output
        assert "waiting" in self.run("list").output
        assert "dip, its history by market regime: no failure" in self.run("list", "--verbose").output
        months = self.run("performance", "dip", "--mode", "backtest", "--newest", "3").output
        assert [each[:7] for each in months.splitlines()[3:]] == ["2018-09", "2018-10", "2018-11"]
        assert "stays spent" in self.run("retire", "dip", "--reason", "a trial").output
        assert "retired by hand" in self.run("list").output
        shown = self.run("show", "dip").output
        assert "retired by hand: a trial" in shown
        assert "high volatility" in shown
        logged = (tmp_path / "STRATEGY_LOG.md").read_text().splitlines()
        assert [each.split()[3] for each in logged if each.startswith("- ")] == ["registered:", "retired"]

    def test_a_log_that_cannot_be_written_undoes_nothing(self, database: str, tmp_path: Path) -> None:
        (tmp_path / "STRATEGY_LOG.md").mkdir()
        terms = registration("dip", content={"drawdown": 20.0})
        register(Ledger(Database.open(database)), terms, now=NOON)
        found = self.run("retire", "dip", "--reason", "enough")
        assert found.exit_code
        assert "nothing is lost: the next `lockstep candidates update` writes the line" in str(
            found.exception
        )
        assert candidate_named(Ledger(Database.open(database)), "dip").status == "retired by hand"

    @pytest.mark.parametrize(
        ("words", "told"),
        [
            (["register", "x"], "exactly one of"),
            (["register", "x", "--strategy", "y.yaml"], "need --symbol"),
            (["retire", "nobody", "--reason", "r"], "candidate nobody: is"),
            (["show", "nobody"], "candidate nobody: is"),
            (["update", "--journal", "a.db", "--desk", "live.yml"], "give one of them"),
            (["performance", "nobody"], "no complete period; nothing is stored yet"),
            (["performance", "--mode", "papers"], "did you mean 'paper'?"),
            (["performance", "--period", "year"], "must be day, week, month"),
        ],
    )
    def test_bad_input_is_one_line(self, database: str, words: list[str], told: str) -> None:
        found = self.run(*words)
        assert found.exit_code
        assert told in f"{found.output}{found.exception}"

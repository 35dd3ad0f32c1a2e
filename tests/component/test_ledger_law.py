"""What the ledger keeps of laws, looks and verdicts, and how it counts for a family and its relatives."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import insert

from lockstep.market.dates import DateRange
from research.ledger.append_only import EffectiveRow, KinshipRow, MaximumRow
from research.ledger.chain import append
from research.ledger.database import Database
from research.ledger.law import FORCED, REFUSED, Verdict
from research.ledger.ledger import Ledger, Trials
from research.ledger.tables import Experiment, ExperimentRun
from support.databases import KINDS, fresh_url
from support.experiments import NOON

SEARCHED = DateRange.of("2001-01-01", "2009-12-31")
HELD = DateRange.of("2010-01-01", "2010-12-31")
LATER = DateRange.of("2011-01-01", "2012-12-31")
ALL = DateRange()
LIMITS = {"min_dsr": 0.95, "max_pbo": 0.5}


@pytest.fixture(params=KINDS)
def ledger(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Ledger]:
    with fresh_url(request.param, tmp_path) as url:
        yield Ledger(Database.open(url))


def merge(ledger: Ledger, family: str, other: str, verdict: str = "merged") -> None:
    row = {
        "family": family, "other": other, "symbol": family, "other_symbol": other, "correlation": 0.99,
        "days": 900, "lag": 0, "verdict": verdict, "recorded": "now",
    }  # fmt: skip
    with ledger.database.write() as connection:
        append(connection, KinshipRow, [row])


def tried(
    ledger: Ledger, names: str, family: str = "SP500", experiment: int | None = None, **changes: object
) -> int:
    trials = {
        "family": family, "symbol": "ES", "dates": SEARCHED, "kind": "grid", "experiment_id": experiment,
        "evaluations": dict.fromkeys(names.split(), "ok"), **changes,
    }  # fmt: skip
    return ledger.record(Trials(**trials), now=NOON)  # type: ignore[arg-type]


def settled(
    ledger: Ledger, experiment: int, trials: int, *, seed: int, best: float = 2.0,
    dates: DateRange = SEARCHED, family: str = "SP500",
) -> np.ndarray:  # fmt: skip
    draws = np.random.default_rng(seed).normal(2.0, 0.3, 1000)
    row = {
        "experiment_id": experiment, "family": family, "symbol": "ES", "first_date": dates.start,
        "last_date": dates.end, "trials": trials, "best": best, "survivors": 0,
        "draws": draws.astype("<f8").tobytes(), "recorded": "now",
    }  # fmt: skip
    with ledger.database.write() as connection:
        append(connection, MaximumRow, [row])
    return draws


class TestCounted:
    def test_draws_of_searches_are_joined_and_the_rest_counts_by_the_formula(self, ledger: Ledger) -> None:
        tried(ledger, "a b c", experiment=1)
        tried(ledger, "d e", experiment=2)
        tried(ledger, "f g", experiment=3)
        tried(ledger, "h", kind="training")
        first, second = settled(ledger, 1, 3, seed=1, best=2.5), settled(ledger, 2, 2, seed=2)
        found = ledger.counted("SP500", SEARCHED)
        assert (found.trials, found.drawn, found.without, found.searches) == (8, 5, 3.0, 4)
        assert found.draws is not None
        np.testing.assert_array_equal(found.draws, np.maximum(first, second))
        assert found.best == 2.5

    def test_a_search_without_draws_counts_in_full_until_it_has_them(self, ledger: Ledger) -> None:
        tried(ledger, "a b c", experiment=1)
        before = ledger.counted("SP500", SEARCHED)
        assert (before.without, before.drawn, before.draws) == (3.0, 0, None)
        assert np.isnan(before.best)
        settled(ledger, 1, 3, seed=1)
        after = ledger.counted("SP500", SEARCHED)
        assert (after.trials, after.without, after.drawn) == (3, 0.0, 3)

    def test_one_that_an_earlier_version_settled_counts_by_its_share(self, ledger: Ledger) -> None:
        tried(ledger, "a b c d", experiment=1)
        row = {"experiment_id": 1, "symbol": "ES", "trials": 4, "effective": 1.5}
        with ledger.database.write() as connection:
            append(connection, EffectiveRow, [row])
        assert ledger.counted("SP500", SEARCHED).without == 1.5

    def test_what_a_search_with_draws_evaluated_again_is_in_them(self, ledger: Ledger) -> None:
        """It stands in the ledger under the search that did it first, of which no draws are known."""
        tried(ledger, "a b", experiment=1)
        tried(ledger, "b c", experiment=2)
        with ledger.database.write() as connection:
            experiment = {
                "name": "second", "kind": "grid", "status": "finished", "plan": "{}", "runs": 2,
                "code_hash": "c", "data_hashes": "{}", "config_hash": "h", "started": "now", "seconds": 0,
                "bars": 0,
            }  # fmt: skip
            connection.execute(insert(Experiment), [{"id": number, **experiment} for number in (1, 2)])
            run = {"experiment_id": 2, "symbol": "ES", "window_number": 0, "parameters": "{}", "status": "ok"}
            runs = [{**run, "variant": number, "evaluation": each} for number, each in enumerate("bc")]
            connection.execute(insert(ExperimentRun), runs)
        assert ledger.counted("SP500", SEARCHED).without == 3.0
        settled(ledger, 2, 2, seed=1)
        found = ledger.counted("SP500", SEARCHED)
        assert (found.trials, found.without) == (3, 1.0)

    def test_independent_trials_of_copies_are_those_of_one(self, ledger: Ledger) -> None:
        assert ledger.counted("SP500", SEARCHED).independent == 0.0
        tried(ledger, "a b c", experiment=1)
        settled(ledger, 1, 3, seed=1)
        alone = ledger.counted("SP500", SEARCHED).independent
        assert alone > 1.0
        tried(ledger, "d e f", experiment=2)
        assert ledger.counted("SP500", SEARCHED).independent == alone + 3.0
        settled(ledger, 2, 3, seed=1)
        assert ledger.counted("SP500", SEARCHED).independent == alone

    def test_a_maximum_counts_wherever_its_search_does(self, ledger: Ledger) -> None:
        """It has the dates of its test ranges, the trials those of the whole search."""
        tried(ledger, "a b", experiment=1)
        settled(ledger, 1, 2, seed=1, dates=DateRange.of("2008-01-01", "2009-12-31"))
        found = ledger.counted("SP500", DateRange.of("2001-01-01", "2002-12-31"))
        assert (found.trials, found.drawn, found.without) == (2, 2, 0.0)
        assert ledger.counted("SP500", LATER).trials == ledger.counted("SP500", LATER).drawn == 0

    def test_other_families_and_dates_do_not_count(self, ledger: Ledger) -> None:
        tried(ledger, "a", experiment=1)
        settled(ledger, 1, 1, seed=1)
        tried(ledger, "b", "GOLD", experiment=2)
        settled(ledger, 2, 1, seed=2, family="GOLD")
        tried(ledger, "c", experiment=3, dates=LATER)
        found = ledger.counted("SP500", SEARCHED)
        assert (found.trials, found.drawn, found.without) == (1, 1, 0.0)

    def test_relatives_count_together_and_close_ones_do_not(self, ledger: Ledger) -> None:
        tried(ledger, "a b", experiment=1)
        tried(ledger, "c", "ALIAS", experiment=2)
        tried(ledger, "d", "NASDAQ100", experiment=3)
        merge(ledger, "NASDAQ100", "SP500", "close")
        assert ledger.count("ALIAS", SEARCHED.start, SEARCHED.end) == 1
        merge(ledger, "ALIAS", "SP500")
        for family in ("ALIAS", "SP500"):
            found = ledger.counted(family, SEARCHED)
            assert found.trials == found.independent == 3
        assert ledger.counted("ALIAS", SEARCHED).families == ("ALIAS", "SP500")
        assert ledger.counted("NASDAQ100", SEARCHED).trials == 1


class TestLaw:
    def test_the_first_search_s_law_comes_first_and_an_experiment_s_once(self, ledger: Ledger) -> None:
        ledger.enact("SP500", SEARCHED, limits=LIMITS, holdout=HELD, now=NOON, experiment_id=1)
        ledger.enact("SP500", SEARCHED, limits={"min_dsr": 0.5}, holdout=None, now=NOON, experiment_id=2)
        ledger.enact("SP500", SEARCHED, limits={"min_dsr": 0.1}, holdout=None, now=NOON, experiment_id=1)
        first, second = ledger.law("SP500", SEARCHED)
        assert (first.limits, first.holdout, first.experiment_id) == (LIMITS, HELD, 1)
        assert (second.limits, second.holdout, second.dates) == ({"min_dsr": 0.5}, None, SEARCHED)
        assert ledger.law("SP500", LATER) == ledger.law("GOLD", ALL) == []

    def test_the_law_of_a_relative_holds(self, ledger: Ledger) -> None:
        ledger.enact("SP500", SEARCHED, limits=LIMITS, holdout=HELD, now=NOON)
        assert ledger.law("ALIAS", SEARCHED) == []
        merge(ledger, "ALIAS", "SP500")
        assert [each.limits for each in ledger.law("ALIAS", SEARCHED)] == [LIMITS]

    def test_a_verdict_keeps_the_values_it_was_given_by(self, ledger: Ledger) -> None:
        refused = Verdict(
            kind=REFUSED, subject="x", families=("SP500",), limits=LIMITS, refusals=("no edge",),
            experiment_id=4,
        )  # fmt: skip
        ledger.pronounce(refused, now=NOON)
        ledger.pronounce(Verdict(kind=FORCED, subject="x", limits=LIMITS, reason="because"), now=NOON)
        assert [each.kind for each in ledger.verdicts()] == [REFUSED, FORCED]
        (found,) = ledger.verdicts(REFUSED)
        assert found == Verdict(**{**vars(refused), "recorded": "2026-01-02T12:00:00+00:00"})


class TestDoors:
    def test_only_sealed_days_are_a_look(self, ledger: Ledger) -> None:
        ledger.enact("SP500", SEARCHED, limits=LIMITS, holdout=HELD, now=NOON)
        assert ledger.open_door("SP500", "ES", SEARCHED, purpose="backtest", now=NOON) is None
        assert ledger.open_door("GOLD", "GC", ALL, purpose="backtest", now=NOON) is None
        assert ledger.looks("SP500", ALL) == []

    def test_a_run_over_sealed_days_is_counted_before_it_is_made(self, ledger: Ledger) -> None:
        ledger.enact("SP500", SEARCHED, limits=LIMITS, holdout=HELD, now=NOON)
        for number in (1, 2):
            said = ledger.open_door("SP500", "ES", ALL, purpose="backtest of x", now=NOON)
            assert said == (
                "ES: this backtest of x shows days that a search sealed as its hold-out: 2010-01-01 to "
                f"2010-12-31 (look {number} of SP500 at these days). It is counted; end before 2010-01-01 "
                "to keep them sealed."
            )
        assert [(each.dates, each.purpose) for each in ledger.looks("SP500", HELD)] == [
            (HELD, "backtest of x")
        ] * 2

    def test_only_the_days_that_are_shown(self, ledger: Ledger) -> None:
        ledger.enact("SP500", SEARCHED, limits=LIMITS, holdout=HELD, now=NOON)
        shown = DateRange.of("2010-06-01", "2013-01-01")
        ledger.open_door("SP500", "ES", shown, purpose="backtest", now=NOON)
        (look,) = ledger.looks("SP500", ALL)
        assert look.dates == DateRange.of("2010-06-01", "2010-12-31")

    def test_a_hold_out_that_was_opened_before_there_were_laws_is_known(self, ledger: Ledger) -> None:
        ledger.look("SP500", "ES", HELD, purpose="hold-out of v1", now=NOON)
        assert ledger.sealed("SP500", ALL) == (HELD,)
        assert ledger.sealed("GOLD", ALL) == ledger.sealed("SP500", LATER) == ()
        said = ledger.open_door("SP500", "ES", ALL, purpose="backtest", now=NOON)
        assert "(look 2 of SP500 at these days)" in str(said)

    def test_what_a_relative_sealed_is_sealed(self, ledger: Ledger) -> None:
        ledger.enact("SP500", SEARCHED, limits=LIMITS, holdout=HELD, now=NOON)
        assert ledger.sealed("ALIAS", ALL) == ()
        merge(ledger, "ALIAS", "SP500")
        assert ledger.sealed("ALIAS", ALL) == (HELD,)
        ledger.open_door("ALIAS", "ALIAS", HELD, purpose="backtest", now=NOON)
        assert len(ledger.looks("SP500", HELD)) == 1

    @pytest.mark.parametrize(
        ("held", "also", "stretches"),
        [
            (["2010-01-01 2010-06-30", "2010-07-01 2010-12-31"], [], ["2010-01-01 2010-12-31"]),
            (["2010-01-01 2010-12-31", "2010-03-01 2010-04-30"], [], ["2010-01-01 2010-12-31"]),
            (
                ["2010-01-01 2010-03-31"],
                ["2012-01-01 2012-12-31"],
                ["2010-01-01 2010-03-31", "2012-01-01 2012-12-31"],
            ),
            (
                ["1990-01-01 2001-06-30", "2012-06-01 2030-01-01"],
                [],
                ["2001-01-01 2001-06-30", "2012-06-01 2012-12-31"],
            ),
        ],
    )
    def test_stretches_share_no_day(
        self, ledger: Ledger, held: list[str], also: list[str], stretches: list[str]
    ) -> None:
        for each in held:
            ledger.enact("SP500", SEARCHED, limits=LIMITS, holdout=DateRange.of(*each.split()), now=NOON)
        dates = DateRange(start=date(2001, 1, 1), end=date(2012, 12, 31))
        found = ledger.sealed("SP500", dates, [DateRange.of(*each.split()) for each in also])
        assert list(found) == [DateRange.of(*each.split()) for each in stretches]

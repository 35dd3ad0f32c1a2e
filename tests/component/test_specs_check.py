"""What is refused of a spec on its training rows, and how often conditions hold there."""

from __future__ import annotations

from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from lockstep.errors import ConfigError
from lockstep.market.config import load_instruments
from lockstep.market.dates import DateRange
from lockstep.market.families import load_families
from lockstep.strategy.families.rules import RulesConfig
from lockstep.strategy.family import strategy_of
from research.ledger.database import Database
from research.ledger.ledger import Ledger
from research.specs.check import check_spec, require_spec
from research.specs.occurrence import SIDES, frequencies
from research.specs.rows import training_rows
from support.drawn_specs import RANGES, is_true, rows_of, spec_contents, values

NOW = datetime(2026, 1, 5, tzinfo=UTC)
FAMILY = load_families().of(load_instruments().instrument("COMP"))
DIP = {"name": "dip", "long_entry": {"id": "ibs", "below": 0.2}, "long_exit": {"id": "ibs", "above": 0.8}}


def spec(**content: Any) -> RulesConfig:
    return require_spec(
        strategy_of({"family": "rules", "name": "x", "max_bars": 5, **content}, where="x"), "x"
    )


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger(Database.open(f"sqlite:///{tmp_path / 'ledger.db'}"))


class TestRows:
    def test_the_last_third_is_left_alone(self, ledger: Ledger) -> None:
        (rows,) = training_rows([spec(**DIP)], "COMP", ledger=ledger, now=NOW)
        assert rows.span == DateRange.of("1999-01-04", "2012-05-01")
        assert str(rows) == (
            "COMP, 1d bars, 1999-01-04 to 2012-05-01: 3,354 bars; the last third is left alone"
        )
        assert rows.values.shape == (3354, 1)

    def test_dates_are_the_callers(self, ledger: Ledger) -> None:
        dates = {"start": "2016-01-01", "end": "2017-12-31"}
        (rows,) = training_rows([spec(**DIP)], "COMP", **dates, ledger=ledger, now=NOW)
        assert (rows.span, rows.left_out) == (DateRange.of("2016-01-04", "2017-12-29"), "")

    def test_a_start_in_the_last_third_needs_an_end(self, ledger: Ledger) -> None:
        with pytest.raises(ConfigError, match=r"--start 2016-01-01: lies in the last third .* or give --end"):
            training_rows([spec(**DIP)], "COMP", start="2016-01-01", ledger=ledger, now=NOW)

    def test_sealed_days_are_not_looked_at(self, ledger: Ledger) -> None:
        sealed = DateRange.of("2010-01-04", "2018-12-31")
        ledger.enact(FAMILY, DateRange.of("1999-01-04", "2009-12-31"), limits={}, holdout=sealed, now=NOW)
        for dates in ({}, {"end": "2018-12-31"}):
            (rows,) = training_rows([spec(**DIP)], "COMP", **dates, ledger=ledger, now=NOW)
            assert rows.span == DateRange.of("1999-01-04", "2009-12-31")
            assert rows.left_out == "from 2010-01-04 on they are sealed as a hold-out"
        with pytest.raises(ConfigError, match=r"a search sealed 2014-01-01 to .* end before 2014-01-01"):
            training_rows([spec(**DIP)], "COMP", start="2014-01-01", end="2015-01-01", ledger=ledger, now=NOW)
        assert ledger.looks(FAMILY, DateRange()) == []

    def test_what_is_sealed_elsewhere_stays_open_here(self, ledger: Ledger) -> None:
        sealed = DateRange.of("2010-01-04", "2018-12-31")
        ledger.enact("GC", DateRange.of("1999-01-04", "2009-12-31"), limits={}, holdout=sealed, now=NOW)
        (rows,) = training_rows([spec(**DIP)], "COMP", end="2018-12-31", ledger=ledger, now=NOW)
        assert rows.span.end == date(2018, 12, 31)


IBS = np.tile([0.1, 0.5, 0.9, 0.3], 25)


class TestProblems:
    def found(self, config: RulesConfig, **columns: Any) -> list[str]:
        return list(check_spec(config, rows_of(config, {"ibs": IBS, **columns})).problems)

    def test_a_sound_spec_has_none(self) -> None:
        config = spec(**DIP, short_entry={"id": "ibs", "above": 0.8}, short_exit={"id": "ibs", "below": 0.2})
        assert self.found(config) == []

    def test_a_condition_that_is_never_true(self) -> None:
        tree = {"any": [{"id": "ibs", "below": 0.05}, {"id": "ibs", "below": 0.2}]}
        assert self.found(spec(long_entry=tree)) == [
            "long_entry: 'ibs is below 0.05' is never true on 100 bars, 2010-01-04 to 2010-05-26; change the "
            "constant or drop it"
        ]

    def test_a_condition_that_is_always_true(self) -> None:
        tree = {"all": [{"not": {"id": "ibs", "above": 0.95}}, {"id": "ibs", "below": 0.2}]}
        (line,) = self.found(spec(long_entry=tree))
        assert line.startswith("long_entry: 'ibs is at most 0.95' is always true on 100 bars")

    def test_conditions_that_are_never_true_together(self) -> None:
        tree = {"all": [{"id": "ibs", "below": 0.2}, {"id": "rsi_2", "above": 50}]}
        lines = self.found(spec(long_entry=tree), rsi_2=np.where(IBS < 0.2, 20.0, 80.0))
        assert [each[:64] for each in lines] == [
            "long_entry: all of its conditions together are never true on 100"
        ]

    def test_exits_filters_and_veto_are_conditions_too(self) -> None:
        config = spec(
            **{**DIP, "long_exit": {"id": "ibs", "above": 0.95}},
            filters=[{"feature": "rsi_2", "min": 60}],
            veto={"id": "rsi_14", "at_least": 10},
        )
        starts = {each.split(":")[0] for each in self.found(config, rsi_2=50 + IBS, rsi_14=50 + IBS)}
        assert starts == {
            "long_exit",
            "filters",
            "veto",
            "long_entry is true on 25 bars, and no long entry may be taken",
        }

    def test_both_sides_on_one_bar(self) -> None:
        config = spec(**DIP, short_entry={"id": "rsi_2", "above": 50})
        rsi = np.full(100, 20.0)
        rsi[[3, 8, 12]] = 80.0
        assert self.found(config, rsi_2=rsi) == [
            "long_entry and short_entry are both true on 2 bars, first 2010-01-14: neither is taken there "
            "(reason `ambiguous`); make one exclude the other"
        ]

    def test_values_that_are_missing(self) -> None:
        config = spec(**DIP, features=["rsi_2", "rsi_14", "ret_1"])
        late, holes = np.full(100, 50.0), np.full(100, 50.0)
        late[:60], holes[40:46] = np.nan, np.nan
        assert self.found(config, rsi_2=late, rsi_14=holes, ret_1=np.full(100, np.nan))[:3] == [
            "rsi_2 has its first value on 2010-03-31, after 60.0% of 100 bars, 2010-01-04 to 2010-05-26; "
            "drop it, or use more history",
            "rsi_14 is missing on 6.0% of the bars from 2010-01-04 on, at most 5% may be; such a bar is not "
            "entered: drop it, or mend the data",
            "ret_1 has no value on any of 100 bars, 2010-01-04 to 2010-05-26; drop it, or use more history",
        ]
        holes[40] = 50.0
        assert self.found(spec(**DIP, features=["rsi_14"]), rsi_14=holes) == []

    def test_an_id_that_never_matters(self) -> None:
        idle = {"any": [{"id": "rsi_2", "below": 50}, {"id": "rsi_2", "at_least": 50}]}
        config = spec(long_entry={"all": [{"id": "ibs", "below": 0.2}, idle]})
        first, second = self.found(config, rsi_2=np.tile([20.0, 80.0, 90.0, 50.0], 25))
        assert first == "rsi_2 is named in a condition and never changes what comes of it; drop it"
        assert second.startswith("long_entry: any of its conditions is always true on 100 bars")

    def test_an_entry_that_something_always_stops(self) -> None:
        config = spec(**DIP, filters=[{"feature": "rsi_2", "min": 60}])
        rsi = np.where(IBS < 0.2, 10.0, 90.0)
        assert self.found(config, rsi_2=rsi) == [
            "long_entry is true on 25 bars, and no long entry may be taken: filter rsi_2 on 25 of them; "
            "loosen what stops it"
        ]

    def test_another_family_is_no_spec(self) -> None:
        with pytest.raises(ConfigError, match=r"f\.yaml: family ibs is no spec"):
            require_spec(strategy_of({"name": "x"}, where="x"), "f.yaml")


@given(spec_contents(), st.integers(0, 2**32))
@settings(max_examples=40, deadline=None)
def test_frequencies_are_those_of_a_slow_evaluator(content: dict[str, Any], seed: int) -> None:
    content.pop("score", None)
    assume("score" not in str(content))
    try:
        config = spec(**content)
    except ConfigError:
        assume(False)
        raise
    matrix = values(seed, 60, len(RANGES) + 1)
    columns = dict(zip((*RANGES, "atr_pctile_14_252"), matrix.T, strict=True))
    found = frequencies(config, rows_of(config, columns))
    for part in SIDES:
        if part in content:
            (whole, *_) = [each for each in found.occurrences if each.part == part]
            at = [{name: values[row] for name, values in columns.items()} for row in range(60)]
            named = {name for name in columns if f"'{name}'" in str(content[part])}
            there = [all(not np.isnan(each[name]) for name in named) for each in at]
            true = [is_true(content[part], each) for each in at]
            assert whole.judged == sum(there)
            assert whole.true == sum(t and h for t, h in zip(true, there, strict=True))


def test_a_slow_evaluator_that_errs_is_noticed() -> None:
    assert is_true({"not": {"id": "ibs", "below": 0.5}}, {"ibs": 0.7})
    assert not is_true({"not": {"id": "ibs", "below": 0.5}}, {"ibs": float("nan")})

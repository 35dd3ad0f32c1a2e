"""Rolls: tables from contracts' bars, one series from their files, windows that reach over a roll."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from lockstep.errors import DataError, TrainingError
from lockstep.features.batch import BatchFeatures
from lockstep.features.feature_registry import FeatureRegistry
from lockstep.features.streaming import WindowFeatures
from lockstep.market.bars import PRICE_COLUMNS, Bars, Floats
from lockstep.market.continuous import adjusted, following_closes, require_one_contract, stitched
from lockstep.market.roll_rules import RollRule, build_table, by_session, differences
from lockstep.market.rolls import AHEAD, NEXT, Roll, RollTable
from lockstep.market.timeframe import DAILY, Timeframe
from research.ledger.first_seen import see
from research.statistics.null_bars import redrawn
from research.zoo.labels import labels
from support.contracts import (
    KEY,
    PAIR_KEY,
    ROLLS,
    SESSIONS,
    SPREADS,
    TICK,
    contracts,
    raw,
    rolled_history,
    table,
    uncut,
)
from support.evidence import NOW
from support.feature_checks import MODIFIED, assert_same_bits, prepared, streamed
from support.markets import CME, MINUTE

REGISTRY = FeatureRegistry()
IDS = (*REGISTRY.list(), *MODIFIED, "zscore_20@NQ", "ibs*rsi_2@NQ")


@cache
def expected() -> Floats:
    """Return the vectors of the whole history."""
    return matrix(raw("ES"))


def matrix(es: Bars, nq: Bars | None = None) -> Floats:
    return BatchFeatures(REGISTRY.plan(IDS, KEY), rolled_history(es, nq)).matrix


class TestTable:
    def test_volume_rolls_where_it_was_larger_twice_and_three_sessions_later(self) -> None:
        found = table("ES")
        assert [each.at for each in found.rolls] == SESSIONS[ROLLS].tolist()
        assert [each.spread for each in found.rolls] == SPREADS
        assert found.contracts == tuple(contracts("ES"))

    def test_the_session_that_is_running_decides_nothing(self) -> None:
        """What is known at the close of the second session is not used before the one after next."""
        daily = {name: by_session(bars, CME) for name, bars in contracts("ES").items()}
        first, second = list(daily)[:2]
        known = SESSIONS[ROLLS[0] - 3]
        for last, rolled in ((known, True), (SESSIONS[ROLLS[0] - 4], False)):
            until = {name: _until(daily[name], last) for name in (first, second)}
            if rolled:
                roll = build_table("ES", until, CME, TICK, RollRule.parse("volume")).rolls[0]
                assert (roll.at, roll.spread) == (SESSIONS[ROLLS[0]].astype(object), None)
            else:
                with pytest.raises(DataError, match="volume decides no roll"):
                    build_table("ES", until, CME, TICK, RollRule.parse("volume"))

    def test_one_session_ahead_is_not_enough(self) -> None:
        daily = {name: by_session(bars, CME) for name, bars in contracts("ES").items()}
        second = list(daily)[1]
        early = daily[second].weight.copy()
        early[daily[second].dates == SESSIONS[ROLLS[0] - 10]] = 1e9
        daily[second] = daily[second]._replace(weight=early)
        assert build_table("ES", daily, CME, TICK, RollRule.parse("volume")).rolls[0].at == SESSIONS[
            ROLLS[0]
        ].astype(object)

    def test_a_calendar_rule_counts_sessions_from_the_end(self) -> None:
        daily = {name: by_session(bars, CME) for name, bars in contracts("ES").items()}
        found = build_table("ES", daily, CME, TICK, RollRule.parse("calendar 4"))
        lasts = [each.dates[-1] for each in list(daily.values())[:-1]]
        assert [np.datetime64(each.at) for each in found.rolls] == [
            SESSIONS[np.searchsorted(SESSIONS, last) - 4] for last in lasts
        ]

    def test_a_contract_that_still_trades_needs_its_expiry(self) -> None:
        daily = {name: by_session(bars, CME) for name, bars in list(contracts("ES").items())[:2]}
        first = next(iter(daily))
        last = SESSIONS[ROLLS[0]]
        running = {name: _until(each, last) for name, each in daily.items()}
        rule = RollRule.parse("calendar 4")
        with pytest.raises(DataError, match="their expiry"):
            build_table("ES", running, CME, TICK, rule)
        expiry = SESSIONS[ROLLS[0] + 6]
        roll = build_table("ES", running, CME, TICK, rule, expiries={first: expiry.astype(object)}).rolls[0]
        assert roll.at == SESSIONS[ROLLS[0] + 2].astype(object)
        assert roll.spread is None

    def test_what_is_written_stays_and_an_open_spread_is_added(self) -> None:
        daily = {name: by_session(bars, CME) for name, bars in contracts("ES").items()}
        early = {name: _until(each, SESSIONS[ROLLS[1] - 3]) for name, each in daily.items()}
        early = {name: each for name, each in early.items() if each.dates.size}
        before = build_table("ES", early, CME, TICK, RollRule.parse("volume"))
        assert [each.spread for each in before.rolls] == [SPREADS[0], None]
        after = build_table("ES", daily, CME, TICK, RollRule.parse("calendar 4"), known=before)
        assert after.rolls[:2] == table("ES").rolls[:2]
        assert [each.rule for each in after.rolls[1:3]] == ["volume", "calendar 4"]

    def test_revised_bars_are_found(self) -> None:
        daily = {name: by_session(bars, CME) for name, bars in contracts("ES").items()}
        assert differences(table("ES"), daily, TICK) == []
        name = table("ES").contracts[3]
        close = daily[name].close.copy()
        close[0] += TICK
        daily[name] = daily[name]._replace(close=close)
        (into, text), (out, same) = differences(table("ES"), daily, TICK)
        assert (into.to, out.before) == (name, name)
        assert text == same == "the bars before it are not those that it was built from"

    @pytest.mark.parametrize(
        ("line", "refused"),
        [
            ("ESH10,ESM10,2010-03-11,x,volume,0", "whole ticks"),
            ("ESH10,ESM10,2010-03-32,5,volume,0", "write a date"),
            ("ESH10,ESM10,2010-03-11,5,volume", "5 values"),
            ("ESH10,ESH10,2010-03-11,5,volume,0", "two contracts"),
            ("ESH10,ESM10,2010-03-11,5,volume,0\nESU10,ESZ10,2010-06-11,5,volume,0", "but ESM10 is traded"),
            ("ESH10,ESM10,2010-03-11,5,volume,0\nESM10,ESU10,2010-03-11,5,volume,0", "dates must rise"),
            ("ESH10,ESM10,2010-03-11,,volume,\nESM10,ESU10,2010-06-11,5,volume,0", "has no spread"),
        ],
    )
    def test_a_table_that_was_edited_wrongly_is_refused_with_its_line(
        self, tmp_path: Path, line: str, refused: str
    ) -> None:
        path = tmp_path / "ES.csv"
        path.write_text(f"from,to,at,spread,rule,source\n{line}\n")
        with pytest.raises(DataError, match=rf"ES.csv:{line.count(chr(10)) + 2}: .*{refused}"):
            RollTable.read(path, "ES")

    def test_a_roll_on_a_day_without_a_session_is_refused(self) -> None:
        wrong = RollTable(symbol="ES", rolls=(Roll("ESH10", "ESM10", date(2011, 3, 12), 5, "volume", "0"),))
        with pytest.raises(DataError, match="no session of CME"):
            stitched(wrong, contracts("ES"), CME, TICK, source="ES")


def _until(daily: object, last: np.datetime64) -> object:
    rows = daily.dates <= last  # type: ignore[attr-defined]
    return type(daily)(*(column[rows] for column in daily))  # type: ignore[arg-type, attr-defined]


class TestSeries:
    def test_each_session_has_the_prices_of_its_contract(self) -> None:
        series, every = raw("ES"), contracts("ES")
        assert len(series) == SESSIONS.size
        for number, name in enumerate(table("ES").contracts):
            rows = np.flatnonzero(series.rolls.contract(series.end) == number)  # type: ignore[union-attr]
            own = every[name]
            place = np.searchsorted(own.end, series.end[rows])
            np.testing.assert_array_equal(series.close[rows], own.close[place])

    def test_adjusted_as_a_whole_it_is_the_series_that_it_was_cut_from(self) -> None:
        whole, cut_from = adjusted(raw("ES"), to=0), uncut("ES")
        for name in PRICE_COLUMNS:
            np.testing.assert_array_equal(getattr(whole, name), getattr(cut_from, name))
        assert whole.adjustment == "difference"

    def test_a_later_roll_is_not_in_the_hash_of_earlier_bars(self) -> None:
        now, later = raw("ES", 3), raw("ES", 4)
        rows = int(np.searchsorted(now.end, later.rolls.since[3], side="right"))  # type: ignore[union-attr]
        assert now.rows(0, rows).content_hash == later.rows(0, rows).content_hash
        assert now.rows(0, rows).content_hash != replace(now, rolls=None).rows(0, rows).content_hash

    def test_beyond_an_open_roll_nothing_is_seen(self) -> None:
        rolls = table("ES").rolls[:2]
        still_open = RollTable(symbol="ES", rolls=(rolls[0], rolls[1]._replace(spread=None)))
        with pytest.raises(DataError, match="does not say by how much"):
            stitched(still_open, contracts("ES"), CME, TICK, source="ES")

    def test_a_contract_without_its_sessions_is_refused(self) -> None:
        name = table("ES").contracts[2]
        short = contracts("ES") | {name: contracts("ES")[name].rows(0, 10)}
        with pytest.raises(DataError, match=f"no bar in the sessions in which {name} is traded"):
            stitched(table("ES"), short, CME, TICK, source="ES")


class TestWindows:
    def test_batch_and_streaming_are_equal_over_eight_rolls(self) -> None:
        seen = rolled_history(raw("ES"))
        assert_same_bits("streamed", IDS, expected(), streamed(REGISTRY, IDS, seen, KEY))
        assert_same_bits("in blocks", IDS, expected(), prepared(REGISTRY, IDS, seen, 97, KEY))

    @pytest.mark.parametrize("roll", range(len(ROLLS)))
    def test_an_engine_killed_at_a_roll_goes_on_with_the_same_bits(self, roll: int) -> None:
        """Windows that begin anew hold as many bars as they need, and no more."""
        seen, plan = rolled_history(raw("ES")), REGISTRY.plan(IDS, KEY)
        sets = list(seen.bar_sets())
        needed = max(plan.lookback(KEY), plan.lookback(PAIR_KEY))
        for begin in range(ROLLS[roll] - 1, ROLLS[roll] + 2):
            assert begin >= needed
            windows = WindowFeatures(plan, seen.markets)
            windows.push_all(sets[begin - needed + 1 : begin])
            for row in range(begin, begin + 3):
                windows.push(sets[row])
                found = windows.vector(sets[row].stamp)[None]
                assert_same_bits(f"row {row}", IDS, expected()[row : row + 1], found)

    @pytest.mark.parametrize("roll", range(1, len(ROLLS)))
    def test_a_later_roll_changes_no_earlier_value(self, roll: int) -> None:
        before = matrix(raw("ES", roll))[: ROLLS[roll]]
        after = matrix(raw("ES", roll + 1))[: ROLLS[roll]]
        assert_same_bits("a later roll", IDS, before, after)

    def test_adjusting_the_whole_series_changes_them(self) -> None:
        now, later = adjusted(raw("ES", 3).rows(0, ROLLS[3])), adjusted(raw("ES", 4))
        before, after = matrix(now), matrix(later)[: len(now)]
        changed = ~((before == after) | np.isnan(before)).all(axis=0)
        assert 10 < changed.sum() < len(IDS)

    def test_a_value_is_that_of_prices_seen_from_its_own_contract(self) -> None:
        found = expected()
        bounds = [0, *ROLLS, len(SESSIONS)]
        own = [name for name in IDS if "pair" not in name and "NQ" not in name]
        columns = [IDS.index(name) for name in own]
        for number in range(len(bounds) - 1):
            rows = slice(bounds[number], bounds[number + 1])
            alone = matrix(adjusted(raw("ES"), to=number), adjusted(raw("NQ"), to=0))
            assert_same_bits(
                f"contract {number}", tuple(own),
                np.ascontiguousarray(found[rows, columns]), np.ascontiguousarray(alone[rows, columns]),
            )  # fmt: skip

    def test_prices_that_jump_are_seen_by_nearly_every_feature(self) -> None:
        """The control: without rolls, the windows over them have other values."""
        found, jumping = expected(), matrix(replace(raw("ES"), rolls=None))
        near = np.isin(np.arange(len(SESSIONS)), np.concatenate([np.array(ROLLS) + k for k in range(3)]))
        changed = ((found != jumping) & ~np.isnan(found))[near].any(axis=0)
        assert changed.mean() > 0.6

    def test_a_few_features_are_streamed_over_two_rolls(self) -> None:
        """As the whole catalogue is above; small, so that it can be tried against faults as plain Python."""
        rows, ids = slice(ROLLS[0] - 30, ROLLS[1] + 10), ("ret_5", "rsi_2~1", "zscore_20", "pair_ret_1")
        nq = raw("NQ")
        seen = rolled_history(raw("ES").rows(rows.start, rows.stop), nq.rows(rows.start, rows.stop))
        one = BatchFeatures(REGISTRY.plan(ids, KEY), seen).matrix
        assert_same_bits("streamed", ids, one, streamed(REGISTRY, ids, seen, KEY))
        for contract in (1, 2):
            first, close = ROLLS[contract - 1], adjusted(raw("ES"), to=contract).close
            windows = [close[row - 19 : row + 1] for row in range(first, first + 8)]
            usual = [(each[-1] - each.mean()) / each.std() for each in windows]
            found = one[first - rows.start : first - rows.start + 8, 2]
            np.testing.assert_allclose(found, usual, rtol=1e-9)


def test_positions_are_left_in_the_last_session_but_one() -> None:
    bars = raw("ES")
    assert bars.rolls is not None
    near = bars.rolls.nearness(bars.end, DAILY, CME)
    assert np.flatnonzero(near == AHEAD).tolist() == [each - 2 for each in ROLLS]
    assert np.flatnonzero(near == NEXT).tolist() == [each - 1 for each in ROLLS]
    at_close = bars.rolls.nearness(bars.end, DAILY, CME, at_close=True)
    assert np.flatnonzero(at_close == AHEAD).tolist() == [each - 1 for each in ROLLS]
    assert set(at_close) == {0.0, AHEAD}


def test_within_a_day_the_last_ten_minutes_or_the_last_bar_but_one_decide() -> None:
    rolls = raw("ES").rolls
    assert rolls is not None
    [day] = CME.days(SESSIONS[[ROLLS[0] - 1]])
    for minutes, first in ((1, 10), (5, 10), (15, 15), (60, 60)):
        step = minutes * MINUTE
        ends = day.close - step * np.arange(20)[::-1]
        near = rolls.nearness(ends, Timeframe(minutes), CME)
        assert ends[near == AHEAD].tolist() == [
            each for each in ends.tolist() if each >= day.close - first * MINUTE
        ]


def test_what_follows_a_bar_is_what_its_contracts_did() -> None:
    whole, bars = adjusted(raw("ES"), to=0), raw("ES")
    np.testing.assert_array_equal(following_closes(bars) - bars.close[:-1], np.diff(whole.close))
    assert following_closes(whole).tolist() == whole.close[1:].tolist()
    judged = labels(bars, "direction", 5).judged
    np.testing.assert_array_equal(judged, labels(whole, "direction", 5).judged)
    jumps = labels(replace(bars, rolls=None), "direction", 5).judged
    assert (jumps[:-5] != judged[:-5]).any(), "the control: prices that jump have other labels"


def test_what_knows_of_no_rolls_refuses_them() -> None:
    bars = raw("ES")
    with pytest.raises(DataError, match="the null of redrawn bars knows of no rolls"):
        redrawn(bars, np.zeros(len(bars), dtype=np.bool_))
    with pytest.raises(DataError, match="as first seen knows of no rolls"):
        see(None, KEY, bars, now=NOW, source="a file")  # type: ignore[arg-type]
    with pytest.raises(TrainingError, match="adjusted by differences"):
        labels(bars, "volatility", 5)
    assert require_one_contract(adjusted(bars), "anything").adjustment == "difference"

"""`lockstep.monitoring.drift` and what it is made of: distances, the one warning stream, the range check."""

from __future__ import annotations

import json
import math
from dataclasses import asdict
from datetime import date
from typing import Any

import numpy as np
import pytest
from scipy import stats

from benchmarks import drift as simulated
from lockstep.errors import DataError
from lockstep.metrics import Floats
from lockstep.monitoring.distances import LEAST_VALUES, psi, rolling_ks
from lockstep.monitoring.drift import (
    INVESTIGATION,
    NO_RATE,
    QUIET,
    WARNING,
    WATCH,
    DriftVerdict,
    DriftWatch,
)
from lockstep.monitoring.drift_baseline import (
    INNOVATIONS,
    LEVEL,
    MISSING,
    DriftBaseline,
    DriftSettings,
    scores,
)
from lockstep.monitoring.feature_history import FeatureHistory, HistoryContent
from lockstep.monitoring.ranges import RangeCheck

NAN = math.nan
YEAR, WINDOW = simulated.YEAR, simulated.WINDOW


def noise(sessions: int, features: int = 1, *, seed: int = 3, slope: float = 0.0) -> Floats:
    return simulated.autoregressions(sessions, features, slope, seed)


def years(count: int, features: int = 1, **parts: Any) -> FeatureHistory:
    return simulated.history_of(noise(count * YEAR + WINDOW, features), **parts)


def run(history: FeatureHistory, rows: Any) -> list[DriftVerdict]:
    watch = DriftWatch(DriftBaseline.of(history))
    days = simulated.weekdays(len(history) + len(rows))[len(history) :]
    return [watch.observe(day, row) for day, row in zip(days, rows, strict=True)]


@pytest.mark.parametrize("decimals", [0, 1, 8])
@pytest.mark.parametrize("gone", [0.0, 0.3])
def test_the_distance_is_that_of_scipy_with_ties_and_missing_values(decimals: int, gone: float) -> None:
    rng = np.random.default_rng(7)
    x, reference = (rng.standard_normal(each).round(decimals) for each in (150, 400))
    x[rng.random(150) < gone] = NAN
    found = rolling_ks(x, np.sort(reference), WINDOW)
    for start, distance in enumerate(found):
        window = x[start : start + WINDOW]
        expected = stats.ks_2samp(window[~np.isnan(window)], reference).statistic
        assert distance == pytest.approx(expected, abs=1e-12)


def test_too_few_values_are_no_distribution() -> None:
    x = np.full(WINDOW, NAN)
    x[: LEAST_VALUES - 1] = 1.0
    assert np.isnan(rolling_ks(x, np.arange(5.0), WINDOW)).all()
    assert np.isnan(rolling_ks(np.ones(WINDOW), np.empty(0), WINDOW)).all()
    assert rolling_ks(np.ones(WINDOW - 1), np.arange(5.0), WINDOW).size == 0


def test_psi_by_hand() -> None:
    assert psi([0.0, 0.0, 0.0, 1.0], [0.0, 1.0], bins=2) == pytest.approx(0.25 * math.log(3.0))
    assert math.isnan(psi([NAN], [1.0]))


def test_the_usual_rules_flag_what_did_not_change() -> None:
    """The negative control: why PSI is shown and not judged, and no table of critical values is used."""
    independent = [simulated.psi_flags(500, 1, size, 0.0) for size in (60, 20)]
    assert 0.25 < independent[0] < 0.45
    assert independent[1] > 0.85
    assert min(simulated.psi_flags(500, 1, size, 0.95) for size in (20, 60)) > 0.97
    assert simulated.critical_value_flags(200, 1, 0.95) > 0.7


def test_the_one_stream_is_false_as_seldom_as_it_says() -> None:
    """17 years, autocorrelation .95; 40 features and more years: `make soak ARGS=drift`.

    The negative control is one warning for each feature: it would be false most years.
    """
    found = simulated.false_years(40, 1, features=12)
    assert found["years of history"] == 17
    assert found["stated"] == pytest.approx(1 / 18, abs=1e-4)
    assert found["false"] <= found["bound"] < found["false a year, one warning for each feature"]


def told(verdict: DriftVerdict) -> bytes:
    return json.dumps(asdict(verdict), default=str).encode()


def test_session_by_session_is_the_same_as_all_at_once_to_the_byte() -> None:
    history = years(10, 3)
    rows = noise(YEAR, 3, seed=4)
    rows[30:50, 1] = NAN
    verdicts = run(history, rows)
    assert [told(each) for each in run(history, rows[:100])] == [told(each) for each in verdicts[:100]]
    baseline = DriftBaseline.of(history)
    whole = np.concatenate((history.values[-WINDOW:], rows))
    own = scores(baseline, np.fmax.reduce(baseline.distances(whole), axis=0))
    assert np.array([each.score for each in verdicts[-1].readings]).tobytes() == own.tobytes()


def test_how_often_one_looks_changes_nothing() -> None:
    history, rows = years(10), noise(80, seed=5)
    watch = DriftWatch(DriftBaseline.of(history))
    seldom = [watch.observe(day, row) for day, row in zip(days_after(history, 80), rows, strict=True)][-1]
    assert told(seldom) == told(run(history, rows)[-1])


def days_after(history: FeatureHistory, count: int) -> Any:
    return simulated.weekdays(len(history) + count)[len(history) :]


def test_a_feature_that_moved_is_named_with_the_day_and_the_rate() -> None:
    rows = noise(60, 10, seed=6)
    rows[:, 4] += 2.0
    found = run(years(10, 10), rows)
    last = found[-1]
    assert (last.verdict, last.feature, last.what) == (WARNING, "feature_5", LEVEL)
    assert last.since == next(each.session for each in found if each.verdict == WARNING)
    assert last.rate == pytest.approx(1 / 11)
    assert last.sentence == (
        "drift, warning: feature_5 (level) is further from the reference than any feature in 10 years, since "
        f"{last.since} (rate 1 in 11 years without drift); look at its chart, then train a challenger"
    )


def test_without_drift_it_says_so() -> None:
    last = run(years(10, 10), noise(60, 10, seed=6))[-1]
    assert last.verdict == QUIET
    assert "no drift found" in last.sentence


def test_below_nine_years_drift_is_a_watch_with_its_rate() -> None:
    last = run(years(8), noise(60, seed=6) + 3.0)[-1]
    assert last.verdict == WATCH
    assert "rate 1 in 9 years without drift; below 9 years of history it is no warning" in last.sentence
    assert run(years(9), noise(60, seed=6) + 3.0)[-1].verdict == WARNING


@pytest.mark.parametrize("sessions", [1, WINDOW - 1, WINDOW, YEAR, 2 * YEAR + WINDOW - 1])
def test_below_two_years_there_is_no_rate_and_that_is_said(sessions: int) -> None:
    last = run(simulated.history_of(noise(sessions)), noise(70, seed=6) + 3.0)[-1]
    assert last.verdict == NO_RATE
    assert "no rate can be stated below two years" in last.sentence
    assert last.readings[0].distance > 0.5 or sessions == 1
    assert last.readings[0].note.startswith("less than two years of history")


def test_two_years_are_enough_for_a_rate() -> None:
    last = run(simulated.history_of(noise(2 * YEAR + WINDOW)), noise(70, seed=6) + 3.0)[-1]
    assert (last.verdict, last.years) == (WATCH, 2)


def test_values_that_go_missing_are_a_test_of_their_own() -> None:
    rows = noise(60, 3, seed=6)
    rows[20:40, 1] = NAN
    last = run(years(10, 3), rows)[-1]
    assert (last.verdict, last.feature, last.what) == (WARNING, "feature_2", MISSING)


def test_a_feature_without_any_value_later_is_found_by_what_is_missing() -> None:
    rows = noise(60, 3, seed=6)
    rows[:, 1] = NAN
    last = run(years(10, 3), rows)[-1]
    assert (last.verdict, last.feature, last.what) == (WARNING, "feature_2", MISSING)
    level = next(each for each in last.readings if (each.feature, each.what) == ("feature_2", LEVEL))
    assert math.isnan(level.distance)
    assert level.note == "too few values in the last sessions"


def test_a_slow_feature_is_judged_by_its_innovations() -> None:
    values = np.cumsum(noise(10 * YEAR + WINDOW + 60), axis=0)
    history = simulated.history_of(values[:-60])
    baseline = DriftBaseline.of(history)
    assert [(each.what, baseline.streamed(each)) for each in baseline.columns] == [
        (LEVEL, False), (INNOVATIONS, True), (MISSING, True),
    ]  # fmt: skip
    steps = np.diff(values[-61:], axis=0)
    last = run(history, values[-61] + np.cumsum(4.0 * steps, axis=0))[-1]
    assert (last.verdict, last.what) == (WARNING, INNOVATIONS)
    assert last.readings[0].note.startswith("slow: its level is ranked without a stated rate")
    assert last.watches == ()


def test_a_feature_of_autocorrelation_95_is_not_slow() -> None:
    baseline = DriftBaseline.of(simulated.history_of(noise(17 * YEAR + WINDOW, slope=0.95)))
    assert [each.what for each in baseline.columns] == [LEVEL, MISSING]


def test_a_constant_feature_is_quiet_until_it_moves() -> None:
    values = noise(10 * YEAR + WINDOW, 2)
    values[:, 0] = 0.5
    history = simulated.history_of(values)
    rows = noise(60, 2, seed=6)
    rows[:, 0] = 0.5
    last = run(history, rows)[-1]
    assert last.verdict == QUIET
    assert last.readings[0].rank == 6.0  # the middle of 11 equal years: midranks
    rows[:, 0] = 0.6
    assert (run(history, rows)[-1].verdict, run(history, rows)[-1].feature) == (WARNING, "feature_1")


def test_a_new_feature_without_history_is_said_and_disturbs_no_other() -> None:
    values = noise(10 * YEAR + WINDOW, 2)
    values[:, 0] = NAN
    last = run(simulated.history_of(values), noise(60, 2, seed=6))[-1]
    assert (last.verdict, last.years) == (QUIET, 10)
    assert last.readings[0].note.startswith("less than two years of history: no rank")


def test_a_feature_with_a_short_history_is_a_watch_of_its_own() -> None:
    values = noise(12 * YEAR + WINDOW, 2)
    values[: 8 * YEAR, 0] = NAN
    rows = noise(60, 2, seed=6)
    rows[:, 0] += 3.0
    last = run(simulated.history_of(values), rows)[-1]
    assert (last.verdict, last.years) == (QUIET, 12)
    assert last.readings[0].note == "watch: furthest of 5 years, rate 1 in 5; not in the stream"
    assert last.watches == last.readings[:1]


def test_probabilities_of_signals_are_an_investigation_and_may_have_gaps() -> None:
    rng = np.random.default_rng(8)
    values = rng.beta(4.0, 4.0, (10 * YEAR + WINDOW + 60, 1))
    values[rng.random(values.size) < 0.5] = NAN
    free = {"low": np.zeros(1), "high": np.ones(1), "gaps": True}
    history = simulated.history_of(values[:-60], **free)
    quiet = run(history, values[-60:])[-1]
    assert (quiet.verdict, [each.what for each in quiet.readings]) == (QUIET, [LEVEL])
    assert run(history, values[-60:] ** 0.25)[-1].verdict == INVESTIGATION
    assert run(history, np.full((60, 1), NAN))[-1].verdict == QUIET


def test_a_month_without_signals_is_too_few_values_and_no_drift() -> None:
    history = simulated.history_of(noise(10 * YEAR + WINDOW), gaps=True)
    last = run(history, np.full((50, 1), NAN))[-1]
    assert (last.verdict, last.readings[0].note) == (QUIET, "too few values in the last sessions")


def test_a_year_ends_and_takes_its_warning_along() -> None:
    rows = noise(YEAR + WINDOW + 1, seed=6)
    rows[:WINDOW] += 3.0
    found = run(years(10), rows)
    assert found[YEAR - 1].verdict == WARNING
    assert found[YEAR].verdict == QUIET


def test_other_lengths_are_refused() -> None:
    with pytest.raises(ValueError, match="greater than or equal to 20"):
        DriftSettings(window=5)


BAD_ROWS = {
    "too many values": ("2030-01-01", [1.0, 2.0], "2 values for 1 features"),
    "infinite": ("2030-01-01", [math.inf], "feature_1 is infinite"),
    "clock back": ("1990-01-01", [1.0], "does not come after"),
    "no date": ("soon", [1.0], "is no date"),
}


@pytest.mark.parametrize("case", BAD_ROWS)
def test_a_bad_session_is_one_clear_line(case: str) -> None:
    session, row, text = BAD_ROWS[case]
    history = years(2)
    for taker in (DriftWatch(DriftBaseline.of(history)), RangeCheck(history)):
        with pytest.raises(DataError, match=text) as refusal:
            taker.observe(session, row)
        assert "\n" not in str(refusal.value)


def test_a_session_twice_is_refused() -> None:
    watch = DriftWatch(DriftBaseline.of(years(2)))
    watch.observe("2030-01-01", [1.0])
    with pytest.raises(DataError, match="2030-01-01: does not come after 2030-01-01"):
        watch.observe("2030-01-01", [1.0])


def test_an_empty_history_is_refused() -> None:
    with pytest.raises(DataError, match="has no session"):
        DriftBaseline.of(simulated.history_of(np.empty((0, 1))))


def test_bad_histories_are_one_clear_line() -> None:
    good: dict[str, Any] = {
        "ids": ("ibs",), "sessions": simulated.weekdays(2), "values": [[0.5], [0.6]], "low": [0], "high": [1],
    }  # fmt: skip
    for change, text in (
        ({"ids": ("ibs", "ibs")}, r"need \(sessions, ids\)"),
        ({"ids": ("a", "a"), "values": [[0, 0], [0, 0]], "low": [0, 0], "high": [1, 1]}, "each once"),
        ({"sessions": simulated.weekdays(2)[::-1]}, "sessions must rise"),
        ({"values": [[0.5], [1.5]]}, "ibs is 1.5 in session 1990-01-02; declared are 0 to 1"),
        ({"values": [[0.5], [math.inf]], "high": [math.inf]}, "ibs is inf"),
        ({"low": [2]}, "needs low <= high"),
    ):
        with pytest.raises(DataError, match=text) as refusal:
            FeatureHistory(**{**good, **change})
        assert "\n" not in str(refusal.value)


def test_a_history_is_frozen_and_its_hash_covers_everything() -> None:
    history = years(1, 2)
    with pytest.raises(ValueError, match="read-only"):
        history.values[0, 0] = 1.0
    with pytest.raises(AttributeError):
        history.gaps = True  # type: ignore[misc]
    parts: dict[str, Any] = {
        name: getattr(history, name) for name in ("ids", "sessions", "values", "low", "high", "gaps")
    }
    moved = history.values.copy()
    moved[5, 1] = np.nextafter(moved[5, 1], 2.0)
    changes: tuple[dict[str, Any], ...] = (
        {"ids": ("a", "b")}, {"sessions": history.sessions + 1}, {"values": moved}, {"gaps": True},
        {"low": [-9.0, -9.0]}, {"high": [9.0, 9.0]},
    )  # fmt: skip
    hashes = {FeatureHistory(**{**parts, **each}).digest for each in ({}, *changes)}
    assert len(hashes) == len(changes) + 1
    assert FeatureHistory(**parts).digest == history.digest


def test_equal_values_have_equal_hashes_however_they_are_written() -> None:
    plain = simulated.history_of(np.array([[0.0], [NAN]]))
    other = np.array([[-0.0], [NAN]])
    other.view(np.uint64)[1] ^= 1
    assert simulated.history_of(other).digest == plain.digest


@pytest.mark.parametrize("decimals", [1, 9])
def test_a_history_is_the_same_after_it_was_written(decimals: int) -> None:
    values = noise(300, 2).round(decimals)
    values[3, 1] = NAN
    history = simulated.history_of(values, low=np.array([-9.0, -np.inf]), gaps=True)
    written = history.content.model_dump_json()
    read = FeatureHistory.of_content(HistoryContent.model_validate_json(written))
    assert read.digest == history.digest
    assert read.values.tobytes() == history.values.tobytes()
    assert [bool(each.codes) for each in history.content.columns] == [decimals == 1] * 2


@pytest.mark.parametrize(
    ("column", "words"),
    [
        ({"values": "AAAA"}, "cannot be read"),
        ({"values": "é"}, "cannot be read"),
        ({"values": "AAAAAAAAAAA="}, "3 sessions, columns of 1 values"),
        ({"distinct": "AAAAAAAAAAA=", "codes": "AAEA"}, "cannot be read"),
    ],
)
def test_a_column_that_was_not_written_so_is_refused(column: dict[str, str], words: str) -> None:
    content = simulated.history_of(np.zeros((3, 1))).content.model_dump(mode="json")
    with pytest.raises(DataError, match=words):
        FeatureHistory.of_content(HistoryContent.model_validate({**content, "columns": [column]}))


def test_a_unit_error_is_found_within_three_sessions() -> None:
    """A vendor's unit touches what is made of it; one feature near zero may need a few sessions more."""
    assert simulated.sessions_to_find(100, 1, changed=5)["within 3 sessions"] >= 0.99
    one = simulated.sessions_to_find(100, 1, changed=1)
    assert one["within 3 sessions"] > 0.85
    assert one["within 20 sessions"] > 0.97
    assert simulated.sessions_to_find(100, 1, changed=5, factor=1.0)["within 20 sessions"] == 0.0


def test_one_session_outside_is_not_enough_and_a_stretch_is_reported_once() -> None:
    free = {"low": np.zeros(1), "high": np.full(1, 100.0)}
    history = simulated.history_of(np.full((9, 1), 50.0) + np.arange(9.0)[:, None], **free)
    check = RangeCheck(history)
    values = [101.0, 50.0, 101.0, NAN, 102.0, 103.0, 50.0, 101.0, 101.0]
    days = days_after(history, len(values))
    found = [check.observe(day, [value]) for day, value in zip(days, values, strict=True)]
    assert [len(each) for each in found] == [0, 0, 0, 0, 1, 0, 0, 0, 1]
    broken = found[4][0]
    assert (broken.since, broken.found, broken.declared) == (days[2].item(), days[4].item(), True)
    assert isinstance(broken.since, date)
    assert broken.sentence.startswith("feature_1 is 102, outside 0 to 100 (the declared range), since 1990-")


@pytest.mark.parametrize("value", [0.5, NAN])
def test_a_history_that_says_nothing_leaves_the_declared_range(value: float) -> None:
    free = {"low": np.zeros(1), "high": np.ones(1)}
    history = simulated.history_of(np.full((9, 1), value), **free)
    check = RangeCheck(history)
    days = days_after(history, 4)
    found = [check.observe(day, [each]) for day, each in zip(days, [0.9, 0.9, 90.0, 90.0], strict=True)]
    assert [len(each) for each in found] == [0, 0, 0, 1]


def stopped_and_resumed(history: FeatureHistory, rows: Floats) -> list[DriftVerdict]:
    """Return the verdicts of a watch that is written down and made anew before every session."""
    baseline, found = DriftBaseline.of(history), []
    state = json.loads(json.dumps(DriftWatch(baseline).state))
    for day, row in zip(days_after(history, len(rows)), rows, strict=True):
        watch = DriftWatch(baseline)
        watch.resume(state)
        found.append(watch.observe(day, row))
        state = json.loads(json.dumps(watch.state))
    return found


def test_a_watch_that_was_stopped_goes_on_as_if_it_had_not_been() -> None:
    """Also after a fall that is over, which only the peaks remember, and over the end of a running year."""
    history, rows = years(3, 2), noise(YEAR + 20, 2, seed=6)
    rows[5:45, 0] += 3.0
    rows[60:64, 1] = NAN
    whole = run(history, rows)
    assert [told(each) for each in stopped_and_resumed(history, rows)] == [told(each) for each in whole]
    assert whole[200].score > whole[200].highest, "the fall of long ago is still the peak of its year"
    with pytest.raises(DataError, match=r"a state of \d+ columns for a baseline of \d+"):
        DriftWatch(DriftBaseline.of(years(3, 1))).resume(DriftWatch(DriftBaseline.of(history)).state)


def test_a_range_check_that_was_stopped_goes_on_as_if_it_had_not_been() -> None:
    free = {"low": np.zeros(1), "high": np.full(1, 100.0)}
    history = simulated.history_of(np.full((9, 1), 50.0) + np.arange(9.0)[:, None], **free)
    values = [101.0, 50.0, 101.0, NAN, 102.0, 103.0, 50.0, 101.0, 101.0]
    days, state, found = days_after(history, len(values)), RangeCheck(history).state, []
    for day, value in zip(days, values, strict=True):
        check = RangeCheck(history)
        check.resume(json.loads(json.dumps(state)))
        found.append(check.observe(day, [value]))
        state = check.state
    assert [len(each) for each in found] == [0, 0, 0, 0, 1, 0, 0, 0, 1]
    assert found[4][0].since == days[2].item()

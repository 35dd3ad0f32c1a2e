"""Deliberate faults: each is planted in a copy of the sources, and a test must fail there.

The numbers are the rows of the parity catalogue in `docs/parity.md`, which also lists the faults that
are planted elsewhere. The last cases plant nothing: the tests that must fail pass in the copy.

The tests run as plain Python, unless the fault is one of compiled code: compiling what a fault made stale
takes longer than what most of them compute.

One run plants a third of the faults: which third is a matter of the code that is tested, so that the same
tree always runs the same ones and every change runs others. LOCKSTEP_TEST_FAULTS=all plants all of them,
before a release.
"""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass

import pytest

from lockstep.identity import CERTIFYING, code_hash
from support.planted import SourceCopy
from support.processes import ROOT

FAILED = 1


@dataclass(frozen=True, kw_only=True)
class Mutant:
    """`old` becomes `new` in `file`; `killer` is the test that must notice, `compiled` or as plain Python."""

    row: str
    file: str
    old: str
    new: str
    killer: str
    compiled: bool = False


TEN_BARS = "tests/golden/test_ten_bars.py"
ENGINE = "tests/unit/test_engine.py"
EQUALITY = "tests/contract/test_engine_equality.py"
POLICY = "tests/unit/test_models_policy.py"
SPECS = "tests/unit/test_spec_evaluators.py"
AB = "tests/unit/test_ab.py"
YEARS = "tests/unit/test_metrics_residue_and_years.py"
PORTFOLIO = "tests/golden/test_portfolio_arithmetic.py"
PERIODS = "tests/property/test_performance_periods.py"
STRESS = "tests/golden/test_stress_golden.py"
BOOK = "tests/component/test_retraining_book.py"
RETRAINING = "tests/component/test_retraining.py"
CHAMPION = "tests/unit/test_champion.py"
ZOO = "tests/unit/test_models_zoo.py"
RELEASE = "tests/unit/test_zoo_release.py"
TRIGGERS = "tests/unit/test_triggers.py"
ROLLS = "tests/component/test_rolls.py"
SESSIONS = "tests/component/test_nightly_sessions.py"

MUTANTS = [
    Mutant(
        row="12 the first feed is traded whatever its name",
        file="src/strategy/backtrader/strategy.py",
        old="self._feed = self.p.lane.feed",
        new="self._feed = self.datas[0]",
        killer=f"{ENGINE}::test_the_order_of_feeds_does_not_matter",
    ),
    Mutant(
        row="13 slippage on one side only",
        file="src/strategy/matching.py",
        old="else reference - costs[SLIPPAGE]",
        new="else reference",
        killer=f"{TEN_BARS}::test_long_from_signal_to_signal",
    ),
    Mutant(
        row="13 commission once per trade",
        file="src/strategy/matching.py",
        old="account[CASH] + profit - paid",
        new="account[CASH] + profit",
        killer=f"{TEN_BARS}::test_long_from_signal_to_signal",
    ),
    Mutant(
        row="15 the veto is computed and ignored",
        file="src/strategy/families/ibs.py",
        old="if not probability >= rules[THRESHOLD]:",
        new="if probability > 1.0:",
        killer="tests/unit/test_veto.py::test_a_low_probability_sends_nothing",
    ),
    Mutant(
        row="2 a missing value is read as zero",
        file="src/strategy/decision.py",
        old="if math.isnan(values[column]):",
        new="if values[column] > 1e300:",
        killer="tests/unit/test_veto.py::test_a_missing_value_of_the_model_never_reaches_it",
    ),
    Mutant(
        row="26 the order of a set decides the order of a vector",
        file="src/strategy/config.py",
        old="return tuple(dict.fromkeys((*wanted, *self.features)))",
        new="return (wanted[0], *(set((*wanted, *self.features)) - {wanted[0]}))",
        killer="tests/e2e/test_backtest_runner.py::test_same_inputs_give_identical_bytes",
        compiled=True,
    ),
    Mutant(
        row="9 and 29 bar sets are released on a timer",
        file="src/live/feeds/synchroniser.py",
        old="if not over and not self._is_complete(stamp):",
        new="if False:",
        killer="tests/property/test_synchroniser.py::test_any_order_within_the_grace_gives_the_same_sets",
    ),
    Mutant(
        row="29 a late bar of the traded series is delivered",
        file="src/live/feeds/synchroniser.py",
        old="never = key in self._traded or end",
        new="never = end",
        killer="tests/unit/test_synchroniser.py::test_a_late_traded_bar_is_never_delivered",
    ),
    Mutant(
        row="24 a window that lacks a bar counts as full",
        file="src/live/warmup.py",
        old="if len(bars[key]) < needed:",
        new="if len(bars[key]) < needed - 1:",
        killer="tests/unit/test_feeds_warmup.py::test_a_window_that_lacks_one_bar_is_named",
    ),
    Mutant(
        row="19 the kill switch is read once",
        file="src/live/risk/switches.py",
        old="def _reason(path: Path) -> str | None:",
        new="import functools\n\n\n@functools.cache\ndef _reason(path: Path) -> str | None:",
        killer="tests/unit/test_switches.py",
    ),
    Mutant(
        row="28 stops are silently not placed",
        file="src/strategy/backtrader/broker.py",
        old="            if level == level\n",
        new="            if level == level and kind != STOP_FILL\n",
        killer="tests/property/test_engine.py::test_invariants",
    ),
    Mutant(
        row="31 the stop sleeps on the entry bar",
        file="src/strategy/matching.py",
        old="    if kind == NO_FILL:\n        return account, market",
        new="    if kind == NO_FILL or market == market:\n        return account, market",
        killer=f"{TEN_BARS}::test_stop_on_the_entry_bar",
    ),
    Mutant(
        row="35 an order fills in the bar that decided it",
        file="src/strategy/backtrader/cerebro.py",
        old='at_close=lane.config.execution == "close"',
        new="at_close=True",
        killer=f"{TEN_BARS}::test_long_from_signal_to_signal",
    ),
    Mutant(
        row="the lanes of a portfolio are swapped",
        file="src/strategy/backtrader/cerebro.py",
        old="    if given != symbols or given != tuple(sorted(given)):",
        new="    if False:",
        killer="tests/contract/test_portfolio_parity.py"
        "::test_lanes_come_sorted_and_as_the_admissions_know_them",
    ),
    Mutant(
        row="a portfolio's day is that of UTC",
        file="src/portfolio/coordinator.py",
        old="day = self.calendar.day(stamp).date",
        new="day = stamp // 86_400_000_000_000",
        killer=f"{PORTFOLIO}::test_a_loss_stops_the_day_of_the_calendar_and_not_that_of_utc",
    ),
    Mutant(
        row="a portfolio's equities are added from the last",
        file="src/portfolio/kernels.py",
        old="    for i in range(len(accounts)):\n        account",
        new="    for i in range(len(accounts) - 1, -1, -1):\n        account",
        killer=f"{PORTFOLIO}::test_equities_are_added_in_the_order_of_the_symbols",
    ),
    Mutant(
        row="a portfolio's peak is of all time",
        file="src/portfolio/kernels.py",
        old="while gone < count and peaks[gone, PEAK_DAY] < first_day:",
        new="while False:",
        killer=f"{PORTFOLIO}::test_the_peak_leaves_with_its_window",
    ),
    Mutant(
        row="an entry that waits takes no room",
        file="src/portfolio/kernels.py",
        old="            if not entering[i]:",
        new="            if True:",
        killer=f"{PORTFOLIO}::test_room_is_taken_while_an_entry_waits_and_freed_when_the_exit_has_filled",
    ),
    Mutant(
        row="a stop fills at its level through a gap",
        file="src/strategy/matching.py",
        old="market_price(-position, bar[OPEN], costs)\n        if bar[OPEN] >= target",
        new="market_price(-position, stop, costs)\n        if bar[OPEN] >= target",
        killer=f"{STRESS}::test_a_stop_fills_at_the_open_behind_the_gap",
    ),
    Mutant(
        row="a stress test looks at the bar before the gap",
        file="research/stress/loop.py",
        old="            lanes[i, rules.CLOSE] = bars[first + here, CLOSE]",
        new="            lanes[i, rules.CLOSE] = bars[first + here - 1, CLOSE]",
        killer=f"{STRESS}::test_without_a_stop_the_position_is_marked_at_the_close",
    ),
    Mutant(
        row="36 a superseded model opens positions",
        file="src/live/risk/limits.py",
        old="return context.superseded.get(intent.symbol)",
        new="return None",
        killer="tests/contract/test_handover.py"
        "::test_the_old_model_opens_nothing_while_the_new_one_waits_for_it_to_leave",
    ),
    Mutant(
        row="37 other instruments void no evidence",
        file="src/models/evidence.py",
        old='elif then["instruments"] != now["instruments"]:',
        new="elif False:",
        killer=f"{POLICY}::test_a_change_between_certificate_and_promotion_is_noticed",
    ),
    Mutant(
        row="39 an absurd bar is traded",
        file="src/live/feeds/synchroniser.py",
        old="return self._bands.fault(key, end if first is None else min(first, end), values, after=after)",
        new='return ""',
        killer="tests/unit/test_quarantine.py"
        "::test_a_set_goes_without_a_quarantined_bar_when_its_grace_is_over",
    ),
    Mutant(
        row="44 ten bars without a restart are evidence",
        file="src/models/policy.py",
        old="            yield from self.certificate.lacking(evidence, now)\n",
        new="            yield from ()\n",
        killer=f"{POLICY}::test_ten_bars_without_a_restart_are_no_evidence",
    ),
    Mutant(
        row="40 a closed day is not closed",
        file="src/market/schedule.py",
        old="        if each.closed:\n",
        new="        if False:\n",
        killer="tests/component/test_session_exceptions.py::test_the_close_of_every_market",
    ),
    Mutant(
        row="41 an offset that a format reads is taken for none",
        file="src/market/reading/stamps.py",
        old='aware = np.full(len(text), "%z" in form.replace("%%", "") or "%Z" in form.replace("%%", ""))',
        new="aware = np.zeros(len(text), dtype=np.bool_)",
        killer="tests/unit/test_stamps.py::test_an_offset_that_the_format_reads_counts_once",
    ),
    Mutant(
        row="41 two contracts are one series",
        file="src/market/reading/refusals.py",
        old="    if mixed:\n",
        new="    if mixed and not quarantine:\n",
        killer="tests/unit/test_refusals.py::test_what_would_mix_or_shift_bars_is_refused_whatever_is_quarantined",
    ),
    Mutant(
        row="13 the minimum of a commission is forgotten",
        file="src/strategy/matching.py",
        old="return max(costs[MINIMUM], costs[COMMISSION] * size + costs[RATE] * value)",
        new="return costs[COMMISSION] * size + costs[RATE] * value",
        killer="tests/contract/test_sweep_equality.py::test_a_commission_is_what_its_words_say",
    ),
    Mutant(
        row="rounding is variance",
        file="src/metrics/arrays.py",
        old="return deviation if deviation > rounding(returns, resolution) else 0.0",
        new="return deviation",
        killer=f"{YEARS}::test_equal_gains_through_an_equity_curve_have_no_spread",
    ),
    Mutant(
        row="years without bars are no time",
        file="src/metrics/years.py",
        old="nominal if is_regular or not years else periods / years",
        new="nominal",
        killer=f"{YEARS}::test_two_missing_years_are_time_that_passed",
    ),
    Mutant(
        row="42 modules of a code hash may swap their contents",
        file="src/identity.py",
        old="labels.get(target, target)",
        new="''",
        killer="tests/component/test_identity.py::TestNames::test_modules_that_swap_their_contents_are_other_code",
    ),
    Mutant(
        row="42 revised bars leave a certificate valid",
        file="src/models/evidence.py",
        old='last, side="right"',
        new='last, side="left"',
        killer="tests/unit/test_models_policy.py::TestBars::test_one_that_was_revised_voids_it",
    ),
    Mutant(
        row="revised history is compared with itself",
        file="research/ledger/quality.py",
        old="revision(known[-1].digest, bars, session) if known",
        new="revision(digest, bars, session) if known",
        killer="tests/component/test_quality_history.py::TestHistory",
    ),
    Mutant(
        row="a missing session spoils the one after it",
        file="src/market/quality/report.py",
        old="(finding.kind not in _EXCLUSIVE)",
        new="1",
        killer="tests/unit/test_quality_score.py::test_which_sessions_a_finding_is_about",
    ),
    Mutant(
        row="a verdict passes with nothing checked",
        file="research/statistics/gate.py",
        old="return bool(self.applicable) and not self.refusals",
        new="return not self.refusals",
        killer="tests/contract/test_strategy_validation.py::test_nothing_passes_by_having_nothing_checked",
    ),
    Mutant(
        row="text is HTML on a page",
        file="research/report/page.py",
        old="autoescape=True",
        new="autoescape=False",
        killer="tests/component/test_page_kit.py::test_text_stays_text_in_every_position_of_every_piece",
    ),
    Mutant(
        row="a desk is found from its root only",
        file="src/desk.py",
        old="for folder in (here, *here.parents):",
        new="for folder in (here,):",
        killer="tests/unit/test_desk.py::test_every_default_is_a_place_of_the_desk",
    ),
    Mutant(
        row="a broker's fill is booked again after a restart",
        file="src/live/outside.py",
        old="if fill.fill_id in self._seen or fill.fill_id in self._waiting:",
        new="if fill.fill_id in self._waiting:",
        killer="tests/conformance/test_fills.py::test_each_fill_is_handed_over_until_it_is_journaled_and_once",
    ),
    Mutant(
        row="a required exit is dropped",
        file="src/strategy/step.py",
        old="if state.required != HOLD and position != _FLAT and code != OUTSIDE_SESSION:",
        new="if False:",
        killer="tests/unit/test_strategy_step.py::test_a_required_exit_outranks_the_rules_while_there_is_a_position_and_a_session",
    ),
    Mutant(
        row="half a model is a bundle",
        file="src/models/bundle.py",
        old="elif threshold is not None or bundle.target or answers:",
        new="elif False:",
        killer="tests/unit/test_models_bundle.py::test_half_a_model_is_no_bundle",
    ),
    Mutant(
        row="an upgrade drops the ledger's guards",
        file="research/ledger/upgrade.py",
        old=" or next(_without_guard(connection), None)",
        new="",
        killer="tests/component/test_ledger_upgrade.py::test_an_upgrade_that_would_lose_something_changes_nothing",
    ),
    Mutant(
        row="the last day of a range is left out",
        file="src/market/dates.py",
        old='side="right"',
        new='side="left"',
        killer="tests/unit/test_dates.py::test_both_ends_belong_to_a_range",
    ),
    Mutant(
        row="an event with unknown fields is read",
        file="src/live/codec.py",
        old="    if rest:",
        new="    if False:",
        killer="tests/unit/test_events.py::test_what_no_event_looks_like_is_refused",
    ),
    Mutant(
        row="the market's drift is taken for skill",
        file="research/sweep/account.py",
        old="rest = change - beta * market[number]",
        new="rest = change",
        killer="tests/contract/test_sweep_kernels.py::test_sums_over_sessions",
    ),
    Mutant(
        row="a floor under results instead of under factors",
        file="src/monitoring/eprocess.py",
        old="np.maximum(1.0 + bet * known, 0.0)",
        new="1.0 + bet * np.maximum(known, -3.0)",
        killer="tests/unit/test_eprocess.py::test_the_mean_of_the_evidence_is_exactly_one_without_an_edge",
    ),
    Mutant(
        row="history counts for a search that learned",
        file="src/monitoring/eprocess.py",
        old="    if adaptive:\n",
        new="    if adaptive and p_value > 0.5:\n",
        killer="tests/unit/test_eprocess.py"
        "::test_history_counts_once_by_half_the_inverse_root_of_the_corrected_p_value",
    ),
    Mutant(
        row="performance: a week that goes on is stored",
        file="research/ledger/performance.py",
        old='if period == "day" or unit < _units(last, period):',
        new='if period == "day" or unit <= _units(last, period):',
        killer=f"{PERIODS}::test_a_week_without_a_session_of_the_next_one_is_not_stored",
    ),
    Mutant(
        row="performance: a later value takes the place of the first",
        file="research/ledger/performance.py",
        old="fresh = [each for each in periods if _key(each) not in known]",
        new="fresh = [one for one in periods if not ((old := known.get(_key(one))) and _same(old, one))]",
        killer=f"{PERIODS}::test_the_first_value_stays_and_a_later_one_is_counted",
    ),
    Mutant(
        row="performance: the session of the registration counts",
        file="operations/candidates.py",
        old="start, last = dates[first] + 1, contender.last_complete(history)",
        new="start, last = dates[first], contender.last_complete(history)",
        killer="tests/component/test_performance.py::TestCandidates"
        "::test_shadow_is_what_a_backtest_of_the_sessions_since_makes",
    ),
    Mutant(
        row="performance: sealed days of a candidate's history are shown",
        file="operations/contenders.py",
        old="contender.results(history, span).outside(sealed)",
        new="contender.results(history, span)",
        killer="tests/component/test_performance.py::TestCandidates::test_sealed_days_stay_sealed",
    ),
    Mutant(
        row="candidates: a line of the log is written every night",
        file="research/experiments/strategy_log.py",
        old="        if marked[mark] not in there\n",
        new="",
        killer="tests/component/test_candidates_log.py::test_a_line_that_somebody_else_wrote_is_not_written_again",
    ),
    Mutant(
        row="a search counts its replays and not itself",
        file="research/statistics/null_replay.py",
        old="(1 + as_good)",
        new="as_good",
        killer="tests/unit/test_null_replay.py::TestRank",
    ),
    Mutant(
        row="a link of the chain is believed",
        file="research/ledger/chain.py",
        old="if _hash(link) != link.hash:",
        new="if False:",
        killer="tests/component/test_ledger_chain.py::test_a_link_that_is_gone_changed_or_moved_is_named",
    ),
    Mutant(
        row="the winner alone was the only one tried",
        file="research/statistics/gate.py",
        old="evidence.pbo is None and evidence.trials == 1",
        new="evidence.pbo is None and evidence.variants == 1",
        killer="tests/component/test_validation_gate.py::test_the_limits",
    ),
    Mutant(
        row="the compiled run fills outside the session",
        file="research/backtest/loop.py",
        old="or state[WAITING] != 0) and time[IN_SESSION] != 0.0:",
        new="or state[WAITING] != 0):",
        killer=f"{EQUALITY}::TestWhatIsComparedIsNotNothing::test_sessions",
    ),
    Mutant(
        row="the compiled run counts bars held from the next one",
        file="research/backtest/loop.py",
        old="float(i - state[HELD_FROM] + 1)",
        new="float(i - state[HELD_FROM])",
        killer=f"{EQUALITY}::TestWhatIsComparedIsNotNothing::test_rules",
    ),
    Mutant(
        row="the compiled run asks the model and does not listen",
        file="research/backtest/loop.py",
        old="            code = decide(vector, chance, time, holding, rules, filters)\n",
        new="",
        killer=f"{EQUALITY}::TestWhatIsComparedIsNotNothing::test_rules",
    ),
    Mutant(
        row="the referee looks away",
        file="research/backtest/referee.py",
        old="_bits(mine) != _bits(theirs)",
        new="np.abs(_bits(mine) - _bits(theirs)) > 64",
        killer=f"{EQUALITY}::TestReferee::test_it_names_what_differs",
    ),
    Mutant(
        row="a promotion hides what it lacks",
        file="research/statistics/verdict.py",
        old="    if lacking:",
        new="    if lacking and not promoted:",
        killer="tests/unit/test_verdict.py::test_the_table_is_the_function",
    ),
    Mutant(
        row="specs: a missing value satisfies a comparison, as `not` would have it",
        file="src/strategy/specs/program.py",
        old="    return low <= value <= high",
        new="    return not (value < low or value > high)",
        killer=f"{SPECS}::test_a_missing_value_satisfies_no_exit",
    ),
    Mutant(
        row="specs: below is at most",
        file="src/strategy/specs/program.py",
        old='"below": (-math.inf, _below(high)),',
        new='"below": (-math.inf, high),',
        killer=f"{SPECS}::test_a_comparison_and_its_opposite",
    ),
    Mutant(
        row="specs: below another id is at most",
        file="src/strategy/specs/program.py",
        old="        return value < other",
        new="        return value <= other",
        killer=f"{SPECS}::test_two_ids_are_compared_in_their_order",
    ),
    Mutant(
        row="specs: two ids are compared the other way round",
        file="src/strategy/specs/program.py",
        old="left, right = (said.id, other) if",
        new="right, left = (said.id, other) if",
        killer=f"{SPECS}::test_two_ids_are_compared_in_their_order",
    ),
    Mutant(
        row="specs: between leaves its end out",
        file="src/strategy/specs/program.py",
        old='"between": (low, high),',
        new='"between": (low, _below(high)),',
        killer=f"{SPECS}::test_a_comparison_and_its_opposite",
    ),
    Mutant(
        row="specs: not all is all of not",
        file="src/strategy/specs/program.py",
        old="isinstance(condition, AllOf) is not negated",
        new="isinstance(condition, AllOf)",
        killer=f"{SPECS}::test_junctions",
    ),
    Mutant(
        row="specs: and is or for a vector",
        file="src/strategy/specs/program.py",
        old="(answers >> 1) & (answers | -2)",
        new="(answers >> 1) | (answers & 1)",
        killer=f"{SPECS}::test_junctions",
    ),
    Mutant(
        row="specs: a weight loses its sign",
        file="src/strategy/specs/program.py",
        old="yield (ADD, column[each.id], each.weight, 0)",
        new="yield (ADD, column[each.id], abs(each.weight), 0)",
        killer=f"{SPECS}::test_a_weight_keeps_its_sign",
    ),
    Mutant(
        row="specs: short for long",
        file="src/strategy/families/rules.py",
        old="    return ENTER_LONG if long else ENTER_SHORT",
        new="    return ENTER_LONG if short else ENTER_SHORT",
        killer=f"{SPECS}::test_sides",
    ),
    Mutant(
        row="specs: both sides at once are long",
        file="src/strategy/families/rules.py",
        old="    if long and short:\n        return AMBIGUOUS\n",
        new="",
        killer=f"{SPECS}::test_sides",
    ),
    Mutant(
        row="specs: a missing value is a condition that does not hold",
        file="src/strategy/families/rules.py",
        old="    if missing < width:\n        return MISSING + missing\n",
        new="",
        killer=f"{SPECS}::test_sides",
    ),
    Mutant(
        row="specs: a short is left as a long is",
        file="src/strategy/families/rules.py",
        old="        if holding[SIDE] < 0.0:\n            first, last = last, int(rules[SHORT_EXIT_STOP])\n",
        new="",
        killer=f"{SPECS}::test_each_side_has_its_exit",
    ),
    Mutant(
        row="specs: a lag is a bar too long",
        file="src/features/driver.py",
        old="            out[row] = values[newest]",
        new="            out[row] = values[max(newest - (lag > 0), 0)]",
        killer=f"{SPECS}::test_lag_and_rank",
    ),
    Mutant(
        row="specs: a rank counts the value itself",
        file="src/features/driver.py",
        old="percentile_rank(values[newest - rank : newest + 1])",
        new="percentile_rank(np.append(values[newest - rank : newest + 1], values[newest]))",
        killer=f"{SPECS}::test_lag_and_rank",
    ),
    Mutant(
        row="specs: the sweep leaves the last block out that is not full",
        file="research/sweep/signals.py",
        old="    for first in range(0, words, BLOCK):",
        new="    for first in range(0, words // BLOCK * BLOCK, BLOCK):",
        killer=f"{SPECS}::test_blocks_say_what_the_vector_does",
    ),
    Mutant(
        row="specs: the sweep reads a column that is not the program's",
        file="research/sweep/signals.py",
        old="others = features[columns[int(rules[at + 2])], begin:end]",
        new="others = features[columns[int(rules[at + 1])], begin:end]",
        killer=f"{SPECS}::test_blocks_say_what_the_vector_does",
    ),
    Mutant(
        row="specs: the sweep enters by the vector of the bar before",
        file="research/sweep/signals.py",
        old="vector[read[number]] = features[columns[read[number]], i]",
        new="vector[read[number]] = features[columns[read[number]], i - 1]",
        killer=f"{SPECS}::test_the_next_entry_is_the_one_that_the_decision_takes",
    ),
    Mutant(
        row="47 a roll a day late",
        file="src/market/roll_rules.py",
        old="following[LEAD]",
        new="following[LEAD + 1]",
        killer=f"{ROLLS}::TestTable::test_volume_rolls_where_it_was_larger_twice_and_three_sessions_later",
    ),
    Mutant(
        row="47 the volume of a session decides in it",
        file="src/market/roll_rules.py",
        old="LEAD = 3",
        new="LEAD = 1",
        killer=f"{ROLLS}::TestTable::test_the_session_that_is_running_decides_nothing",
    ),
    Mutant(
        row="47 the sign of a spread",
        file="src/market/rolls.py",
        old="self.offset[contract] - self.ticks(ends)",
        new="self.ticks(ends) - self.offset[contract]",
        killer=f"{ROLLS}::TestSeries::test_adjusted_as_a_whole_it_is_the_series_that_it_was_cut_from",
    ),
    Mutant(
        row="47 the offset is on the fills, too",
        file="research/sweep/inputs.py",
        old="        prices = np.column_stack(",
        new="        bars = levels(bars)\n        prices = np.column_stack(",
        killer="tests/contract/test_rolled_contracts.py::test_a_spec_trades_contracts_as_every_engine_does",
    ),
    Mutant(
        row="47 live windows are not moved at a roll",
        file="src/features/streaming.py",
        old="if not known.size or known[-1] == self._newest:",
        new="if known.size or not known.size:",
        killer=f"{ROLLS}::TestWindows::test_a_few_features_are_streamed_over_two_rolls",
    ),
    Mutant(
        row="47 windows of a history are seen from one contract",
        file="src/features/batch.py",
        old="if not moving:",
        new="if len(moving) < 9:",
        killer=f"{ROLLS}::TestWindows::test_a_few_features_are_streamed_over_two_rolls",
    ),
    Mutant(
        row="47 a position is left a session late",
        file="src/market/rolls.py",
        old="np.where(np.isin(days, self.leave[:, 0]), AHEAD,",
        new="np.where(np.isin(days, self.leave[:, 1]), AHEAD,",
        killer=f"{ROLLS}::test_positions_are_left_in_the_last_session_but_one",
    ),
]


VAR = "tests/unit/test_var.py"

MUTANTS += [
    Mutant(
        row="a forecast of the volatility knows the session that it is for",
        file="src/portfolio/var.py",
        old="        found[session + 1] = variance\n",
        new="        found[session] = found[session + 1] = variance\n",
        killer=f"{VAR}::test_forecasts_do_not_know_their_own_session",
    ),
    Mutant(
        row="scenarios keep the volatility of their day",
        file="src/portfolio/var.py",
        old="rescaled: Floats = rows[WARM_UP:] * scale",
        new="rescaled: Floats = rows[WARM_UP:] * 1.0",
        killer=f"{VAR}::test_filtered_follows_the_volatility_of_today",
    ),
    Mutant(
        row="sizes of a bull market in a bear market",
        file="src/strategy/sizing.py",
        old="    if regime == -1.0:\n        return sizing[BEAR]\n",
        new="    if regime == -1.0:\n        return sizing[BULL]\n",
        killer="tests/unit/test_sizing.py::test_a_regime_makes_every_kind_of_size_smaller",
    ),
]

NETS = "tests/contract/test_ensembles.py::test_orders_of_members_are_one_and_others_stay_what_they_are"

MUTANTS += [
    Mutant(
        row="each member of an ensemble is a position",
        file="src/portfolio/kernels.py",
        old="        positions += opens_instrument(j, i, lanes, instruments)\n",
        new="        positions += 1\n",
        killer=f"{PORTFOLIO}::test_two_members_are_one_position_and_gross_contracts",
    ),
    Mutant(
        row="members' contracts are netted under the instrument's limit",
        file="src/portfolio/kernels.py",
        old="            own += abs(room)\n",
        new="            own += room\n",
        killer=f"{PORTFOLIO}::test_two_members_are_one_position_and_gross_contracts",
    ),
    Mutant(
        row="both arms of a test take every signal",
        file="src/portfolio/kernels.py",
        old="    if news[i, OTHER] != 0.0:\n        return OTHER_ARM\n",
        new="",
        killer=f"{PORTFOLIO}::test_a_signal_belongs_to_one_arm_and_takes_nobodys_place_in_the_other",
    ),
    Mutant(
        row="a signal of the other arm is ranked",
        file="src/portfolio/coordinator.py",
        old="other = float(side != 0.0 and self._is_of_other_arm(i))",
        new="other = 0.0; side = 0.0 if self._is_of_other_arm(i) else side",
        killer=f"{PORTFOLIO}::test_a_signal_belongs_to_one_arm_and_takes_nobodys_place_in_the_other",
    ),
    Mutant(
        row="the arm of a signal is that of its day",
        file="src/portfolio/coordinator.py",
        old="lane.of_other_arm(np.array([self._stamp]))",
        new="lane.of_other_arm(np.array([self._stamp // 86_400_000_000_000 * 86_400_000_000_000]))",
        killer=f"{PORTFOLIO}::test_a_signal_belongs_to_one_arm_and_takes_nobodys_place_in_the_other",
    ),
    Mutant(
        row="a net order forgets its last member",
        file="src/live/netting.py",
        old="math.fsum(each.quantity for each in parts)",
        new="math.fsum(each.quantity for each in parts[:-1])",
        killer=NETS,
    ),
]


# A portfolio's twin and the lanes below it: in portfolio 18 all of this happens, 3 must leave while its
# market is closed.
TWIN, ACCOUNT = "research/sweep/portfolio_loop.py", "research/sweep/portfolio.py"
SAME = "tests/contract/test_portfolio_twin.py::test_both_engines_say_the_same"

MUTANTS += [
    Mutant(
        row="twin: lanes are swapped, each pays the costs of another one",
        file=TWIN,
        old="i, here, bar, fate, costs[i], accounts",
        new="i, here, bar, fate, costs[-1 - i], accounts",
        killer=f"{SAME}[18]",
    ),
    Mutant(
        row="twin: room is freed when a lane decides to leave",
        file=TWIN,
        old="                if under_way[i, MUST] != 0 and bar",
        new="                if fate[DECIDED] <= here:\n"
        "                    lanes[i, rules.ROOM] = 0.0\n"
        "                if under_way[i, MUST] != 0 and bar",
        killer=f"{SAME}[18]",
    ),
    Mutant(
        row="twin: an entry that waits takes no room",
        file=TWIN,
        old="margin, state, lanes, news, terms, limits",
        new="margin, state, np.where((np.arange(rules.LANE) == rules.ROOM) & "
        "(accounts[:, POSITION, None] == 0.0), 0.0, lanes), news, terms, limits",
        killer=f"{SAME}[18]",
    ),
    Mutant(
        row="twin: the day is that of UTC",
        file=ACCOUNT,
        old='day = calendar.dates(stamps).astype("datetime64[D]").astype(np.int64)',
        new="day = stamps // 86_400_000_000_000",
        killer=f"{SAME}[18]",
    ),
    Mutant(
        row="twin: the reserve is added last",
        file=TWIN,
        old="total = total_equity(reserve, accounts, lanes, terms)",
        new="total = total_equity(0.0, accounts, lanes, terms) + reserve",
        killer=f"{SAME}[18]",
    ),
    Mutant(
        row="twin: the peak is of all time",
        file=ACCOUNT,
        old="DrawdownWindow(ground.calendar, window).first(ground.days) if window",
        new="0 * ground.days if window",
        killer=f"{SAME}[18]",
    ),
    Mutant(
        row="Cerebro: a lane that decides to leave takes no room",
        file="src/strategy/backtrader/strategy.py",
        old="        return LaneStanding(account, waiting",
        new="        if waiting is None and self.broker.waiting(self._feed) is not None:\n"
        "            account = (FLAT, *account[1:])\n"
        "        return LaneStanding(account, waiting",
        killer=f"{SAME}[18]",
    ),
    Mutant(
        row="compiled lanes: a position without a bar stays when all must leave",
        file="research/backtest/portfolio_engine.py",
        old="    leaves[np.cumsum(there)[flattened & ~there]] |= loop.BEFORE_BAR\n",
        new="",
        killer=f"{SAME}[18]",
    ),
    Mutant(
        row="compiled lanes: an entry is sent in its own size",
        file="research/backtest/loop.py",
        old="code, sent = verdicts[i], (admitted[i], sent[1], sent[2], sent[3], sent[4])",
        new="code = verdicts[i]",
        killer=f"{SAME}[18]",
    ),
    Mutant(
        row="compiled lanes: what must leave is sent while the market is closed",
        file="research/backtest/loop.py",
        old=" and code != OUTSIDE_SESSION",
        new="",
        killer=f"{SAME}[4]",
    ),
    Mutant(
        row="a portfolio's referee looks at the account alone",
        file="research/backtest/portfolio_referee.py",
        old="            lanes,\n",
        new="",
        killer="tests/component/test_portfolio_run.py"
        "::TestEngines::test_the_records_of_lanes_are_compared_as_well",
    ),
    Mutant(
        row="a model that must be asked bar by bar is asked about all at once",
        file="research/sweep/inputs.py",
        old="asked = [read] if veto.in_batches else",
        new="asked = [read] if len(read) else",
        killer="tests/contract/test_sweep_veto.py"
        "::test_a_model_that_answers_many_rows_differently_is_asked_bar_by_bar",
    ),
]


# What is one trial: what a spec means, and what it does.
MEANING = "tests/property/test_spec_meaning.py"
BEHAVIOUR = "tests/contract/test_spec_behaviour.py"

MUTANTS += [
    Mutant(
        row="identity: an exit is judged as if nothing were missing",
        file="src/strategy/specs/meaning.py",
        old="diagrams = _Diagrams((form,), complete=False)",
        new="diagrams = _Diagrams((form,), complete=True)",
        killer=f"{MEANING}::TestExits",
    ),
    Mutant(
        row="identity: where both entries are true the long one is taken",
        file="src/strategy/specs/meaning.py",
        old="alone = [diagrams.unless(said[0], said[1]),",
        new="alone = [said[0],",
        killer=f"{MEANING}::TestEntries",
    ),
    Mutant(
        row="identity: filters and veto are in no hash",
        file="src/strategy/specs/meaning.py",
        old="text = diagrams.text(gated)",
        new="text = diagrams.text(alone)",
        killer=f"{MEANING}::TestEntries",
    ),
    Mutant(
        row="identity: minus zero is another constant",
        file="src/strategy/specs/meaning.py",
        old="starts = [] if lowest else [leaf.low + 0.0]",
        new="starts = [] if lowest else [leaf.low]",
        killer=f"{MEANING}::TestEntries",
    ),
    Mutant(
        row="behaviour: the longest hold is not in it",
        file="research/sweep/behaviour.py",
        old='"auto_close", "max_bars", "stop"',
        new='"auto_close", "stop"',
        killer=f"{BEHAVIOUR}::test_what_decides_a_trade_is_in_it",
        compiled=True,
    ),
    Mutant(
        row="behaviour: exits are not in it",
        file="research/sweep/behaviour.py",
        old="acts[2 + side, word] |= ONE << np.uint64(place)",
        new="acts[2 + side, word] |= np.uint64(0)",
        killer=f"{BEHAVIOUR}::test_what_decides_a_trade_is_in_it",
        compiled=True,
    ),
]


# Watching a desk: outcomes, streams, drift, and what a monitor keeps.
JOIN, WATCHING = "tests/component/test_watch_join.py", "tests/component/test_watch_monitor.py"
BAD_INPUT = "tests/component/test_watch_bad_input.py"
STREAMS, SURFACES = "tests/unit/test_watch_streams.py", "tests/unit/test_status_monitor.py"

MUTANTS += [
    Mutant(
        row="watch: a trade's profit is without the commission of its exit",
        file="operations/watch/join.py",
        old="pnl=gross - cursor.commission - order.commission",
        new="pnl=gross - cursor.commission",
        killer=f"{JOIN}::test_a_desk_on_paper",
    ),
    Mutant(
        row="watch: a trade is of the bundle that left, not of the one that entered",
        file="operations/watch/join.py",
        old="        known = self._row(lane, cursor.held, cursor.signal_bundle)\n",
        new="        cursor.signal_bundle = cursor.bundle\n"
        "        known = self._row(lane, cursor.held, cursor.signal_bundle)\n",
        killer=f"{JOIN}::test_a_swap[adopt]",
    ),
    Mutant(
        row="watch: two bundles that decided on one bar are one signal",
        file="operations/watch/database.py",
        old='" entry_price exit_price pnl following sequence", 3,',
        new='" entry_price exit_price pnl following sequence", 2,',
        killer=f"{JOIN}::test_two_bundles_that_decided_on_the_same_bars_are_two_signals",
    ),
    Mutant(
        row="watch: what the gateway refused was taken",
        file="operations/watch/join.py",
        old='"censored" if superseded else "refused", text)',
        new='"censored" if superseded else "taken", text)',
        killer=f"{JOIN}::test_refused_by_the_gateway",
    ),
    Mutant(
        row="watch: what the portfolio refused was taken",
        file="operations/watch/join.py",
        old='state, reason = "refused", record.reason',
        new='state, reason = "taken", record.reason',
        killer="tests/component/test_watch_command.py::test_a_desk_that_trades_a_portfolio",
    ),
    Mutant(
        row="watch: an exit for a handover is the strategy's own",
        file="operations/watch/join.py",
        old="(EXIT_HANDOVER, EXIT_HALT, EXIT_DAILY_LOSS)",
        new="(EXIT_HALT, EXIT_DAILY_LOSS)",
        killer=f"{JOIN}::test_a_swap[flatten]",
    ),
    Mutant(
        row="watch: a vetoed trade ends a bar early",
        file="operations/watch/counterfactual.py",
        old="exit=int(bars.end[leave])",
        new="exit=int(bars.end[leave - 1])",
        killer=f"{JOIN}::test_vetoed_outcomes_are_the_training_labels",
    ),
    Mutant(
        row="watch: a vetoed trade that ends on the bar of its entry has no outcome",
        file="operations/watch/counterfactual.py",
        old="if not is_vetoed(outcome) or not trip.exit:",
        new="if not is_vetoed(outcome) or not trip.exit > trip.entry:",
        killer=f"{JOIN}::test_a_vetoed_trade_that_is_stopped_out_on_the_bar_of_its_entry",
    ),
    Mutant(
        row="watch: signals that overlap are bets of their own",
        file="src/monitoring/outcomes.py",
        old="if each.decision < free or each.state in",
        new="if each.state in",
        killer=f"{STREAMS}::test_what_is_open_ends_the_choice_until_it_ends",
    ),
    Mutant(
        row="watch: outcomes of one moment are multiplied, not averaged",
        file="src/monitoring/alarms.py",
        old="return math.fsum(self.values) / len(self.values)",
        new="return math.prod(self.values)",
        killer="tests/unit/test_alarms.py::test_instruments_of_one_moment_are_one_bet_on_their_mean",
    ),
    Mutant(
        row="watch: what is not settled yet is fed",
        file="operations/watch/streams.py",
        old="events = sorted((each for each in events if each[0] <= frontier),",
        new="events = sorted((each for each in events if frontier),",
        killer=f"{STREAMS}::test_an_earlier_frontier_is_a_prefix",
    ),
    Mutant(
        row="watch: a lane whose bars end early holds up nobody",
        file="operations/watch/settle.py",
        old="            frontier = min(frontier, max(end, waiting))\n",
        new="",
        killer=f"{WATCHING}::test_bars_that_end_before_the_journal",
    ),
    Mutant(
        row="watch: bars that came after the newest decision settle signals",
        file="operations/watch/monitor.py",
        old='np.searchsorted(bars.end, until, side="right")',
        new="len(bars)",
        killer=f"{WATCHING}::test_bars_after_the_newest_decision_say_nothing",
    ),
    Mutant(
        row="watch: corrected bars replace the first value of a round trip",
        file="operations/watch/settle.py",
        old="first = known[key] if key in known else trip",
        new="first = trip",
        killer=f"{WATCHING}::test_bars_that_are_corrected_after_settlement_append_a_correction",
    ),
    Mutant(
        row="watch: an acknowledgement has the time of the wall",
        file="operations/watch/cli.py",
        old="        frontier = int(rows.state(database, FRONTIER) or 0)\n",
        new="        frontier = now\n",
        killer=f"{WATCHING}::test_an_acknowledgement_ends_it_and_survives_a_rebuild",
    ),
    Mutant(
        row="watch: a rebuild forgets who took note of what",
        file="operations/watch/monitor.py",
        old="database.clear(DERIVED)",
        new='database.clear((*DERIVED, "acknowledgements"))',
        killer=f"{WATCHING}::test_an_acknowledgement_ends_it_and_survives_a_rebuild",
    ),
    Mutant(
        row="watch: a new bundle inherits the wealth of the old one",
        file="src/monitoring/desk_alarms.py",
        old="places[here], streams[here] = place, StreamState.new(place.bundle, place.reference)",
        new="places[here] = place",
        killer=f"{STREAMS}::test_a_new_bundle_starts_new_streams",
    ),
    Mutant(
        row="watch: outcomes of the old bundle feed the new one",
        file="operations/watch/streams.py",
        old="                if each.bundle == swap.bundle\n",
        new="                if True\n",
        killer=f"{STREAMS}::test_a_trade_of_the_old_bundle_never_feeds_the_new_one",
    ),
    Mutant(
        row="watch: the size of a portfolio makes a stream better",
        file="operations/watch/streams.py",
        old="    return wanted / abs(each.quantity) if each.quantity and wanted else 1.0\n",
        new="    return 1.0\n",
        killer=f"{STREAMS}::test_profits_are_those_of_the_strategys_own_size",
    ),
    Mutant(
        row="watch: drift is fed with the session that still runs",
        file="operations/watch/lane_features.py",
        old="return list(sessions) if last.stamp >= close else list(sessions[:-1])",
        new="return list(sessions)",
        killer="tests/component/test_watch_features.py::test_a_running_session_is_not_looked_at",
    ),
    Mutant(
        row="watch: a drift that goes on forgets its peaks",
        file="src/monitoring/drift.py",
        old="        self._peaks = peaks\n",
        new="",
        killer="tests/unit/test_drift.py::test_a_watch_that_was_stopped_goes_on_as_if_it_had_not_been",
    ),
    Mutant(
        row="watch: one session out of range is a broken feature",
        file="src/monitoring/ranges.py",
        old="SESSIONS_RUNNING = 2",
        new="SESSIONS_RUNNING = 1",
        killer="tests/unit/test_drift.py"
        "::test_one_session_outside_is_not_enough_and_a_stretch_is_reported_once",
    ),
    Mutant(
        row="watch: a range check that goes on begins to count again",
        file="src/monitoring/ranges.py",
        old='        self._running = np.array(state["running"], dtype=np.int64)\n',
        new="",
        killer="tests/unit/test_drift.py::test_a_range_check_that_was_stopped_goes_on_as_if_it_had_not_been",
    ),
    Mutant(
        row="watch: the running month is judged for its decay",
        file="operations/watch/features.py",
        old="for place in range(len(days) - 1) if days[place][:7] != days[place + 1][:7]]",
        new="for place in range(len(days)) if days[place][:7] != [*days, ''][place + 1][:7]]",
        killer="tests/component/test_watch_features.py::test_the_running_month_is_not_judged",
    ),
    Mutant(
        row="statistics: a few trades with a large skew are a certainty",
        file="research/statistics/maximum.py",
        old="np.maximum(unit, 1.0)",
        new="np.maximum(unit, _SUMS)",
        killer="tests/unit/test_maximum.py::test_a_few_lucky_trades_are_no_certainty",
    ),
    Mutant(
        row="watch: an epoch of another mode feeds streams",
        file="operations/watch/monitor.py",
        old="first = next((at for at in range(len(modes), 0, -1) if modes[at - 1] != modes[-1]), 0)",
        new="first = 0",
        killer=f"{WATCHING}::test_modes_are_not_mixed",
    ),
    Mutant(
        row="watch: an alert that no sink took counts as delivered",
        file="operations/watch/telling.py",
        old='{failure}")\n            continue\n',
        new='{failure}")\n',
        killer="tests/component/test_watch_command.py::test_everything_is_told_once_and_what_failed_again",
    ),
    Mutant(
        row="watch: a backtest begins flat beside a desk that holds a position",
        file="certify/paper.py",
        old="        if before.account[POSITION] or before.waiting is not None:\n            return None\n",
        new="",
        killer="tests/component/test_watch_against.py"
        "::test_lanes_of_a_portfolio_are_answered_as_recorded_and_summed",
    ),
    Mutant(
        row="watch: live is compared over bars before the desk began",
        file="operations/watch/against.py",
        old="    dates = np.union1d(live.dates, backtest.dates)\n",
        new="    every = history.series(models[cut.bundles[-1]].key).end\n"
        "    dates = np.unique(market.session.dates(every, newest.bars))\n",
        killer="tests/component/test_watch_against.py::test_a_paper_desk_equals_its_backtest_to_the_cent",
    ),
    Mutant(
        row="watch: a fill that was worse is a gain",
        file="research/paper/residuals.py",
        old="worse = math.copysign(1.0, quantity) * (price - model)",
        new="worse = math.copysign(1.0, quantity) * (model - price)",
        killer="tests/component/test_watch_slippage.py"
        "::test_fills_are_those_of_the_certificate_and_a_planted_slippage_is_raised",
    ),
    Mutant(
        row="watch: a monitor that does not run any more is never stale",
        file="src/live/status/monitor.py",
        old="return abs(self.age(now)) > self.stale_after",
        new="return False",
        killer=f"{SURFACES}::test_a_monitor_that_does_not_run_any_more_is_red",
    ),
    Mutant(
        row="watch: the reference of another bundle is accepted",
        file="src/monitoring/frozen.py",
        old="    if found.bundle != bundle:\n",
        new="    if False:\n",
        killer="tests/unit/test_frozen_reference.py"
        "::test_a_missing_one_and_that_of_another_bundle_are_refused",
    ),
    Mutant(
        row="watch: what was looked at without a reference is not looked at again",
        file="operations/watch/lane_features.py",
        old='        if kept["basis"] == _basis(seen, reference_of):',
        new="        if True:",
        killer=f"{BAD_INPUT}::test_a_reference_that_comes_later_counts_from_the_beginning",
    ),
    Mutant(
        row="watch: a monitor that keeps running never looks for a reference again",
        file="operations/watch/monitor.py",
        old="        self._parts.forget_absent()\n",
        new="",
        killer=f"{BAD_INPUT}::test_a_reference_that_comes_later_counts_from_the_beginning",
    ),
    Mutant(
        row="watch: a month that an epoch went back over is still the old bundle's",
        file="operations/watch/lane_decay.py",
        old='if traded_by.get((row["lane"], row["session"])) == row["bundle"]',
        new="if traded_by",
        killer=f"{BAD_INPUT}::test_epochs_that_go_back_over_the_same_bars",
    ),
    Mutant(
        row="watch: a promotion does not ask for a reference",
        file="src/models/policy.py",
        old="promotion: tuple[str, ...] = (VALIDATION, CERTIFICATE, REFERENCE)",
        new="promotion: tuple[str, ...] = (VALIDATION, CERTIFICATE)",
        killer=f"{POLICY}::test_a_version_that_was_validated_before_there_were_references_is_asked_for_one",
    ),
    Mutant(
        row="A/B: the arms of split signals change places",
        file="src/portfolio/split.py",
        old="return CHALLENGER if first else CHAMPION",
        new="return CHAMPION if first else CHALLENGER",
        killer=f"{AB}::TestArms::test_the_bit_is_written_down",
    ),
    Mutant(
        row="A/B: a test is decided before its sixtieth session",
        file="src/monitoring/ab.py",
        old="ready = (sessions >= plan.least_sessions) & (trades",
        new="ready = (sessions >= 1) & (trades",
        killer=f"{AB}::TestVerdicts::test_nothing_is_decided_before_sixty_sessions",
    ),
    Mutant(
        row="A/B: the arm that trades more stands for both",
        file="src/monitoring/ab.py",
        old="trades = np.minimum(",
        new="trades = np.maximum(",
        killer=f"{AB}::TestVerdicts::test_nor_before_thirty_trades_of_each_arm",
    ),
    Mutant(
        row="A/B: the wrong bound of the sequence decides",
        file="src/monitoring/ab.py",
        old="ready & (low > 0), ready & (high < 0)",
        new="ready & (high > 0), ready & (low < 0)",
        killer=f"{AB}::TestVerdicts::test_alike_arms_end_early_and_all_tests_end",
    ),
    Mutant(
        row="A/B: the session of the creation counts",
        file="operations/ab/replay.py",
        old="dates[first] + 1, pair.last_complete",
        new="dates[first], pair.last_complete",
        killer="tests/component/test_ab.py::TestReplay::test_the_session_of_the_creation_does_not_count",
    ),
    Mutant(
        row="retraining: a row of the book that was edited is read",
        file="operations/retraining/book.py",
        old='if (row["number"], row["previous"], row["hash"]) != (number, previous, _hash_of(row)):',
        new="if False:",
        killer=f"{BOOK}::test_a_row_that_was_edited_by_hand_is_refused",
    ),
    Mutant(
        row="retraining: a step may follow any other",
        file="operations/retraining/book.py",
        old="elif row.step not in FOLLOWING[own.now]:",
        new="elif False:",
        killer=f"{BOOK}::test_only_what_follows_is_recorded",
    ),
    Mutant(
        row="retraining: a symbol is retrained twice at once",
        file="operations/retraining/book.py",
        old="if each.symbol == row.symbol and each.is_active",
        new="if False",
        killer=f"{BOOK}::test_one_retraining_of_a_symbol_at_a_time",
    ),
    Mutant(
        row="retraining: every alarm of a symbol is one run",
        file="operations/retraining/book.py",
        old="json_digest([symbol, kind, evidence])",
        new="json_digest([symbol, kind])",
        killer=f"{BOOK}::test_evidence_names_a_run",
    ),
    Mutant(
        row="retraining: ignorance is non-inferiority",
        file="src/monitoring/champion.py",
        old="if low > -margin:",
        new="if high > -margin:",
        killer=f"{CHAMPION}::test_a_worse_one_is_seldom_called_not_worse",
    ),
    Mutant(
        row="retraining: a little evidence is enough",
        file="src/monitoring/champion.py",
        old="BETTER_AT = 20.0",
        new="BETTER_AT = 2.0",
        killer=f"{CHAMPION}::test_two_equal_models_are_seldom_called_better_or_worse",
    ),
    Mutant(
        row="retraining: drift alone begins one",
        file="src/monitoring/triggers.py",
        old="if worst_drift and (watches or accuracy is not None):",
        new="if worst_drift:",
        killer=f"{TRIGGERS}::test_what_calls_for_one",
    ),
    Mutant(
        row="retraining: nothing cools down",
        file="src/monitoring/triggers.py",
        old="if last_run is not None and (today - last_run).days < cool_down_days:",
        new="if False:",
        killer=f"{TRIGGERS}::test_what_calls_for_one",
    ),
    Mutant(
        row="retraining: refusals take no promotion back",
        file="operations/retraining/shadow.py",
        old="if count and binom.sf(count - 1, len(found), usual) < _BY_CHANCE:",
        new="if False:",
        killer=f"{RETRAINING}::test_unknown_orders_and_refusals_take_it_back",
    ),
    Mutant(
        row="retraining: skew of code takes no promotion back",
        file="operations/retraining/shadow.py",
        old='if now["features"] > then["features"]:',
        new="if False:",
        killer=f"{RETRAINING}::test_class_code_that_computes_a_recorded_value_otherwise_takes_it_back",
    ),
    Mutant(
        row="retraining: an undecided challenger stays in shadow for ever",
        file="operations/retraining/machine.py",
        old='late = days >= int(run.output("max_days"))',
        new="late = False",
        killer=f"{RETRAINING}::test_an_undecided_challenger_is_rejected_in_the_end",
    ),
    Mutant(
        row="retraining: the challenger is tested on bars of its training",
        file="operations/retraining/shadow.py",
        old="one for one in own if one.decision > since",
        new="one for one in own",
        killer=f"{RETRAINING}::test_every_separate_signal_after_the_training_is_scored",
    ),
    Mutant(
        row="retraining: nobody is waited for",
        file="operations/retraining/machine.py",
        old="if self.config.approval == AUTO:",
        new="if True:",
        killer=f"{RETRAINING}::test_a_person_approves",
    ),
    Mutant(
        row="a model of the zoo is traded",
        file="src/models/verbs.py",
        old='raise VerbRefused(f"{what}: {NOT_TRADED}")',
        new="return",
        killer=f"{ZOO}::test_it_is_never_in_production",
    ),
    Mutant(
        row="the zoo's fields are in the file of a veto",
        file="src/models/document.py",
        old="return {**_TYPES, **_OF_THE_ZOO} if schema == ZOO_SCHEMA else _TYPES",
        new="return {**_TYPES, **_OF_THE_ZOO}",
        killer=f"{ZOO}::test_a_veto_is_written_as_it_always_was",
    ),
    Mutant(
        row="a value of the zoo goes beyond the labels",
        file="src/models/model_column.py",
        old="return np.clip(found, self.low, self.high) if self.bundle.output == VALUE else found",
        new="return found",
        killer="tests/component/test_zoo_column.py::test_a_value_stays_within_the_labels_of_its_training",
    ),
    Mutant(
        row="a state of the zoo begins above one half",
        file="src/models/predictor.py",
        old="(chance >= _EVEN)",
        new="(chance > _EVEN)",
        killer="tests/unit/test_models_predictor.py::test_a_state_begins_at_one_half",
    ),
    Mutant(
        row="a night makes a session again that is complete",
        file="operations/nightly/sessions.py",
        old="if any(FROZEN in each.events for each in own):",
        new="if False:",
        killer=f"{SESSIONS}::TestWhichIsNext::test_a_session_a_night_until_all_are_made",
    ),
    Mutant(
        row="a session that was cut is begun anew when the zoo has grown",
        file="operations/agents/asked.py",
        old="if _without_models(each) == _without_models(plan)), plan)",
        new="if each == plan), plan)",
        killer=f"{SESSIONS}::TestWhichIsNext::test_what_was_cut_goes_on_although_the_zoo_has_grown",
    ),
    Mutant(
        row="a night registers whom the gate refused",
        file="operations/nightly/steps/register.py",
        old='for each in judged if each["verdict"] in enough.get(each["space"], ())',
        new="for each in judged",
        killer=f"{SESSIONS}::test_a_winner_that_the_gate_refused_is_not_registered",
    ),
    Mutant(
        row="zoo: every attempt has the level of the first",
        file="research/zoo/release.py",
        old="return LEVEL * 6.0 / (math.pi**2 * attempt**2)",
        new="return LEVEL * 6.0 / math.pi**2",
        killer=f"{RELEASE}::TestLevels::test_the_levels_of_all_attempts_sum_to_five_per_cent",
    ),
    Mutant(
        row="zoo: a release need not beat a constant",
        file="research/zoo/release.py",
        old="return max(self.champion.p_value, self.constant.p_value, key=",
        new="return min(self.champion.p_value, self.champion.p_value, key=",
        killer=f"{RELEASE}::TestLevels::test_a_challenger_has_to_win_both",
    ),
    Mutant(
        row="zoo: labels that overlap count as independent",
        file="research/zoo/release.py",
        old="for step in range(1, min(lag, n - 1) + 1):",
        new="for step in range(1, 1):",
        killer=f"{RELEASE}::TestLevels::test_overlapping_labels_are_allowed_for",
    ),
    Mutant(
        row="zoo: the loop holds the tail",
        file="research/zoo/learning.py",
        old="bars={each: _copied(found, last) for each, found in history.bars.items()}",
        new="bars={each: found.rows(0, stop) for each, found in history.bars.items()}",
        killer=f"{RELEASE}::test_no_bar_of_the_tail_can_be_reached_from_the_loop",
    ),
    Mutant(
        row="zoo: what is learned from reaches into the part that is asked for",
        file="research/zoo/fitting.py",
        old="return np.flatnonzero(samples.row + horizon < row)",
        new="return np.flatnonzero(samples.row < row)",
        killer=f"{RELEASE}::TestTail::test_what_was_fitted_ends_before_it",
    ),
    Mutant(
        row="zoo: whoever waited for the lock trains again",
        file="research/zoo/zoo.py",
        old="                found = self._known(key)\n                if found is None:\n",
        new="                if found is None:\n",
        killer="tests/component/test_zoo_build.py::test_all_that_ask_at_once_train_once[sqlite--8]",
    ),
]


FOLDERS = (
    "src", "research", "certify", "operations", "configs", "tests", "scripts", "notebooks", "deploy",
    "benchmarks",
)  # fmt: skip


# It is enough that a generated example fails; it need not become a small one.
UNSHRUNK = """
from hypothesis import Phase, settings

settings.register_profile("unshrunk", phases=(Phase.explicit, Phase.generate))
settings.load_profile("unshrunk")
"""


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> SourceCopy:
    copy = SourceCopy(tmp_path_factory.mktemp("mutant"), *FOLDERS)
    shutil.copy(ROOT / "setup.cfg", copy.root)
    with (copy.root / "tests/conftest.py").open("a", encoding="utf-8") as conftest:
        conftest.write(UNSHRUNK)
    return copy


_SHARES = 3


def chosen(mutants: list[Mutant], code: str, wanted: str = "") -> list[Mutant]:
    """Return the faults that a tree of this code hash plants; `all` of them where that is wanted."""
    return mutants if wanted == "all" else mutants[int(code[-8:], 16) % _SHARES :: _SHARES]


CHOSEN = chosen(MUTANTS, code_hash(CERTIFYING), os.environ.get("LOCKSTEP_TEST_FAULTS", ""))


def test_the_thirds_are_all_faults() -> None:
    thirds = [chosen(MUTANTS, f"c1-{number:08x}") for number in range(_SHARES)]
    assert sorted(each.row for third in thirds for each in third) == sorted(each.row for each in MUTANTS)
    assert CHOSEN in (*thirds, MUTANTS)


@pytest.mark.parametrize("mutant", CHOSEN, ids=lambda mutant: mutant.row)
def test_mutant_dies(copy: SourceCopy, mutant: Mutant) -> None:
    with copy.fault(mutant.file, mutant.old, mutant.new):
        done = copy.test(mutant.killer, compiled=mutant.compiled)
    assert done.returncode == FAILED, done.stdout + done.stderr
    assert mutant.killer.partition("::")[2] in done.stdout


@pytest.mark.parametrize("compiled", sorted({each.compiled for each in CHOSEN}))
def test_without_a_fault_the_killers_pass(copy: SourceCopy, compiled: bool) -> None:
    killers = dict.fromkeys(each.killer for each in CHOSEN if each.compiled == compiled)
    done = copy.test(*killers, compiled=compiled)
    assert done.returncode == 0, done.stdout + done.stderr

"""The regimes in which a candidate fails, frozen when it is registered: planted losers, noise, older rows."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from lockstep.market.bars import Bars
from lockstep.market.config import load_instruments
from lockstep.market.dates import DateRange
from lockstep.market.history import History
from lockstep.market.loader import load_bars
from lockstep.strategy.config import StrategyConfig
from lockstep.strategy.family import load_strategy
from operations.candidates_log import failing
from operations.contenders import Contender, enrol
from research.backtest.run import run_backtest
from research.ledger.candidates import candidate_named, register
from research.ledger.ledger import Ledger
from research.report.sections_regimes import results_of
from research.statistics.regimes import RegimeResult, failing_regimes
from support.candidates import BASELINE, FREE, KEY, enrolled, known, registration
from support.candidates import NOON as REGISTERED
from support.experiments import NOON

_STRETCH, _DRIFT = 420, 0.0015


@pytest.fixture(scope="module")
def bars() -> Bars:
    return load_bars("COMP")


@pytest.fixture(scope="module")
def always() -> StrategyConfig:
    """A strategy that is long whatever happens."""
    return load_strategy(BASELINE).replaced(entry=(0.0, 1.0), max_bars=2)


def world(bars: Bars, seed: int, drift: float) -> History:
    """Return a market that rises and falls in turn, `_STRETCH` sessions each, by `drift` a session."""
    random, count = np.random.default_rng(seed), len(bars)
    turn = np.where(np.arange(count) // _STRETCH % 2 == 0, 1.0, -1.0)
    close = 1_000.0 * np.exp(np.cumsum(random.normal(0, 0.01, count) + drift * turn))
    opens = np.append(1_000.0, close[:-1]) * np.exp(random.normal(0, 0.001, count))
    above, below = (np.exp(np.abs(random.normal(0, 0.004, count))) for _ in range(2))
    high, low = np.maximum(opens, close) * above, np.minimum(opens, close) / below
    made = replace(bars, open=opens, high=high, low=low, close=close)
    return History(bars={KEY: made}, markets=load_instruments().markets)


def found(config: StrategyConfig, history: History) -> tuple[RegimeResult, ...]:
    return Contender.of_strategy(config, "COMP").by_regime(history, DateRange())


@pytest.mark.parametrize("seed", range(3))
def test_a_planted_loser_of_bear_markets_is_shown(bars: Bars, always: StrategyConfig, seed: int) -> None:
    assert failing_regimes(found(always, world(bars, seed, _DRIFT))) == ("bear",)


def test_noise_fails_no_more_often_than_the_rate(bars: Bars, always: StrategyConfig) -> None:
    count = 12
    flagged = sum(bool(failing_regimes(found(always, world(bars, seed, 0.0)))) for seed in range(count))
    assert flagged <= stats.binom.ppf(0.999, count, 0.05)


def test_trades_and_regimes_are_those_of_a_tear_sheet(bars: Bars) -> None:
    config = load_strategy(BASELINE)
    history = known(bars, NOON)
    sheet = {each.name: each for each in results_of(run_backtest(config, history, "COMP").report_data())}
    for each in found(config, history):
        twin = sheet[each.name]
        assert (each.trades, each.runs, each.verdict) == (twin.trades, twin.runs, twin.verdict)
        assert each.net == pytest.approx(twin.net)
        assert each.p_value == pytest.approx(twin.p_value, nan_ok=True)


def test_bars_before_the_span_make_its_regimes_known(bars: Bars) -> None:
    """A tear sheet knows no regime of the first 624 bars that it trades; a registration looks back."""
    config, span = load_strategy(BASELINE), DateRange.of("2010-01-04", "2011-12-30")
    of_span = Contender.of_strategy(config, "COMP").by_regime(known(bars, NOON), span)
    run = run_backtest(config, known(bars, NOON), "COMP", span=span)
    assert sum(each.trades for each in results_of(run.report_data())) == 0
    assert sum(each.trades for each in of_span) == len(run.trades[run.trades["status"] == "closed"])


def test_what_is_frozen_is_read_again(ledger: Ledger, bars: Bars, always: StrategyConfig) -> None:
    history = world(bars, 0, _DRIFT)
    contender = Contender.of_strategy(always, "COMP")
    enrol(ledger, contender, history, DateRange(), FREE, name="long", family="N", now=NOON)
    kept = candidate_named(ledger, "long")
    assert kept.regimes is not None
    assert repr(kept.regimes) == repr(found(always, history))
    assert failing(kept).startswith("fails in bear (")
    assert "no failure found in bull, sideways, high volatility" in failing(kept)
    assert Contender.of_candidate(kept).hash == contender.hash, "regimes are no part of what is traded"


def test_a_row_of_an_earlier_version_says_so(ledger: Ledger) -> None:
    old = register(ledger, registration("old"), now=NOON)
    assert old.regimes is None
    assert "an earlier version registered it" in failing(old)


def test_a_challenger_is_judged_by_its_own_trades(ledger: Ledger, bars: Bars) -> None:
    config = load_strategy(BASELINE)
    alone = enrolled(ledger, config, bars)
    other = Contender.of_strategy(config.replaced(max_bars=3), "COMP")
    paired = Contender.of_strategy(config, "COMP").against(other)
    assert repr(paired.by_regime(known(bars, REGISTERED), DateRange())) == repr(alone.regimes)

"""A strategy that trades without a model: what a file may say, what its bundle is, and when it is counted."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lockstep.errors import ConfigError, TrainingError
from lockstep.market.history import History
from lockstep.models.bundle import bundle_bytes
from lockstep.models.content import sha256_of
from lockstep.models.golden import verify_golden
from lockstep.models.store import ModelStore, load_bundle
from lockstep.settings import validated
from research.ledger.database import Database
from research.ledger.ledger import Ledger
from research.training import release as releases
from research.training.config import StrategyRelease, load_release
from research.training.rebuild import rebuild
from support.training import NOON, STRATEGY, noon, spx_history

PLAIN = "name: small\nentry: [0.0, 0.25]\n"


def wanted(**changes: Any) -> StrategyRelease:
    content = {"symbol": "SPX", "data": {"end": "2018-12-31"}, "strategy": STRATEGY, **changes}
    return validated(StrategyRelease, content, where="release")


def released(**changes: Any) -> releases.ReleasedStrategy:
    return releases.ReleasedStrategy.of(wanted(**changes), spx_history())


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger(Database.open(f"sqlite:///{tmp_path / 'trials.db'}"))


@pytest.fixture
def bars(monkeypatch: pytest.MonkeyPatch) -> History:
    found = spx_history()
    monkeypatch.setattr(releases, "read_history", lambda *_, **__: found)
    return found


def written(folder: Path, text: str, name: str = "best.yaml") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def test_the_file_of_a_strategy_alone_gets_the_defaults(tmp_path: Path) -> None:
    found = load_release(written(tmp_path, PLAIN), "SPX", source="index_daily")
    assert (found.symbol, found.strategy.name, found.data.source) == ("SPX", "small", "index_daily")
    assert (found.hold_out.share, found.acceptance.min_trades) == (0.2, 50)


def test_a_release_names_symbol_dates_and_limits(tmp_path: Path) -> None:
    written(tmp_path, PLAIN)
    text = (
        "symbol: SPX\nstrategy: best.yaml\ndata: {end: 2018-12-31}\n"
        "hold_out: {start: 2017-01-03}\nacceptance: {min_dsr: 0.9}\n"
    )
    found = load_release(written(tmp_path, text, "SPX-bare.yml"))
    assert (found.symbol, found.strategy.entry) == ("SPX", (0.0, 0.25))
    assert (found.hold_out.start, found.acceptance.min_dsr) == (date(2017, 1, 3), 0.9)


@pytest.mark.parametrize(
    ("text", "symbol", "said"),
    [
        (PLAIN, "", "no symbol; name the instrument to trade"),
        (PLAIN, "SPZ", r"symbol 'SPZ'; did you mean 'SP"),
        ("symbol: SPX\nstrategy: {name: a}\n", "COMP", "is for SPX, not for COMP"),
        ("symbol: SPX\nstrategy: {name: a}\nmodel: {}\nfeatures: {ids: [ibs]}\n", "", "is a training file"),
        ("symbol: SPX\nstrategy: {name: a}\nacceptance: {max_pbo: 0.5}\n", "", "max_pbo"),
        ("symbol: SPX\nstrategy: {name: a, execution: close}\n", "", "cannot be traded"),
        ("name: a\nentri: [0, 1]\n", "SPX", "entri.*did you mean 'entry'"),
        ("- 1\n", "SPX", "holds no keys"),
    ],
)
def test_a_wrong_file_is_refused_in_one_line(tmp_path: Path, text: str, symbol: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said) as refused:
        load_release(written(tmp_path, text), symbol)
    assert "\n" not in str(refused.value)


def test_the_last_sessions_are_sealed() -> None:
    dates, bars = released().dates, released().bars
    sessions = np.unique(spx_history().markets["SPX"].session.dates(bars.end, bars.timeframe))
    before = sessions < np.datetime64(dates.hold_out.start)
    assert before.sum() == round(sessions.size * 0.8)
    assert sessions[before][-1] == np.datetime64(dates.development.end)
    assert str(released(hold_out={"start": "2017-01-01"}).dates.hold_out.start) == "2017-01-03"


@pytest.mark.parametrize("start", ["1990-01-01", "2030-01-01"])
def test_a_hold_out_that_leaves_nothing_is_refused(start: str) -> None:
    with pytest.raises(TrainingError, match="must leave sessions before it and hold some itself"):
        _ = released(hold_out={"start": start}).dates


def test_the_same_inputs_give_the_same_bundle_and_a_rebuild_of_it() -> None:
    bundle = released().bundle
    assert not bundle.has_model
    content = bundle_bytes(bundle)
    assert content == bundle_bytes(released().bundle)
    assert content != bundle_bytes(released(strategy={**STRATEGY, "max_bars": 9}).bundle)
    verify_golden(bundle.golden, bundle.feature_ids, None)
    assert np.isfinite(bundle.golden.vectors).all()
    assert bundle.golden.stamps[-1] < np.datetime64(bundle.training["hold_out"][0], "ns").astype(np.int64)
    assert bundle.metrics["trades"] > 100
    record = releases.record_of(released(), None, "best.yaml")
    assert rebuild(record).sha256 == sha256_of(content)
    other = record.model_copy(update={"code_hash": "c" * 64})
    assert "code sources" in rebuild(other).differences[0]


def test_what_was_measured_ends_before_the_hold_out() -> None:
    """The figures of the bundle do not change with what the sealed bars say."""
    whole, history = released(hold_out={"start": "2017-01-03"}), spx_history()
    key = whole.key
    rows = whole.dates.development.select(history.bars[key], history.markets["SPX"])
    short = History(bars={key: history.bars[key].rows(0, rows.stop)}, markets=history.markets)
    known = releases.ReleasedStrategy.of(whole.release, short)
    assert whole.bundle.metrics == known.account(whole.dates.development).measures


def test_it_is_registered_once_and_counted_once(tmp_path: Path, ledger: Ledger, bars: History) -> None:
    store = ModelStore(tmp_path / "store")
    first = releases.register_strategy(wanted(), store, ledger, by="ann", now=noon)
    again = releases.register_strategy(wanted(), store, ledger, by="ann", now=noon)
    assert (first.version, first.new, again.version, again.new) == ("v1", True, "v1", False)
    family = releases.trial_family("SPX")
    assert ledger.count(family, date(2010, 1, 1), date(2010, 12, 31)) == 1
    other = releases.register_strategy(
        wanted(strategy={**STRATEGY, "max_bars": 9}), store, ledger, by="ann", now=noon
    )
    assert (other.version, ledger.count(family, date(2010, 1, 1), date(2010, 12, 31))) == ("v2", 2)
    assert load_bundle("SPX", "v1", store=store).strategy["config"]["max_bars"] == 10


def test_a_promotion_asks_for_the_same_evidence(tmp_path: Path, ledger: Ledger, bars: History) -> None:
    store = ModelStore(tmp_path / "store")
    found, change, missing = releases.promote_strategy(wanted(), store, ledger, by="ann", now=noon)
    assert change is None
    assert "validation: there is none; certificate: there is none" in missing
    assert store.manifest().model("SPX").production is None
    forced = releases.promote_strategy(
        wanted(), store, ledger, by="ann", now=noon, reason="a trial", force=True
    )
    assert forced[0].version == found.version
    assert forced[1] is not None
    assert store.manifest().model("SPX").production == "v1"
    assert NOON == store.manifest().history[-1].time

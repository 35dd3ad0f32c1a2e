"""A stage of the roll-out whose share of the usual size is no contract: the engine does not start with it."""

from __future__ import annotations

import logging
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

from lockstep.errors import ConfigError, JournalError, LiveError
from lockstep.live.brokers.protocol import OnFill
from lockstep.live.brokers.traderspost import TradersPostConfig
from lockstep.live.config import LiveConfig
from lockstep.live.epochs import live_hashes, successor
from lockstep.live.events import FillReported
from lockstep.live.journal import Journal
from lockstep.live.messages import LaneState, ReportedFill
from lockstep.live.operator.statement import COLUMNS
from lockstep.live.risk.rollout import Trades
from lockstep.live.service import Service
from lockstep.live.traded import TradedModel, usual_trades
from lockstep.market.dates import DateRange
from lockstep.strategy.config import FixedSize, RiskSize
from research.backtest.run import run_backtest
from support import desks, journals, papers, units
from support.events import an_event
from support.orders import intent

LIVE = {
    "traderspost": {"tickers": {"COMP": "NQZ2026"}},
    "fills_by_hand": True,
    "clock": {"unchecked": "not in a test"},
    "feeds": [
        {"kind": "http", "port": 0, "base": {"COMP": "1d", "SPX": "1d"}},
    ],
}
TOKEN = "0123456789abcdef0123"
ENVIRONMENT = {
    "TRADERSPOST_WEBHOOK_URL": "http://localhost/trading/webhook/4f1c9a0b7d3e",
    "LOCKSTEP_FEED_TOKEN": TOKEN,
}
ALL = {"stages": [{"from_day": 1, "mode": "shadow"}, {"from_day": 2, "mode": "live"}]}


def begin(folder: Path, mode: Any, **changes: object) -> None:
    """Put an engine together, which begins the first epoch, and close it."""
    config = papers.config(folder, **{**LIVE, **changes})
    with Service(config, mode=mode, environment=ENVIRONMENT):
        pass


def epochs(folder: Path) -> int:
    with Journal.open(folder / "live.db", readonly=True) as journal:
        return len(journal.epochs())


def test_mode_live_does_not_start(tmp_path: Path) -> None:
    papers.store(tmp_path / "store")
    with pytest.raises(
        ConfigError, match="stage 2 is live with 10% of the size; COMP usually trades 1 contract, "
    ):
        begin(tmp_path, "live")
    assert epochs(tmp_path) == 0
    begin(tmp_path, "live", rollout=ALL)
    assert epochs(tmp_path) == 1


TICKERS = {"traderspost": {"tickers": {"COMP": "NQZ2026", "MCOMP": "MNQZ2026"}}}
SMALL: dict[str, Any] = {**TICKERS, "rollout": units.stages(False, True, False)}


def test_a_stage_that_sends_a_smaller_unit_starts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOCKSTEP_INSTRUMENTS", str(units.declared(tmp_path)))
    papers.store(tmp_path / "store")
    with pytest.raises(LiveError, match="no ticker of MCOMP; add the contract that trades"):
        begin(tmp_path, "live", **{**SMALL, **LIVE})
    (tmp_path / "live.db").unlink()
    with pytest.raises(ConfigError, match="stage 2 is live with 10%"):
        begin(tmp_path, "live", **{**SMALL, "rollout": units.stages(True, False, True)})
    assert epochs(tmp_path) == 0
    begin(tmp_path, "live", **SMALL)
    assert epochs(tmp_path) == 1
    config = papers.config(tmp_path, **{**LIVE, **SMALL})
    with Service(config, mode="live", environment=ENVIRONMENT) as service:
        outside = service.engine._outbox
        assert outside is not None
        message = outside._broker.message(intent("COMP", 2.0, unit=units.MICRO).leaving)
    assert (message["ticker"], message["quantity"], message["action"]) == ("MNQZ2026", 20, "buy")
    units.declared(tmp_path, multiplier=1.0)
    with pytest.raises(JournalError, match="instruments changed since epoch 1"):
        begin(tmp_path, "live", **SMALL)


class Reporting:
    """A broker's source of fills, which tells one of two MCOMP."""

    trouble = ""

    def start(self, on_fill: OnFill, *, since: int) -> None:
        on_fill(ReportedFill("b-1", "1-live-COMP-5-entry-1", "MCOMP", "stop", -2.0, 2_000.0, 0.4, 7))

    def stop(self) -> None: ...


def test_a_real_start_reads_fills_and_positions_of_the_unit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From the epoch in shadow, over the recorded step, to one in mode live: as `service.py` joins it."""
    monkeypatch.setenv("LOCKSTEP_INSTRUMENTS", str(units.declared(tmp_path)))
    papers.store(tmp_path / "store")
    statement, positions = tmp_path / "fills.csv", tmp_path / "positions.csv"
    files = {**SMALL, "statement": str(statement), "positions": str(positions)}
    begin(tmp_path, "live", **files)
    path, step = tmp_path / "live.yml", {"stage": 1, "fraction": 0.1, "units": {"COMP": "MCOMP"}}
    with Journal.open(tmp_path / "live.db") as journal:
        journal.append(an_event("rollout", content={**step, "comparison": "", "reason": "planned"}))
        hashes = live_hashes(path)
        epoch, _ = successor(journal, LiveConfig.load(path), hashes=hashes, reason="live", now=1, mode="live")
        journal.begin_epoch(epoch)
    moment = "2026-03-06T14:10:03Z"
    rows = [f"1,1-live-COMP-5-entry-1,MCOMP,market,3,2000,0.6,{moment}", ""]
    statement.write_text("\n".join([",".join(COLUMNS), *rows]))
    positions.write_text(f"symbol,quantity,as_of\nCOMP,0,{moment}\nMCOMP,3,{moment}\n")
    connect = TradersPostConfig.connect
    monkeypatch.setattr(
        TradersPostConfig, "connect", lambda self, desk: connect(self, desk)._replace(fills=Reporting())
    )
    with Service(path, mode="live", environment=ENVIRONMENT) as service:
        setup = service.engine._setup
        assert (setup.fraction, setup.units.stage) == (0.1, {"COMP": "MCOMP"})
        assert service._broker_fills is not None
        service._broker_fills.start(lambda: None)
        told = [each for each in setup.outside.commands() if isinstance(each, FillReported)]
        assert [(each.symbol, each.quantity, each.unit) for each in told] == [
            ("COMP", 0.3, "MCOMP"),
            ("COMP", -0.2, "MCOMP"),
        ]
        assert setup.reconciliation is not None
        assert setup.reconciliation._source is not None
        assert setup.reconciliation._source.read(0)["COMP"].quantity == 0.3
        service._watcher.beat(now=service._clock())
        assert service._watcher.status.rollout == "stage 2 of 3, COMP as MCOMP"


@pytest.mark.parametrize("mode", ["live", "paper"])
def test_a_position_in_a_unit_keeps_it_in_the_roll_out(
    mode: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The exit could not be sent: 0.1 contracts of COMP are none. What is simulated has no exit to send."""
    monkeypatch.setenv("LOCKSTEP_INSTRUMENTS", str(units.declared(tmp_path)))
    sha = papers.store(tmp_path / "store").manifest().entry("COMP", "v1").sha256
    held = (0.1, 5_000.0, 4_950.0, float("nan"), 1e5)
    state = LaneState(account=held, trade={"decision": journals.START})
    entry = {"order_id": f"1-live-COMP-{journals.START}-entry-1"}
    with Journal.open(tmp_path / "live.db") as journal:
        begun = journals.epoch(symbols=("COMP",), mode=mode, states={"COMP": state}, bundles={"COMP": sha})
        journal.begin_epoch(begun)
        journal.append(
            an_event("send", symbol="COMP", content={**entry, "unit": "MCOMP"}),
            an_event("acknowledged", symbol="COMP", content=entry),
        )
    for rollout, refused in ((ALL, mode == "live"), (SMALL["rollout"], False)):
        config = LiveConfig.load(papers.config(tmp_path, **{**LIVE, **TICKERS, "rollout": rollout}))
        with Journal.open(tmp_path / "live.db", readonly=True) as journal:
            refusal = pytest.raises(LiveError, match="in MCOMP, which no stage") if refused else nullcontext()
            with refusal:
                successor(journal, config, hashes={}, reason="another stage", now=1)


def test_the_size_of_today_counts_where_it_follows_the_market(tmp_path: Path) -> None:
    papers.store(tmp_path / "store", size=RiskSize(kind="risk", risk=0.05))
    with pytest.raises(ConfigError, match=r"10% of the size; COMP usually trades \d+ contracts?,"):
        begin(tmp_path, "live")


def test_shadow_and_paper_start_and_shadow_says_so(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    papers.store(tmp_path / "store")
    with caplog.at_level(logging.WARNING, "lockstep.live"):
        begin(tmp_path, "paper")
        assert caplog.text == ""
    (tmp_path / "live.db").unlink()
    with caplog.at_level(logging.WARNING, "lockstep.live"):
        begin(tmp_path, "shadow")
    assert "nothing would be sent" in caplog.text


def test_no_epoch_of_mode_live_begins(tmp_path: Path) -> None:
    papers.store(tmp_path / "store")
    begin(tmp_path, "shadow")
    for changes, refused in (({}, True), ({"rollout": ALL}, False)):
        config = LiveConfig.load(papers.config(tmp_path, **{**LIVE, **changes}))
        with Journal.open(tmp_path / "live.db", readonly=True) as journal:
            refusal = (
                pytest.raises(ConfigError, match="stage 2 is live with 10%") if refused else nullcontext()
            )
            with refusal:
                successor(journal, config, hashes={}, reason="go live", now=1, mode="live")


def test_a_size_is_that_of_an_entry_on_the_newest_bar() -> None:
    """The same contracts that the strategy enters with there; a window that is not full tells nothing."""
    model = TradedModel.of(desks.bundle(size=RiskSize(kind="risk", risk=0.02), threshold=0.0))
    bars = desks.history(600)
    result = run_backtest(model.config, bars, "COMP", span=DateRange(), veto=model.veto)
    entries = [o for o in result.records.orders if o.intent == "entry" and o.status == "accepted"]
    end = bars.bars[model.key].end.tolist()
    for order in entries[-20:]:
        row = end.index(order.decision) + 1
        kept = {key: desks.kept(bars, key)[:row] for key in bars.bars}
        found = usual_trades({"COMP": model}, bars.markets, kept)
        assert found == {"COMP": Trades(abs(order.quantity), 1.0)}
    assert len({abs(order.quantity) for order in entries}) > 3
    few = {key: desks.kept(bars, key)[:5] for key in bars.bars}
    assert usual_trades({"COMP": model}, bars.markets, few) == {}
    fixed = TradedModel.of(desks.bundle(size=FixedSize(contracts=7)))
    assert usual_trades({"COMP": fixed}, bars.markets, {}) == {"COMP": Trades(7.0, 1.0)}

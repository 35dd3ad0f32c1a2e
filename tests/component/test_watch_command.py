"""`lockstep monitor`: what it prints, how it ends, whom it tells; and a desk that trades a portfolio."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest
from typer.testing import CliRunner

from lockstep.errors import MonitorError
from lockstep.live.config import LiveConfig
from lockstep.live.journal import Journal
from lockstep.live.messages import SetRecord
from lockstep.live.service import Service
from lockstep.live.status.monitor import monitor_file, read_monitor
from lockstep.monitoring.alerts import AlertRate
from operations.watch.cli import acknowledge, app
from operations.watch.database import MonitorDatabase
from operations.watch.telling import News, news_of, tell
from support import live_portfolios, papers
from support.real_fills import live
from support.watching import ChannelSink, WatchedDesk, attached, watched_desk


def call(*arguments: object) -> tuple[int, str]:
    found = CliRunner().invoke(app, [str(each) for each in arguments], catch_exceptions=True)
    if found.exception is not None and not isinstance(found.exception, SystemExit):
        raise found.exception
    return found.exit_code, found.output


@pytest.fixture(scope="module")
def alarmed(tmp_path_factory: pytest.TempPathFactory) -> WatchedDesk:
    """A desk that has raised something: its made-up reference knows a forecast that this forest is not."""
    desk = watched_desk(tmp_path_factory.mktemp("alarmed"))
    papers.traded(desk.folder, desk.models()[0], name="live.db")
    return desk


def test_a_day_with_the_commands(alarmed: WatchedDesk) -> None:
    config = ("--config", alarmed.config)
    with pytest.raises(MonitorError, match="run the monitor first"):
        call("show", *config)
    code, said = call("run", *config)
    assert code == 0
    assert "120 new bar sets; outcomes are known up to 2010-01-25" in said
    assert "ALARM COMP@v1: information coefficient" in said
    code, said = call("show", *config)
    assert code == 1, "an ALARM that nobody has acknowledged"
    for part in ("COMP win_rate", "taken", "live against backtest", "calm, up"):
        assert part in said
    assert "COMP 2009 Q3" in said, "a quarter whose signals have all settled"
    assert "COMP 2010 Q1" not in said, "one that goes on"
    told = json.loads(call("show", "--json", *config)[1])
    assert {each["place"] for each in told["standings"]} >= {"COMP ic", "COMP pnl"}
    summary = read_monitor(monitor_file(LiveConfig.load(alarmed.folder / "live.yml").status))
    assert summary is not None
    assert {each.place for each in summary.alarms} >= {"COMP ic"}
    assert summary.outcomes["taken"] == told["outcomes"]["taken"]
    code, said = call("explain", "COMP ic", *config)
    assert code == 0
    assert "against the floor of" in said
    assert "not acknowledged" in said
    with pytest.raises(MonitorError, match="is not watched; there are COMP calibration"):
        call("explain", "COMP", *config)
    for place in ("COMP ic", "desk"):
        code, said = call("ack", place, "--reason", "a forest that knows nothing", "--by", "me", *config)
        assert (code, said.startswith(f"{place}: acknowledged by me")) == (0, True)
    assert call("show", *config)[0] == 0
    code, said = call("rebuild", *config)
    assert code == 0
    assert call("show", *config)[0] == 0, "the acknowledgement is kept"
    assert call("run", *config, "--every", "0.001", "--passes", "2")[1].count("0 new bar sets") == 2


RATE = AlertRate()


def test_everything_is_told_once_and_what_failed_again(alarmed: WatchedDesk) -> None:
    alarmed.run()
    with MonitorDatabase.open(alarmed.database) as database, database.step():
        database.clear(["acknowledgements", "deliveries"])
    alarmed.run()
    news, channel = list(news_of(alarmed.report())), ChannelSink()
    assert {each.kind for each in news} >= {"alarm", "watch"}
    with MonitorDatabase.open(alarmed.database) as database:
        channel.down = True
        failed = tell(database, news, [channel], RATE, now=1)
        assert len(failed) == len(news)
        assert all("the next run tries again" in line for line in failed)
        channel.down = False
        assert tell(database, news, [channel], RATE, now=2) == []
        assert tell(database, news, [channel], RATE, now=3) == []
    assert [each.text for each in channel.sent] == [each.sentence for each in news]


def test_a_flood_is_joined_and_every_part_of_it_counts_as_told(alarmed: WatchedDesk) -> None:
    news, channel = [News(f"note {n}", "monitor", f"note {n}") for n in range(40)], ChannelSink()
    with MonitorDatabase.open(alarmed.database) as database:
        assert tell(database, news, [channel], RATE, now=1) == []
        assert len(channel.sent) == RATE.burst + 1
        assert channel.sent[-1].text == f"note 39 (and {40 - RATE.burst - 1} more)"
        assert tell(database, news, [channel], RATE, now=2) == []
    assert len(channel.sent) == RATE.burst + 1


def test_slippage_of_real_fills_is_watched(tmp_path: Path) -> None:
    desk = watched_desk(tmp_path)
    live(desk.folder, desk.store, lambda number: 0.0 if number < 10 else 6.0).rename(desk.journal)
    desk.run()
    report = desk.report()
    place = "COMP slippage market"
    (alarm,) = [each for each in report.raised if each.place == place]
    assert "COMP market orders: slippage is" in alarm.sentence
    assert len(desk.rows("fills")) > 20
    standing = next(each for each in report.standings if each["place"] == place)
    assert standing["alarm"] >= 20.0
    with MonitorDatabase.open(desk.database) as database:
        acknowledge(database, place, by="me", reason="a new router", now=desk.now)
    desk.run()
    assert not [each for each in desk.report().raised if each.place == place]
    before = desk.digest()
    desk.run(rebuild=True)
    assert desk.digest() == before


def test_fills_of_the_model_raise_nothing(tmp_path: Path) -> None:
    """Negative control of the one above."""
    desk = watched_desk(tmp_path)
    live(desk.folder, desk.store, 0.0).rename(desk.journal)
    desk.run()
    assert not [each for each in desk.report().alarms if each.stream == "slippage"]
    assert {row["ticks"] for row in desk.rows("fills")} == {0.0}


def test_a_desk_that_trades_a_portfolio(tmp_path: Path) -> None:
    config = live_portfolios.desk(tmp_path)
    desk = attached(tmp_path, {"COMP": 0, "SPX": 0})
    with Service(config, mode=None, environment={}) as service:
        service.run()
    desk.run()
    report = desk.report()
    with Journal.open(desk.journal, readonly=True) as journal:
        rows = [each for each in journal.entries(1) if isinstance(each, SetRecord)]
    refused = Counter(
        (lane.symbol, lane.reason) for row in rows for lane in row.lanes if lane.reason.startswith("refused")
    )
    assert refused
    found = Counter((each.lane, each.reason) for each in report.outcomes if each.state == "refused")
    assert found == refused
    assert {each.lane for each in report.outcomes} == {"COMP", "SPX"}
    taken = [each for each in report.outcomes if each.state == "taken" and each.lane == "COMP"]
    assert taken
    assert {abs(each.quantity) for each in taken} == {2.0}, "of the portfolio"
    assert {each["name"] for each in report.against} == {"COMP", "SPX", "desk"}
    assert all(0.0 <= each["live_max_drawdown_fraction"] < 1.0 for each in report.against)
    before = desk.digest()
    desk.run(rebuild=True)
    assert desk.digest() == before

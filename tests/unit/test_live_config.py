"""What `live.yml` may say, and which modes can be run with it."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import pytest
import yaml

from lockstep.errors import ConfigError
from lockstep.live.brokers.protocol import BrokerDesk, BrokerSettings, Connection
from lockstep.live.brokers.registry import BROKERS
from lockstep.live.config import LiveConfig
from lockstep.market.config import shipped_config

BROKER = {"tickers": {"COMP": "NQZ2026", "SPX": "ESZ2026"}}
TAIL = [{"kind": "tail", "symbol": "COMP", "path": "COMP.csv", "source": "futures_daily"}]


def config(tmp_path: Path, **changes: Any) -> LiveConfig:
    content = yaml.safe_load(shipped_config("live.yml").read_text(encoding="utf-8"))
    path = tmp_path / "live.yml"
    path.write_text(yaml.safe_dump({**content, **changes}), encoding="utf-8")
    return LiveConfig.load(path)


def test_the_shipped_file_runs_on_paper(tmp_path: Path) -> None:
    shipped = config(tmp_path)
    shipped.require_mode("paper")
    assert shipped.policies == {"COMP": "manage_out", "SPX": "manage_out"}
    assert shipped.replay is not None
    assert config(tmp_path, feeds=TAIL).replay is None


@pytest.mark.parametrize(
    ("mode", "changes", "message"),
    [
        ("shadow", {}, "no broker is configured"),
        ("live", {"traderspost": BROKER}, "the feed is a replay"),
        ("live", {"traderspost": BROKER, "feeds": TAIL}, "no source of fills"),
        ("live", {"traderspost": BROKER, "feeds": TAIL, "fills_by_hand": True}, "no check of the clock"),
    ],
)
def test_a_mode_that_cannot_be_run_is_refused(
    tmp_path: Path, mode: Any, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        config(tmp_path, **changes).require_mode(mode)


@pytest.mark.parametrize("source", [{"fills_by_hand": True}, {"statement": "fills.csv"}])
def test_live_runs_with_a_source_of_fills(tmp_path: Path, source: dict[str, Any]) -> None:
    for clock in ({"ntp": "time.example.org"}, {"system": True}, {"unchecked": "PTP of the house, AB"}):
        config(tmp_path, traderspost=BROKER, feeds=TAIL, clock=clock, **source).require_mode("live")


def test_sections_of_earlier_versions_mean_the_same(tmp_path: Path) -> None:
    """A desk's live.yml from before brokers and sinks had kinds goes on to work."""
    hook = {"discord_url_file": "hook", "discord_url_variable": "HOOK"}
    before = config(tmp_path, traderspost=BROKER, alerts={"discord": True, **hook})
    sink = {"kind": "discord", "url_file": "hook", "url_variable": "HOOK"}
    now = config(tmp_path, broker={"kind": "traderspost", **BROKER}, alerts={"sinks": [sink]})
    assert before == now
    assert config(tmp_path, alerts={"discord": False, **hook}).alerts.sinks == ()
    assert LiveConfig.model_validate(now.model_dump()) == now


def test_a_broker_that_reports_its_fills_is_a_source_of_fills(tmp_path: Path) -> None:
    class Reporting(BrokerSettings):
        kind: Literal["reporting"] = "reporting"
        reports_fills = True

        def connect(self, desk: BrokerDesk) -> Connection:
            raise NotImplementedError

    with BROKERS.joined(Reporting):
        found = config(tmp_path, broker={"kind": "reporting"}, feeds=TAIL, clock={"system": True})
        found.require_mode("live")
        assert isinstance(found.broker, Reporting)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"broker": {"kind": "traderspots"}}, "did you mean 'traderspost'"),
        ({"broker": {"kind": "traderspost", "ticker": {}}}, "did you mean 'tickers'"),
        ({"broker": {"kind": "traderspost", **BROKER}, "traderspost": BROKER}, "both name the broker"),
        ({"traderspost": "yes"}, "broker"),
        ({"feeds": [{"kind": "htpp"}]}, "did you mean 'http'"),
        ({"feeds": [{"kind": "tail", "symbl": "COMP"}]}, "did you mean 'symbol'"),
        ({"alerts": {"sinks": [{"kind": "discrod"}]}}, "did you mean 'discord'"),
        ({"alerts": {"discord": True, "sinks": []}}, "both name sinks"),
        ({"alerts": {"discord": "yes"}}, "must be true or false"),
        ({"instruments": [{"symbol": "COMP"}, {"symbol": "COMP"}]}, "COMP is listed twice"),
        ({"feeds": [*TAIL, {"kind": "replay", "start": "2016-01-04"}]}, "a replay is the only feed"),
        ({"gracee": 5}, "did you mean 'grace'"),
        ({"instruments": []}, "instruments"),
        ({"clock": {}}, "give one of ntp"),
        ({"clock": {"ntp": "a", "system": True}}, "give one of ntp"),
        ({"clock": {"ntp": "http://a"}}, "clock"),
        ({"clock": {"unchecked": "later"}}, "clock"),
    ],
)
def test_contradictions_are_refused(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        config(tmp_path, **changes)

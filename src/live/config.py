"""`LiveConfig`: what `configs/live.yml` says. Frozen; unknown fields are refused with the nearest name."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, SerializeAsAny, model_validator

from lockstep.desk import anchored, desk_folder
from lockstep.errors import ConfigError
from lockstep.live.brokers.protocol import BrokerSettings
from lockstep.live.brokers.registry import BROKERS
from lockstep.live.clock_check import ClockSettings
from lockstep.live.feeds.protocol import FeedSettings, Port, Seconds
from lockstep.live.feeds.registry import FEEDS
from lockstep.live.feeds.replay import ReplayFeedSettings
from lockstep.live.handover import Policy
from lockstep.live.messages import Mode
from lockstep.live.plausible import Plausibility
from lockstep.live.risk.limits import Limits
from lockstep.live.risk.rollout import Rollout
from lockstep.live.risk.switches import Switches
from lockstep.market.config import InstrumentBook, load_instruments
from lockstep.market.instrument import traded_symbol
from lockstep.models.manifest import PRODUCTION, Version
from lockstep.monitoring.alerts import AlertRate, SinkSettings
from lockstep.monitoring.registry import SINKS
from lockstep.plugs import chosen_by_kind
from lockstep.portfolio.config import PortfolioConfig, load_portfolio_config
from lockstep.settings import Settings, read_yaml, shown, validated


class InstrumentSettings(Settings):
    """One traded instrument.

    version    `production`, or a pinned one such as v3, which trades in paper and shadow whatever is promoted
    handover   what happens to an open position when another version takes over
    """

    symbol: str
    version: Literal["production"] | Version = "production"
    handover: Policy = "manage_out"


class HistorySettings(Settings):
    """Files that warm up the windows: a data folder (None: the embedded bars) and a source's name.

    min_quality   score that each of them must have for a desk to begin, 0 … 100; None: any. See docs/data.md
    """

    data_dir: Path | None = None
    source: str | None = None
    min_quality: Annotated[float, Field(ge=0, le=100, allow_inf_nan=False)] | None = None


Feed = Annotated[SerializeAsAny[FeedSettings], chosen_by_kind(FEEDS)]
Broker = Annotated[SerializeAsAny[BrokerSettings], chosen_by_kind(BROKERS)]
Sink = Annotated[SerializeAsAny[SinkSettings], chosen_by_kind(SINKS)]
_DISCORD = frozenset(("discord", "discord_url_file", "discord_url_variable"))


class AlertSettings(Settings):
    """Where alerts go, how many of them, and when bars are one.

    sinks        beside the log, which always has them; see `monitoring/registry.py` for the kinds
    bars_every   seconds within which irregular bars of one kind and series make one alert
    silent_after   seconds after which a scheduled bar that has not come is an alert; see `silence.py`
    """

    sinks: tuple[Sink, ...] = ()
    rate: AlertRate = AlertRate()
    bars_every: Seconds = 300.0
    silent_after: Seconds = 900.0

    @model_validator(mode="before")
    @classmethod
    def _as_before(cls, content: Any) -> Any:
        """Read `discord` and the place of its webhook, as earlier versions wrote them, as a sink."""
        if not isinstance(content, Mapping) or not content.keys() & _DISCORD:
            return content
        if "sinks" in content:
            raise ValueError("discord and sinks: both name sinks; keep sinks")
        names = {"discord_url_file": "url_file", "discord_url_variable": "url_variable"}
        places = {new: content[old] for old, new in names.items() if old in content}
        on = content.get("discord", False)
        if not isinstance(on, bool):
            raise ValueError(f"discord {shown(on)}: must be true or false")
        sinks = [{"kind": "discord", **places}] if on else []
        return {name: each for name, each in content.items() if name not in _DISCORD} | {"sinks": sinks}


class LiveConfig(Settings):
    """The configuration of a desk; times in seconds, paths relative to the working or the desk folder.

    mode          paper: fills are simulated; shadow: as paper, and what would be sent is recorded;
                  live: orders are sent, fills are reported
    store         model store; None: the usual one
    journal       SQLite file; status   file with the engine's current state
    mailbox       folder for the operator's commands; statement   CSV of fills, exported by the broker
    positions     CSV of positions, exported by the broker, to reconcile with
    broker        receiver of the orders; see `brokers/registry.py` for the kinds
    clock         how the clock is checked in mode live; see `clock_check.py`
    portfolio     file of the portfolio whose lanes are traded and whose limits admit their entries; its
                  lanes are the instruments, which need to be listed only for their `handover`
    fills_by_hand   the operator reports fills with lockstep orders; mode live needs this, a
                  statement, or a broker that reports its fills
    grace         how long a bar set waits for its last bar
    plausible     the band outside which a live bar is quarantined; see `plausible.py`
    memory_bars   bars kept per series to warm up a version that takes over
    expire        an order that could not be sent for this long is dropped
    health_port   of `/health` and `/metrics` on the loopback address; None for none

    >>> from lockstep.market.config import shipped_config
    >>> config = LiveConfig.load(shipped_config("paper.yml"))
    >>> config.mode, config.instruments[0].symbol
    ('paper', 'COMP')
    """

    mode: Mode = "paper"
    store: Path | None = None
    journal: Path
    status: Path
    mailbox: Path
    statement: Path | None = None
    positions: Path | None = None
    clock: ClockSettings | None = None
    fills_by_hand: bool = False
    instruments: tuple[InstrumentSettings, ...] = ()
    portfolio: Path | None = None
    history: HistorySettings = HistorySettings()
    feeds: Annotated[tuple[Feed, ...], Field(min_length=1)]
    grace: Seconds = 5.0
    plausible: Plausibility = Plausibility()
    memory_bars: Annotated[int, Field(ge=1)] = 1_000
    expire: Seconds = 3_600.0
    limits: Limits
    switches: Switches
    rollout: Rollout = Rollout()
    broker: Broker | None = None
    alerts: AlertSettings = AlertSettings()
    health_port: Port | None = None

    @model_validator(mode="before")
    @classmethod
    def _as_before(cls, content: Any) -> Any:
        """Read the section `traderspost` of earlier versions as the broker of that kind."""
        if not isinstance(content, Mapping) or "traderspost" not in content:
            return content
        if "broker" in content:
            raise ValueError("broker and traderspost: both name the broker; keep the section broker")
        section = content["traderspost"]
        named = {"kind": "traderspost", **section} if isinstance(section, Mapping) else section
        return {name: each for name, each in content.items() if name != "traderspost"} | {"broker": named}

    @model_validator(mode="after")
    def _each_once(self) -> Self:
        symbols = [each.symbol for each in self.instruments]
        if not symbols and self.portfolio is None:
            raise ValueError("instruments: nothing is traded; list at least one, or give a portfolio")
        for symbol in symbols:
            if symbols.count(symbol) > 1:
                raise ValueError(f"instruments: {symbol} is listed twice; list it once")
        if sum(feed.kind == "replay" for feed in self.feeds) and len(self.feeds) > 1:
            raise ValueError("feeds: a replay is the only feed, since its time is that of its bars")
        return self

    @property
    def bands(self) -> Plausibility | None:
        """The band, None where it is off: a replay is of files, which research reads as they are."""
        return self.plausible if self.plausible.enabled and self.replay is None else None

    @property
    def kept_bars(self) -> int:
        """How many bars per series are kept at least; the band must be the same after a restart."""
        return max(self.memory_bars, self.plausible.bars + 1)

    @property
    def replay(self) -> ReplayFeedSettings | None:
        """The replay feed, None where bars are live."""
        first = self.feeds[0]
        return first if isinstance(first, ReplayFeedSettings) else None

    @property
    def versions(self) -> dict[str, str]:
        """The version to trade by symbol: `production`, or the pinned one."""
        return {each.symbol: each.version for each in self.instruments}

    @property
    def pins(self) -> dict[str, str]:
        """The pinned versions by symbol."""
        return {symbol: version for symbol, version in self.versions.items() if version != PRODUCTION}

    @property
    def policies(self) -> dict[str, Policy]:
        """The handover policy by symbol."""
        return {each.symbol: each.handover for each in self.instruments}

    @classmethod
    def load(cls, path: Path) -> LiveConfig:
        """Read a YAML file; ConfigError naming file, field, value and rule.

        Relative paths in a file of a desk folder are relative to that folder.
        """
        settings = validated(cls, read_yaml(path), where=str(path))
        desk = desk_folder(path.parent)
        found = settings if desk is None else anchored(settings, desk.root)
        return found if found.portfolio is None else found.with_lanes(path)

    def with_lanes(self, path: Path) -> LiveConfig:
        """Return the configuration with the lanes of its portfolio as instruments, sorted by symbol.

        path   of the file that it was read from. ConfigError where that lists other instruments or versions
        """
        portfolio = self.traded_portfolio()
        assert portfolio is not None
        lanes = {symbol: portfolio.lane(symbol).version or "" for symbol in portfolio.names}
        listed = {each.symbol: each for each in self.instruments}
        if self.instruments and self.versions != lanes:
            told, held = (
                ", ".join(f"{name} {each}" for name, each in sorted(of.items()))
                for of in (self.versions, lanes)
            )
            raise ConfigError(
                f"{path}: instruments are {told}, the lanes of {self.portfolio} are {held}; leave "
                "`instruments` out, or list the same"
            )
        instruments = tuple(
            listed.get(symbol, InstrumentSettings(symbol=symbol, version=version))
            for symbol, version in lanes.items()
        )
        return self.model_copy(update={"instruments": instruments})

    def traded_portfolio(self, book: InstrumentBook | None = None) -> PortfolioConfig | None:
        """Read the portfolio, None without one; ConfigError where it is wrong or trades no versions."""
        if self.portfolio is None:
            return None
        return _declared(self.portfolio, book or load_instruments())

    def require_mode(self, mode: Mode) -> None:
        """Raise ConfigError where the mode cannot be run with this configuration."""
        if mode != "paper" and self.broker is None:
            raise ConfigError(f"mode {mode}: no broker is configured; add the section broker")
        if mode == "live" and self.replay is not None:
            raise ConfigError("mode live: the feed is a replay of history; give a feed of live bars")
        if mode == "live":
            self.require_no_pin()
        reported = self.broker is not None and self.broker.reports_fills
        if mode == "live" and self.statement is None and not self.fills_by_hand and not reported:
            raise ConfigError(
                "mode live: no source of fills; set `statement`, or `fills_by_hand: true` and report "
                "them with lockstep orders fill"
            )
        if mode == "live" and self.clock is None:
            raise ConfigError(
                "mode live: no check of the clock; set `clock: {ntp: SERVER}`, "
                "`clock: {system: true}`, or `clock: {unchecked: REASON}`"
            )

    def require_no_pin(self) -> None:
        """Raise ConfigError where a version is pinned: only what is in production trades real money."""
        for symbol, version in self.pins.items():
            if traded_symbol(symbol) != symbol:
                raise ConfigError(
                    f"mode live: {symbol} is a member of an ensemble and trades {version}; one version per "
                    "instrument is in production, and nothing else trades real money: trade the ensemble in "
                    "mode paper or shadow"
                )
            raise ConfigError(
                f"mode live: {symbol} is pinned to {version}, which trades in paper and shadow only; promote "
                "it, remove `version` from live.yml and begin a new epoch"
            )


def _declared(path: Path, book: InstrumentBook) -> PortfolioConfig:
    """Read the portfolio that a desk trades; ConfigError where a lane trades a file and no version."""
    config = load_portfolio_config(path, book)
    for name in config.names:
        lane = config.lane(name)
        if lane.version is None:
            raise ConfigError(
                f"{path}: {name} trades the strategy file {lane.strategy}; a desk trades versions of "
                "the model store: register it, without a model where it has none, and give its version"
            )
    return config

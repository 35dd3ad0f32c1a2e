"""`LiveConfig`: what `configs/live.yml` says. Frozen; unknown fields are refused with the nearest name."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from lockstep.errors import ConfigError
from lockstep.live.brokers.traderspost import TradersPostConfig
from lockstep.live.clock_check import ClockSettings
from lockstep.live.handover import Policy
from lockstep.live.limits import Limits
from lockstep.live.messages import Mode
from lockstep.live.plausible import Plausibility
from lockstep.live.rollout import Rollout
from lockstep.live.switches import Switches
from lockstep.market.validation import read_yaml, validated
from lockstep.models.manifest import PRODUCTION, Version
from lockstep.monitoring.alerts import AlertRate

Seconds = Annotated[float, Field(ge=0, le=1e9, allow_inf_nan=False)]
Pause = Annotated[float, Field(gt=0, le=3_600, allow_inf_nan=False)]
Port = Annotated[int, Field(ge=0, le=65_535)]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class InstrumentSettings(_Part):
    """One traded instrument.

    version    `production`, or a pinned one such as v3, which trades in paper and shadow whatever is promoted
    handover   what happens to an open position when another version takes over
    """

    symbol: str
    version: Literal["production"] | Version = "production"
    handover: Policy = "manage_out"


class HistorySettings(_Part):
    """Files that warm up the windows: a data folder (None: the embedded bars) and a source's name."""

    data_dir: Path | None = None
    source: str | None = None


class ReplayFeedSettings(_Part):
    """History as a live feed, from the session date `start` to `end`; bars before `start` warm up.

    speed   how much faster than real time; None as fast as the engine takes them
    """

    kind: Literal["replay"] = "replay"
    start: date
    end: date | None = None
    speed: Annotated[float, Field(gt=0)] | None = None


class TailFeedSettings(_Part):
    """A growing CSV file of a declared source of instruments.yml; longer bars are made of its rows."""

    kind: Literal["tail"]
    symbol: str
    path: Path
    source: str
    interval: Pause = 1.0
    settle_seconds: Seconds | None = None


class HttpFeedSettings(_Part):
    """Bars or ticks posted to a loopback port; `base` by symbol: the timeframe posted, or `tick`."""

    kind: Literal["http"]
    port: Port = 8_750
    base: dict[str, str]
    token_file: Path | None = None
    patience_seconds: Pause = 10.0
    settle_seconds: Seconds | None = None


Feed = Annotated[ReplayFeedSettings | TailFeedSettings | HttpFeedSettings, Field(discriminator="kind")]


class AlertSettings(_Part):
    """Where alerts go: the log, and Discord, whose webhook stands in a file or an environment variable.

    bars_every   seconds within which irregular bars of one kind and series make one alert
    silent_after   seconds after which a scheduled bar that has not come is an alert; see `silence.py`
    """

    discord_url_file: Path | None = None
    discord_url_variable: str = "DISCORD_WEBHOOK_URL"
    discord: bool = False
    rate: AlertRate = AlertRate()
    bars_every: Seconds = 300.0
    silent_after: Seconds = 900.0


class LiveConfig(_Part):
    """Everything about a running desk; times in seconds, paths relative to the working folder.

    mode          paper: fills are simulated; shadow: so they are, and what would be sent is recorded;
                  live: orders leave, fills are reported
    store         model store; None: the default one
    journal       SQLite file; status   file that says what the engine is doing
    mailbox       folder of the operator's commands; statement   CSV of fills that the broker writes
    positions     CSV of positions that the broker's export replaces: what positions are reconciled with
    clock         how the clock is checked in mode live; see `clock_check.py`
    fills_by_hand   the operator reports fills with scripts/orders.py; mode live needs this or a statement
    grace         how long a bar set waits for its last bar
    plausible     the band outside of which a live bar is quarantined; see `plausible.py`
    memory_bars   bars per series that are kept to warm up a version that takes over
    expire        an order that could not leave for so long is not sent any more
    health_port   of `/health` and `/metrics` on the loopback address; None for none
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
    instruments: Annotated[tuple[InstrumentSettings, ...], Field(min_length=1)]
    history: HistorySettings = HistorySettings()
    feeds: Annotated[tuple[Feed, ...], Field(min_length=1)]
    grace: Seconds = 5.0
    plausible: Plausibility = Plausibility()
    memory_bars: Annotated[int, Field(ge=1)] = 1_000
    expire: Seconds = 3_600.0
    limits: Limits
    switches: Switches
    rollout: Rollout = Rollout()
    traderspost: TradersPostConfig | None = None
    alerts: AlertSettings = AlertSettings()
    health_port: Port | None = None

    @model_validator(mode="after")
    def _each_once(self) -> Self:
        symbols = [each.symbol for each in self.instruments]
        for symbol in symbols:
            if symbols.count(symbol) > 1:
                raise ValueError(f"instruments: {symbol} stands there twice; list it once")
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
        """Read a YAML file; ConfigError naming file, field, value and rule."""
        return validated(cls, read_yaml(path), where=str(path))

    def require_mode(self, mode: Mode) -> None:
        """Raise ConfigError where the mode cannot be run with this configuration."""
        if mode != "paper" and self.traderspost is None:
            raise ConfigError(f"mode {mode}: no broker is configured; add the section traderspost")
        if mode == "live" and self.replay is not None:
            raise ConfigError("mode live: the feed is a replay of history; give a feed of live bars")
        if mode == "live":
            self.require_no_pin()
        if mode == "live" and self.statement is None and not self.fills_by_hand:
            raise ConfigError(
                "mode live: no source of fills; give `statement`, or say `fills_by_hand: true` and report "
                "them with scripts/orders.py fill"
            )
        if mode == "live" and self.clock is None:
            raise ConfigError(
                "mode live: it is not said how the clock is checked; give `clock: {ntp: SERVER}`, "
                "`clock: {system: true}`, or `clock: {unchecked: REASON}`"
            )

    def require_no_pin(self) -> None:
        """Raise ConfigError where a version is pinned: only what is in production trades real money."""
        for symbol, version in self.pins.items():
            raise ConfigError(
                f"mode live: {symbol} is pinned to {version}, which trades in paper and shadow only; promote "
                "it, remove `version` from live.yml and begin a new epoch"
            )

"""Configuration shared by all families of strategies: frozen, keyword-only, unknown fields refused."""

from __future__ import annotations

import hashlib
import json
import math
import re
from abc import abstractmethod
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self

import numpy as np
import yaml
from pydantic import (
    AfterValidator,
    Field,
    SerializerFunctionWrapHandler,
    field_validator,
    model_serializer,
    model_validator,
)

from lockstep.errors import ConfigError
from lockstep.market.asof import MaxAge
from lockstep.market.bars import Floats
from lockstep.market.instrument import Instrument
from lockstep.market.sessions import Session
from lockstep.market.timeframe import Timeframe
from lockstep.settings import Grown, Settings, read_yaml, validated
from lockstep.strategy.decision import FAMILY, MAX_BARS, THRESHOLD, WINDOW_END, WINDOW_START
from lockstep.strategy.sizing import ANNUAL_VOLATILITY, EVERY_REGIME, FIXED, POINTS_AT_RISK, Exits, Sizing

ACCEPT_ALL = -math.inf
DEFAULT_FAMILY = "ibs"
REGIME_ID = "regime_200_0.5_14_252_0.8"


def _rising(bounds: tuple[float, float]) -> tuple[float, float]:
    if not bounds[0] <= bounds[1]:
        raise ValueError(f"bounds {list(bounds)}: the first must be <= the second")
    return bounds


def _spelled(text: str) -> str:
    try:
        return str(Timeframe.parse(text))
    except ConfigError as error:
        raise ValueError(str(error)) from error


Finite = Annotated[float, Field(allow_inf_nan=False)]
Bounds = Annotated[tuple[Finite, Finite], AfterValidator(_rising)]
ClockTime = Annotated[str, Field(pattern=r"^([01]\d|2[0-3]):[0-5]\d$")]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]


def _pair(field: str, written: object) -> str:
    return f"{json.dumps(field)}: {json.dumps(written, sort_keys=True)}"


class Filter(Settings):
    """An entry needs `feature` to be at least `min` and at most `max`; NaN always blocks."""

    feature: str
    min: Finite | None = None
    max: Finite | None = None
    side: Literal["long", "short", "both"] = "both"

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if self.min is None and self.max is None:
            raise ValueError(f"filter on {self.feature}: give min, max or both")
        _rising(self.bounds)
        return self

    @property
    def bounds(self) -> tuple[float, float]:
        """The inclusive bounds, infinite where none is given."""
        low = -math.inf if self.min is None else self.min
        return (low, math.inf if self.max is None else self.max)


class Distance(Settings):
    """A distance from the entry fill: `percent` of its price, or `atr` times the value of `feature`."""

    percent: Positive | None = None
    atr: Positive | None = None
    feature: str = "atr_14"

    @model_validator(mode="after")
    def _one_of_two(self) -> Self:
        if (self.percent is None) == (self.atr is None):
            raise ValueError("give either percent or atr")
        return self


def _regime_id(text: str) -> str:
    if not re.fullmatch(r"regime_[^%*]+", text):
        raise ValueError(f"must be an id of the feature regime without rank or product, such as {REGIME_ID}")
    return text


Part = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]


class RegimeFactors(Settings):
    """What a size is multiplied by in the regime that `feature` names at the decision, each 0 to 1.

    A factor only makes positions smaller. One of 0 trades nothing in that regime.

    >>> RegimeFactors(bear=0.5).factors
    (0.5, 1.0, 1.0, 1.0)
    """

    feature: Annotated[str, AfterValidator(_regime_id)] = REGIME_ID
    bull: Part = 1.0
    bear: Part = 1.0
    sideways: Part = 1.0
    high_volatility: Part = 1.0

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if set(self.factors) in ({0.0}, {1.0}):
            raise ValueError(f"all factors are {self.bull:g}: give one between or leave by_regime out")
        return self

    @property
    def factors(self) -> tuple[float, float, float, float]:
        """The factors in the order of the regime's codes: bear, sideways, bull, high volatility."""
        return (self.bear, self.sideways, self.bull, self.high_volatility)


class Size(Grown):
    """What all kinds of sizes share: `by_regime`, the part of it that is traded in each market regime."""

    LATER: ClassVar[frozenset[str]] = frozenset({"by_regime"})

    by_regime: RegimeFactors | None = None


class FixedSize(Size):
    """Always the same number of contracts."""

    kind: Literal["fixed"] = "fixed"
    contracts: Positive = 1.0


class RiskSize(Size):
    """Contracts such that a move of `feature` points is worth `risk` x `capital`."""

    kind: Literal["risk"]
    risk: Annotated[float, Field(gt=0, le=1)]
    feature: str = "atr_14"


class VolatilitySize(Size):
    """Contracts such that the position's yearly standard deviation is `target` x `capital`.

    `feature` is the yearly volatility of the instrument as a fraction of its price.
    """

    kind: Literal["volatility"]
    target: Annotated[float, Field(gt=0, le=5)]
    feature: str = "realised_vol_20_252"


class SessionWindow(Settings):
    """Entries are taken at bars that end within [start, end], wall clock of the session's timezone."""

    start: ClockTime
    end: ClockTime


class AgeLimits(Settings):
    """How old a value of another series may be: bars of an intraday series, days of a daily one."""

    bars: Annotated[int, Field(ge=0)] = 3
    days: Annotated[int, Field(ge=0)] = 4

    @property
    def limits(self) -> MaxAge:
        """The same as the market's type."""
        return MaxAge(bars=self.bars, days=self.days)


def ids_read_by(part: object) -> tuple[str, ...]:
    """Return the ids that a stop, a target, a size or `features` puts into the vector.

    >>> ids_read_by(Distance(atr=2.0)), ids_read_by(Distance(percent=1.0)), ids_read_by(FixedSize())
    (('atr_14',), (), ())
    >>> ids_read_by(RiskSize(kind="risk", risk=0.01, by_regime=RegimeFactors(bear=0.5)))
    ('atr_14', 'regime_200_0.5_14_252_0.8')
    """
    if isinstance(part, tuple):
        return part
    if isinstance(part, Distance):
        return (part.feature,) if part.atr else ()
    if not isinstance(part, Size):
        return ()
    own = (part.feature,) if isinstance(part, RiskSize | VolatilitySize) else ()
    return (*own, part.by_regime.feature) if part.by_regime else own


class StrategyConfig(Settings):
    """What all families share; a family's own class gives `family` its name as default.

    family      names the family; files that were written before there was a second one do not say it
    name        names the variant in reports
    timeframe   bars it decides on: `15min`, `1h`, `1d`
    capital     USD that position sizes and returns refer to; never the running equity
    filters     conditions on registry ids; an entry needs all of them
    features    further ids, recorded with each decision
    window      entry window; auto_close: exchange time from which the position is closed, intraday only
    max_bars    longest hold in bars, the bar of the entry fill included
    stop, target   protective orders that work at the broker from the fill on
    execution   `next_open`; `close` fills at the signal bar's close, for comparison with the literature only
    max_age     maximum age of other series' values

    >>> from lockstep.strategy.family import strategy_of
    >>> content = {"family": "ibs", "name": "mine", "timeframe": "1h", "stop": {"percent": 1.0}}
    >>> config = strategy_of(content, where="example")
    >>> isinstance(config, StrategyConfig), config.bars.minutes, config.stop.percent
    (True, 60, 1.0)
    """

    # Fingerprint of a family outside the package, whose code no other hash covers; set by `register`.
    family_code: ClassVar[tuple[str, ...]] = ()

    name: str
    family: str = DEFAULT_FAMILY
    timeframe: Annotated[str, AfterValidator(_spelled)] = "1d"
    capital: Positive = 100_000.0
    filters: tuple[Filter, ...] = ()
    features: tuple[str, ...] = ()
    window: SessionWindow | None = None
    auto_close: ClockTime | None = None
    max_bars: Annotated[int, Field(ge=1)] | None = None
    stop: Distance | None = None
    target: Distance | None = None
    size: Annotated[FixedSize | RiskSize | VolatilitySize, Field(discriminator="kind")] = FixedSize()
    execution: Literal["next_open", "close"] = "next_open"
    max_age: AgeLimits = AgeLimits()

    @field_validator("size", mode="before")
    @classmethod
    def _fixed_unless_said(cls, value: object) -> object:
        return {"kind": "fixed", **value} if isinstance(value, dict) else value

    @model_validator(mode="after")
    def _sessions_need_intraday_bars(self) -> Self:
        if self.bars.is_session and (self.window or self.auto_close):
            raise ValueError(
                "window and auto_close need an intraday timeframe; a daily bar is a whole session"
            )
        return self

    @model_serializer(mode="wrap")
    def _as_before(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        # Files and hashes of the first family are older than the field, and keep their content.
        content: dict[str, Any] = write(self)
        if self.family == DEFAULT_FAMILY:
            content.pop("family", None)
        return content

    @property
    @abstractmethod
    def signal_ids(self) -> tuple[str, ...]:
        """Ids that the family's own rules read, the first columns of the vector."""

    @property
    @abstractmethod
    def family_rules(self) -> tuple[float, ...]:
        """The family's slots of the rule array."""

    @property
    @abstractmethod
    def exit_slots(self) -> tuple[int, ...]:
        """Which of `family_rules`, counted from 0, `decide` reads with a position; the others while flat."""

    @property
    def bars(self) -> Timeframe:
        """The timeframe, parsed."""
        return Timeframe.parse(self.timeframe)

    @property
    def feature_ids(self) -> tuple[str, ...]:
        """Ids of the decision vector, in order, each once."""
        wanted = [*self.signal_ids, *(each.feature for each in self.filters)]
        for part in (self.stop, self.target, self.size):
            wanted += ids_read_by(part)
        return tuple(dict.fromkeys((*wanted, *self.features)))

    @classmethod
    def hashed_fields(cls) -> list[str]:
        """Return the fields whose values make the hash, in its order."""
        unwritten = {"family"} if cls.model_fields["family"].default == DEFAULT_FAMILY else set()
        return sorted(cls.model_fields.keys() - {"name"} - unwritten)

    @classmethod
    def spelled(cls, field: str, value: Any) -> str:
        """Return a field and its value as the hash reads them: `"max_bars": 5`."""
        written = cls.model_construct(**{field: value}).model_dump(mode="json", include={field})
        return _pair(field, written[field])

    @classmethod
    def meant_fields(cls) -> frozenset[str]:
        """Return the fields whose meaning is in the hash, and not how they are written."""
        return frozenset()

    @classmethod
    def meant_together(cls) -> tuple[tuple[str, ...], ...]:
        """Return groups of fields that say something together; a field may be in several."""
        return ()

    @classmethod
    def meaning_of(cls, values: Mapping[str, Any]) -> tuple[str, frozenset[str]]:
        """Return what the values of a group say, as a text that is equal for equal meaning, and their ids."""
        raise NotImplementedError(f"{cls.__name__} has no fields that say something together")

    @classmethod
    def hash_begun(cls) -> Any:
        """Return a SHA-256 that has read what stands before the values.

        `{...}` follows; of a family with `meant_together` then the text of each group, a line each, and the
        ids of the vector.
        """
        return hashlib.sha256(" ".join((cls.__name__, *cls.family_code, "")).encode())

    @property
    def config_hash(self) -> str:
        """SHA-256 (hex) of every value but the name, and of the code of a family of your own.

        A family may take what some fields mean in place of how they are written.
        """
        written = self.model_dump(mode="json", exclude={"name", *self.meant_fields()})
        digest = self.hash_begun()
        digest.update(f"{{{', '.join(_pair(*each) for each in sorted(written.items()))}}}".encode())
        ids = set[str]()
        for group in self.meant_together():
            text, read = self.meaning_of({field: getattr(self, field) for field in group})
            digest.update(text.encode())
            ids |= read
        digest.update(self.spelled_ids(ids).encode())
        return str(digest.hexdigest())

    @classmethod
    def spelled_ids(cls, ids: Iterable[str]) -> str:
        """Return the ids of a vector as the hash reads them, nothing for none."""
        return " ".join(sorted(ids))

    def _repr_html_(self) -> str:
        from lockstep import views

        return views.strategy(self)

    def to_yaml(self, *, defaults: bool = False) -> str:
        """Return the configuration as YAML that reads back as it; `defaults` spells them out."""
        content = self.model_dump(mode="json", exclude_defaults=not defaults, exclude_none=True)
        if self.family != DEFAULT_FAMILY:
            content = {"family": self.family, **content}
        return yaml.safe_dump(content, sort_keys=False, default_flow_style=None)

    @classmethod
    def load(cls, path: Path | str) -> Self:
        """Read a YAML file; ConfigError naming file, field, value and rule, with the nearest field name."""
        return validated(cls, read_yaml(Path(path)), where=str(path))

    def replaced(self, **changes: object) -> Self:
        """Return a validated copy with other values; ConfigError as for a file."""
        return validated(type(self), {**self.model_dump(), **changes}, where=self.name)

    def rules(self, session: Session, threshold: float = ACCEPT_ALL) -> Floats:
        """Return the flat rule array of `decide`; `threshold` is the model's, from its bundle."""
        rules = np.empty(FAMILY + len(self.family_rules))
        rules[THRESHOLD] = threshold
        rules[WINDOW_START] = session.minute_of(self.window.start) if self.window else -math.inf
        rules[WINDOW_END] = session.minute_of(self.window.end) if self.window else math.inf
        rules[MAX_BARS] = self.max_bars or math.inf
        rules[FAMILY:] = self.family_rules
        return rules

    def filter_rules(self) -> Floats:
        """Return the filters as a flat float64 (4 x filters,); see `decision.py`."""
        sides = {"long": 1.0, "short": -1.0, "both": 0.0}
        rows = [(self._column(each.feature), *each.bounds, sides[each.side]) for each in self.filters]
        return np.array(rows, dtype=np.float64).reshape(-1)

    def sizing_rules(self, instrument: Instrument) -> Sizing:
        """Return the tuple that `sizing.contracts` takes."""
        unit, step, by = instrument.multiplier, instrument.size_step, self.size.by_regime
        regime = (self._column(by.feature), *by.factors) if by else EVERY_REGIME
        if isinstance(self.size, FixedSize):
            return (FIXED, self.size.contracts, 0.0, unit, step, *regime)
        column = self._column(self.size.feature)
        if isinstance(self.size, RiskSize):
            return (POINTS_AT_RISK, self.capital * self.size.risk, column, unit, step, *regime)
        return (ANNUAL_VOLATILITY, self.capital * self.size.target, column, unit, step, *regime)

    def exit_rules(self) -> Exits:
        """Return the tuple that `sizing.entry_order` takes."""
        return (*self._distance(self.stop), *self._distance(self.target))

    def _distance(self, distance: Distance | None) -> tuple[float, float, float]:
        if distance is None:
            return (math.nan, 0.0, 0.0)
        if distance.percent is not None:
            return (distance.percent / 100.0, 0.0, 0.0)
        return (0.0, distance.atr or 0.0, self._column(distance.feature))

    def _column(self, feature_id: str) -> float:
        return float(self.feature_ids.index(feature_id))

"""`Instrument` and its costs: one definition for research, sweep and live."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

from pydantic import Field, field_validator, model_validator

from lockstep.market.margin import Margin
from lockstep.settings import Grown, suggestion

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]

_PER_UNIT = ("per_contract", "per_share")
_MEMBER = "#"
_COMMISSION_KEYS = (*_PER_UNIT, "basis_points", "minimum")
COMMISSION_EXAMPLES = (
    "{per_share: 0.005, minimum: 1.00}, {basis_points: 10}, {per_contract: 1.25}, or 0 if there is none"
)


def lane_name(symbol: str, member: str) -> str:
    """Return the name of a member's lane in an ensemble that trades `symbol`.

    >>> lane_name("ES", "fast"), traded_symbol("ES#fast"), traded_symbol("ES")
    ('ES#fast', 'ES', 'ES')
    """
    return f"{symbol}{_MEMBER}{member}"


def traded_symbol(lane: str) -> str:
    """Return the symbol that a lane trades: the lane's own name, without the member of an ensemble."""
    return lane.partition(_MEMBER)[0]


class Instrument(Grown):
    """One traded instrument. "Contract" also means one share or one coin.

    multiplier          USD per point and contract
    tick_size           smallest price step, in points
    size_step           smallest size step, in contracts (1 for futures, less for crypto)
    commission          USD per contract and side; only futures may omit it
    commission_basis_points   of the traded value, per side, on top of `commission`
    commission_minimum  USD per order, whatever its size
    slippage_ticks      ticks lost by every market or stop fill
    session             name of a session template
    pair                symbol that supplies the `*_pair` inputs of features, or None
    margin              what a broker asks for per contract, by date, rising; none is shipped
    proxy_of            symbol that a price index stands in for, or None; shown in every report

    A file writes the three commissions as one entry, a number (per contract) or a mapping:

    >>> Instrument(symbol="KO", multiplier=1, tick_size=0.01, session="NYSE",
    ...            commission={"per_share": 0.005, "minimum": 1.0}).commission_minimum
    1.0
    """

    LATER: ClassVar[frozenset[str]] = frozenset(("commission_basis_points", "commission_minimum", "margin"))

    symbol: str
    name: str = ""
    multiplier: Positive
    tick_size: Positive
    size_step: Positive = 1.0
    currency: str = "USD"
    commission: NotNegative = 1.25
    commission_basis_points: NotNegative = 0.0
    commission_minimum: NotNegative = 0.0
    slippage_ticks: NotNegative = 1.0
    session: str
    pair: str | None = None
    proxy_of: str | None = None
    margin: tuple[Margin, ...] = ()

    @model_validator(mode="before")
    @classmethod
    def _spread_commission(cls, values: Any) -> Any:
        """Write a mapping of commissions as the fields that it means."""
        if not isinstance(values, Mapping) or not isinstance(values.get("commission"), Mapping):
            return values
        parts = values["commission"]
        for key in parts:
            if key not in _COMMISSION_KEYS:
                raise ValueError(f"commission: unknown key {key!r}{suggestion(str(key), _COMMISSION_KEYS)}")
        per_unit = [parts[key] for key in _PER_UNIT if key in parts]
        if len(per_unit) > 1:
            raise ValueError("commission: per_contract and per_share are one number; give one of them")
        if not per_unit and "basis_points" not in parts:
            raise ValueError(f"commission: state the cost of an order, as {COMMISSION_EXAMPLES}")
        return {
            **values,
            "commission": per_unit[0] if per_unit else 0.0,
            "commission_basis_points": parts.get("basis_points", 0.0),
            "commission_minimum": parts.get("minimum", 0.0),
        }

    @field_validator("currency")
    @classmethod
    def _only_dollars(cls, value: str) -> str:
        if value != "USD":
            raise ValueError("accounts are in USD; other currencies are not converted")
        return value

    @field_validator("margin")
    @classmethod
    def _rising(cls, value: tuple[Margin, ...]) -> tuple[Margin, ...]:
        since = [each.since for each in value]
        if since != sorted(set(since)):
            raise ValueError("dates must rise: each entry holds from its date until the next one's")
        return value

    def named(self, lane: str) -> Instrument:
        """Return the instrument under the name of a lane that trades it: what the lane's records say."""
        return self if lane == self.symbol else self.model_copy(update={"symbol": lane})

    @property
    def costs(self) -> tuple[float, float, float, float, float, float]:
        """Return what a fill costs, as the kernels of `matching.py` take it.

        (multiplier, tick size, slippage in points, commission, rate as a fraction of the traded value, USD
        minimum per order)
        """
        return (
            self.multiplier,
            self.tick_size,
            self.slippage_ticks * self.tick_size,
            self.commission,
            self.commission_basis_points / 10_000,
            self.commission_minimum,
        )

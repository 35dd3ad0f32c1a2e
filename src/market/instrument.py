"""`Instrument` and its costs: one definition for research, sweep and live."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, field_validator

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class Instrument(BaseModel):
    """One traded instrument.

    multiplier          USD per point and contract
    tick_size           smallest price step, in points
    size_step           smallest size step, in contracts (1 for futures, less for crypto)
    commission          USD per contract and side
    slippage_ticks      ticks lost by every market or stop fill
    session             name of a session template
    pair                symbol that `*_pair` feature inputs come from, or None
    proxy_of            symbol that a price index stands in for, or None; shown in every report
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    symbol: str
    name: str = ""
    multiplier: Positive
    tick_size: Positive
    size_step: Positive = 1.0
    currency: str = "USD"
    commission: NotNegative = 1.25
    slippage_ticks: NotNegative = 1.0
    session: str
    pair: str | None = None
    proxy_of: str | None = None

    @field_validator("currency")
    @classmethod
    def _only_dollars(cls, value: str) -> str:
        if value != "USD":
            raise ValueError("accounts are in USD; other currencies are not converted")
        return value

    @property
    def costs(self) -> tuple[float, float, float, float]:
        """Return (multiplier, tick size, slippage in points, commission): what a fill costs."""
        return (self.multiplier, self.tick_size, self.slippage_ticks * self.tick_size, self.commission)

"""What may be posted: bars and ticks as JSON, each field checked."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, TypeVar

import numpy as np
from pydantic import AfterValidator, AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field

from lockstep.errors import ConfigError
from lockstep.market.bars import BAR_COLUMNS, Floats, Stamps
from lockstep.market.validation import parse_json, validated

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_YEARS = range(2000, 2250)


def _written(value: object) -> object:
    if not isinstance(value, str):
        raise ValueError("write it as text in ISO 8601, with an offset from UTC")
    return value


def _near(value: datetime) -> datetime:
    if value.year not in _YEARS:
        raise ValueError("must be a stamp from 2000 to 2249")
    return value


Number = Annotated[float, Field(strict=True, allow_inf_nan=False)]
Moment = Annotated[AwareDatetime, BeforeValidator(_written), AfterValidator(_near)]


class PostedBar(BaseModel):
    """One completed bar. end   when it was complete, ISO 8601 with an offset, to the microsecond."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    symbol: str
    timeframe: str
    end: Moment
    open: Number
    high: Number
    low: Number
    close: Number
    volume: Number


class PostedTick(BaseModel):
    """One trade.

    sequence   rises from trade to trade of a symbol: what is not above the newest was posted before
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    symbol: str
    stamp: Moment
    price: Number
    volume: Annotated[Number, Field(ge=0)]
    sequence: Annotated[int, Field(strict=True, ge=0)]


Posted = TypeVar("Posted", PostedBar, PostedTick)


def parse_posts(model: type[Posted], body: bytes) -> list[Posted]:
    """Return one or a list of posts; ConfigError, one line, for the first that is not as declared."""
    try:
        content = parse_json(body)
    except ConfigError as error:
        raise ConfigError(f"body: {error}") from error
    entries = content if isinstance(content, list) else [content]
    if not entries:
        raise ConfigError("body: an empty list: post at least one")
    return [validated(model, entry, where=f"entry {number}") for number, entry in enumerate(entries, 1)]


def nanoseconds(moment: datetime) -> int:
    """Return UTC nanoseconds of an aware moment."""
    return (moment - _EPOCH) // _MICROSECOND * 1_000


def columns_of(posts: Sequence[PostedBar]) -> tuple[Stamps, dict[str, Floats]]:
    """Return ends (n,) and BAR_COLUMNS (n,) of bars."""
    return _arrays([post.end for post in posts], posts, BAR_COLUMNS)


def tick_columns_of(posts: Sequence[PostedTick]) -> tuple[Stamps, dict[str, Floats]]:
    """Return stamps (n,), price and volume (n,) of trades."""
    return _arrays([post.stamp for post in posts], posts, ("price", "volume"))


def _arrays(
    moments: Sequence[datetime], posts: Sequence[Any], names: Sequence[str]
) -> tuple[Stamps, dict[str, Floats]]:
    stamps = np.array([nanoseconds(moment) for moment in moments], dtype=np.int64)
    return stamps, {
        name: np.array([getattr(post, name) for post in posts], dtype=np.float64) for name in names
    }

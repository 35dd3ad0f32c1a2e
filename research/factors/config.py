"""`FactorBook`: the factors that a desk measures itself by, from `configs/factors.yml`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from lockstep.market.config import shipped_config
from lockstep.settings import Settings, read_yaml, validated

FACTORS = "factors.yml"
LEAST_COINS = 6
LEAST_RANKED = 4

Symbol = Annotated[str, Field(min_length=1)]
Symbols = tuple[Symbol, ...]


class InstrumentFactor(Settings):
    """The simple return of an instrument from session to session, times `sign`."""

    kind: Literal["instrument"]
    symbol: Symbol
    sign: Literal[1, -1] = 1


class MomentumFactor(Settings):
    """12-1 momentum: what gained most from `bars` to `skip` sessions ago, less what gained least.

    Each half gets equal weights, ranked after every session for the next one. Jegadeesh and Titman, Returns
    to Buying Winners and Selling Losers, Journal of Finance 48 (1993), pp. 65-91, in its usual form of 12
    months without the newest.
    """

    kind: Literal["momentum"]
    symbols: Symbols
    bars: Annotated[int, Field(ge=2)] = 252
    skip: Annotated[int, Field(ge=0)] = 21

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.skip >= self.bars:
            raise ValueError(f"skip {self.skip}: must be below bars {self.bars}")
        return self


class SizeFactor(Settings):
    """Small less big: the half of the coins with the least traded value less the other half.

    The traded value is the mean of close x volume over `bars` sessions: capitalisations are in no price file.
    It needs six coins. Liu, Tsyvinski and Wu, Common Risk Factors in Cryptocurrency, Journal of Finance 77
    (2022), pp. 1133-1177, whose size is the capitalisation.
    """

    kind: Literal["size"]
    symbols: Symbols
    bars: Annotated[int, Field(ge=2)] = 21


class VolatilityFactor(Settings):
    """The change of the logarithm of the volatility of `bars` returns: what a rise of volatility does."""

    kind: Literal["volatility"]
    symbol: Symbol
    bars: Annotated[int, Field(ge=5)] = 21


class IlliquidityFactor(Settings):
    """The change of the logarithm of Amihud's illiquidity: mean of |return| / (close x volume).

    Amihud, Illiquidity and Stock Returns, Journal of Financial Markets 5 (2002), pp. 31-56, equation 1.
    """

    kind: Literal["illiquidity"]
    symbol: Symbol
    bars: Annotated[int, Field(ge=5)] = 21


class FileFactor(Settings):
    """A series of your own: a CSV file with a header and two columns, session date and move per session.

    It must have every session between its first and last that the instruments have.
    """

    kind: Literal["file"]
    path: str


Factor = Annotated[
    InstrumentFactor | MomentumFactor | SizeFactor | VolatilityFactor | IlliquidityFactor | FileFactor,
    Field(discriminator="kind"),
]


class FactorBook(Settings):
    """Declared factors by name, in the order of the file.

    >>> book = load_factors()
    >>> list(book.factors)[:3]
    ['market', 'momentum', 'volatility']
    """

    factors: Annotated[dict[str, Factor], Field(min_length=1)]

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        for problem in _problems(self.factors):
            raise ValueError(problem)
        return self


def _problems(factors: Mapping[str, Factor]) -> Iterator[str]:
    for name, each in factors.items():
        if isinstance(each, MomentumFactor | SizeFactor) and len(set(each.symbols)) < len(each.symbols):
            yield f"factors.{name}: a symbol is named twice; name each once"


def load_factors(path: Path | None = None) -> FactorBook:
    """Read a file of factors, the shipped one by default; ConfigError, naming the file, where it is wrong."""
    where = path or shipped_config(FACTORS)
    return validated(FactorBook, read_yaml(where), where=str(where))

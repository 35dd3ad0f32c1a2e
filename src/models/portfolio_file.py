"""`Portfolio`: which models trade together and within which limits, from `configs/training/portfolio.yml`.

The file is read, checked and shown. Nothing enforces its limits yet: the live engine obeys those in live.yml.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field

from lockstep.errors import ConfigError
from lockstep.market.config import InstrumentBook, shipped_config
from lockstep.models.manifest import PRODUCTION, Symbol
from lockstep.settings import Settings, read_yaml, validated

Fraction = Annotated[float, Field(gt=0, le=1)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
VersionOrProduction = Annotated[str, Field(pattern=r"^(v[1-9]\d*|production)$")]


class PortfolioPosition(Settings):
    """One instrument: the version that trades it, and its largest share of the capital."""

    version: VersionOrProduction = PRODUCTION
    weight_cap: Fraction = 1.0


class CorrelationLimits(Settings):
    """Largest correlation of two instruments' daily returns, over `window` sessions."""

    max_pairwise: Annotated[float, Field(ge=-1, le=1)] = 0.9
    window: Annotated[int, Field(ge=20)] = 252


class RiskLimits(Settings):
    """Limits of the whole portfolio.

    max_daily_loss             fraction of the cash; nothing is opened for the rest of the session
    max_total_position         sum of absolute notional values, in multiples of the cash
    max_portfolio_volatility   yearly standard deviation, fraction of the cash
    """

    max_daily_loss: Fraction
    max_total_position: Positive
    max_portfolio_volatility: Fraction


class Portfolio(Settings):
    """The portfolio file: `cash` in USD, instruments by symbol, limits.

    >>> from lockstep.market.config import shipped_config
    >>> from lockstep.models import load_portfolio
    >>> portfolio = load_portfolio(shipped_config("training/portfolio.yml"))
    >>> portfolio.cash, sorted(portfolio.instruments)
    (200000.0, ['COMP', 'SPX'])
    """

    cash: Positive
    instruments: Annotated[dict[Symbol, PortfolioPosition], Field(min_length=1)]
    correlation: CorrelationLimits = CorrelationLimits()
    risk: RiskLimits


def load_portfolio(path: Path | None = None, *, book: InstrumentBook | None = None) -> Portfolio:
    """Read a portfolio file (None: the one of this checkout or installation).

    With a `book`, symbols must be in it. ConfigError names the entry that is wrong, and the nearest key.
    """
    where = path or shipped_config("training/portfolio.yml")
    portfolio = validated(Portfolio, read_yaml(where), where=str(where))
    if book is not None:
        _require_known(portfolio, book, where)
    return portfolio


def _require_known(portfolio: Portfolio, book: InstrumentBook, where: Path) -> None:
    for symbol in portfolio.instruments:
        try:
            book.instrument(symbol)
        except ConfigError as error:
            raise ConfigError(f"{where}: {error}") from error

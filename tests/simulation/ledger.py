"""Independent accounting: exact fractions, from fills, costs and multipliers alone.

It shares no line with `matching.py`: cash is the capital, less what was paid for contracts, plus what they
brought, less commissions; equity is cash plus contracts at their price.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction

CENT = Fraction(1, 100)


@dataclass
class Ledger:
    """One account in USD. Contracts are signed; prices are points."""

    capital: Fraction
    multiplier: Fraction
    contracts: Fraction = Fraction(0)
    paid: Fraction = Fraction(0)
    fees: Fraction = Fraction(0)
    fills: int = 0

    @classmethod
    def of(cls, capital: float, multiplier: float) -> Ledger:
        """Open an account."""
        return cls(Fraction(capital), Fraction(multiplier))

    def fill(self, quantity: float, price: float, fee: float) -> None:
        """Book a fill: signed contracts, points, USD of the whole fill."""
        self.contracts += Fraction(quantity)
        self.paid += Fraction(quantity) * Fraction(price) * self.multiplier
        self.fees += Fraction(fee)
        self.fills += 1

    def equity(self, price: float) -> Fraction:
        """Return what the account is worth at a price, USD."""
        return self.capital - self.paid - self.fees + self.contracts * Fraction(price) * self.multiplier

    @property
    def realised(self) -> Fraction | None:
        """Return the cash of a flat account, None while contracts are held."""
        return self.capital - self.paid - self.fees if not self.contracts else None


@dataclass
class Books:
    """The ledgers of a desk by symbol."""

    ledgers: dict[str, Ledger] = field(default_factory=dict)

    def open(self, symbol: str, capital: float, multiplier: float) -> Ledger:
        """Return the ledger of a symbol, opened where there is none yet."""
        if symbol not in self.ledgers:
            self.ledgers[symbol] = Ledger.of(capital, multiplier)
        return self.ledgers[symbol]


def differs(exact: Fraction, told: float) -> bool:
    """Return whether an amount in USD is not the exact one to the cent."""
    return abs(exact - Fraction(told)) * 2 > CENT

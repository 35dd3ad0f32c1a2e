"""Instrument families: what counts as one market when trials are counted.

A variant that was tried on SPY has been tried on ES: the two move as one. The rule: an index belongs to the
instrument that it is a proxy of; an instrument belongs to the family that lists it in `families.yml`,
otherwise to a family of its own. A `pair` is another market and never makes a family.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from lockstep.errors import ConfigError
from lockstep.market.config import shipped_config
from lockstep.market.instrument import Instrument
from lockstep.market.validation import read_yaml, validated


class Families(BaseModel):
    """Members of each family by its name; a symbol stands in one family only."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    families: dict[str, tuple[str, ...]]

    @functools.cached_property
    def _family_by_symbol(self) -> Mapping[str, str]:
        found: dict[str, str] = {}
        for family, members in self.families.items():
            for symbol in members:
                if symbol in found:
                    raise ConfigError(
                        f"families.yml: {symbol} is in {found[symbol]} and in {family}; leave it in one"
                    )
                found[symbol] = family
        return found

    def of(self, instrument: Instrument) -> str:
        """Return the name of the family of `instrument`."""
        root = instrument.proxy_of or instrument.symbol
        return self._family_by_symbol.get(root, root)


def load_families(path: Path | None = None) -> Families:
    """Read `families.yml` (default: the one of this checkout or installation); ConfigError if it is wrong."""
    where = path or shipped_config("families.yml")
    return validated(Families, read_yaml(where), where=str(where))

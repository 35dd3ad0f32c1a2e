"""Instrument families: what counts as one market when trials are counted.

A variant that was tried on SPY has been tried on ES: the two move as one. The rule: an index belongs to the
instrument that it is a proxy of; an instrument belongs to the family that lists it, in the shipped
`families.yml` or under `families` in the user's instruments file, otherwise to a family of its own. A `pair`
is another market and never makes a family. The user's file adds members and families; it takes none away, so
that no trial is lost by it.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from pathlib import Path

from lockstep.errors import ConfigError
from lockstep.market.config import instruments_content, shipped_config, user_file
from lockstep.market.instrument import Instrument, traded_symbol
from lockstep.settings import Settings, read_yaml, validated


class Families(Settings):
    """Members of each family by its name; a symbol stands in one family only."""

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
        root = instrument.proxy_of or traded_symbol(instrument.symbol)
        return self.listed(root) or root

    def listed(self, symbol: str) -> str | None:
        """Return the name of the family that lists `symbol`, or None."""
        return self._family_by_symbol.get(symbol)


def load_families(path: Path | None = None) -> Families:
    """Read the shipped `families.yml` with the families of the user's instruments file on top of it.

    path   read this file alone

    ConfigError, naming the file, where one is wrong or moves a symbol to another family.
    """
    where = path or shipped_config("families.yml")
    families = validated(Families, read_yaml(where), where=str(where))
    own = user_file() if path is None else None
    added = instruments_content(own).get("families") if own else None
    if added is None:
        return families
    return _joined(families, validated(Families, {"families": added}, where=str(own)), f"{own}: families")


def _joined(families: Families, added: Families, where: str) -> Families:
    """Return the families of both; ConfigError where one symbol would be in two."""
    found = dict(families.families)
    for family, members in added.families.items():
        for symbol in members:
            other = families.listed(symbol)
            if other not in (None, family):
                raise ConfigError(f"{where}.{family}: {symbol} is in {other} already; leave it there")
        found[family] = tuple(dict.fromkeys((*found.get(family, ()), *members)))
    return Families(families=found)

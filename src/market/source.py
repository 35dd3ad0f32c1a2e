"""`Source`: what a data file does not say about itself."""

from __future__ import annotations

from datetime import date
from fnmatch import fnmatchcase
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator, model_validator

from lockstep.errors import ConfigError, DataError
from lockstep.market.bars import Adjustment
from lockstep.market.session_template import known_timezone
from lockstep.market.timeframe import Timeframe

SUFFIXES = (".csv", ".csv.gz", ".parquet")
TICK = "tick"

StampKind = Literal["open", "close", "session_date", "trade"]


def _timeframe(value: object) -> object:
    if isinstance(value, Timeframe) or value is None:
        return value
    try:
        return None if value == TICK else Timeframe.parse(str(value))
    except ConfigError as error:
        raise ValueError(str(error)) from error


class Source(BaseModel):
    """A kind of data file.

    folder       name (or pattern) of the folder the files lie in; or
    package      name of an installed package that carries them
    file         file name without suffix, {symbol} stands for the symbol; .csv, .csv.gz or .parquet
    symbols      patterns of the symbols it holds
    timeframe    1min, 1h, 1d …; None (spelled `tick`) for trades
    stamp        what a stamp means: the bar's `open`, its `close`, its `session_date`, or one `trade`
    timezone     of stamps without an offset; without it such stamps are refused
    stamp_format strptime format of stamps that are not ISO 8601
    session      name of the session template
    adjustment   how rolls and dividends were taken out: `none`, by `difference` or by `ratio`
    usable_from  bars before it are left out unless they are asked for
    """

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)

    name: str
    folder: str | None = None
    package: str | None = None
    file: str = "{symbol}_bt"
    symbols: Annotated[tuple[str, ...], Field(min_length=1)] = ("*",)
    timeframe: Annotated[Timeframe | None, BeforeValidator(_timeframe)]
    stamp: StampKind
    timezone: str | None = None
    stamp_format: str | None = None
    session: str
    adjustment: Adjustment
    usable_from: date | None = None

    @field_validator("timezone")
    @classmethod
    def _is_zone(cls, value: str | None) -> str | None:
        return None if value is None else known_timezone(value)

    @model_validator(mode="after")
    def _is_consistent(self) -> Source:
        if (self.folder is None) == (self.package is None):
            raise ValueError("give either folder or package")
        daily = self.timeframe is not None and self.timeframe.is_session
        if daily != (self.stamp == "session_date"):
            raise ValueError(f"stamp {self.stamp!r}: 1d files, and only they, are stamped session_date")
        if (self.timeframe is None) != (self.stamp == "trade"):
            raise ValueError(f"stamp {self.stamp!r}: tick files, and only they, are stamped trade")
        return self

    @property
    def spelled_timeframe(self) -> str:
        """The timeframe as configuration files spell it."""
        return TICK if self.timeframe is None else str(self.timeframe)

    def holds(self, symbol: str) -> bool:
        """Whether files of `symbol` may belong to this source."""
        return any(fnmatchcase(symbol, pattern) for pattern in self.symbols)

    def matches(self, folder: Path | None) -> bool:
        """Whether the source describes files in `folder`; None means installed packages."""
        if folder is None or self.folder is None:
            return folder is None and self.folder is None
        return fnmatchcase(folder.resolve().name, self.folder)

    def find(self, symbol: str, folder: Path | None) -> Path | None:
        """Return the file of `symbol`, or None; DataError where there are several."""
        root = folder if self.package is None else package_folder(self.package)
        if root is None:
            return None
        stem = self.file.format(symbol=symbol)
        found = [path for suffix in SUFFIXES if (path := root / f"{stem}{suffix}").is_file()]
        if len(found) > 1:
            names = ", ".join(path.name for path in found)
            raise DataError(f"{root}: {names}: one file per symbol and source; remove all but one")
        return found[0] if found else None


def package_folder(name: str) -> Path | None:
    """Return the folder of an installed package without importing it, or None."""
    spec: Any = find_spec(name)
    if spec is None or not spec.submodule_search_locations:
        return None
    return Path(spec.submodule_search_locations[0])

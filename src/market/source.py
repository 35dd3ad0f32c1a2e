"""`Source`: what a data file does not say about itself."""

from __future__ import annotations

import codecs
import os
import re
from collections.abc import Mapping
from datetime import date
from fnmatch import fnmatchcase
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, ConfigDict, Field, field_validator, model_validator

from lockstep.errors import ConfigError, DataError
from lockstep.market.bars import BAR_COLUMNS, Adjustment
from lockstep.market.continuous import MONTHS, in_order, table_path
from lockstep.market.reading.layouts import BY_NUMBER, PRESETS, with_preset
from lockstep.market.session_template import known_timezone
from lockstep.market.timeframe import Timeframe
from lockstep.settings import Grown, suggestion

SUFFIXES = (".csv", ".csv.gz", ".parquet")
TICK = "tick"
STAMP = "datetime"
_OUR_COLUMNS = (STAMP, *BAR_COLUMNS, "price")

StampKind = Literal["open", "close", "session_date", "trade"]


def _timeframe(value: object) -> object:
    if isinstance(value, Timeframe) or value is None:
        return value
    try:
        return None if value == TICK else Timeframe.parse(str(value))
    except ConfigError as error:
        raise ValueError(str(error)) from error


def _listed(value: object) -> object:
    """Return one name, or one number, as a list of it."""
    return (value,) if isinstance(value, str | int) else value


def _named_character(value: object) -> object:
    """Return the character that YAML cannot show, or shows as two between single quotes."""
    return {"tab": "\t", "\\t": "\t", "space": " "}.get(value, value) if isinstance(value, str) else value


Names = Annotated[tuple[str | int, ...], BeforeValidator(_listed), Field(min_length=1)]
Character = Annotated[str, Field(min_length=1, max_length=1)]


class Source(Grown):
    """A kind of data file.

    folder       name (or pattern) of the folder the files lie in; or
    package      name of an installed package that carries them
    file         file name without suffix, {symbol} stands for the symbol. With {contract} in it, such as
                 `{symbol}{contract}_bt`, each file is one contract, H24 or H2024, and the roll table beside
                 them, `rolls/<SYMBOL>.csv`, says which is traded when
    months       letters of the delivery months that are traded, such as HMUZ; empty: all there are files of
    suffix       what the name may end in, beside .csv, .csv.gz and .parquet; suffixes match in any case
    symbols      patterns of the symbols it holds
    timeframe    1min, 1h, 1d …; None (spelled `tick`) for trades
    stamp        what a stamp means: the bar's `open`, its `close`, its `session_date`, or one `trade`
    timezone     of stamps without an offset; without it such stamps are refused
    stamp_format strptime format of stamps that are not ISO 8601
    epoch        stamps are numbers: seconds (s), ms, us or ns since 1970 UTC
    session      name of the session template; empty: that of each instrument
    adjustment   how rolls and dividends were taken out: `none`, by `difference` or by `ratio`. Of contracts:
                 `none` trades their own prices, `difference` makes one series of levels that never jump
    usable_from  bars before it are left out unless they are asked for

    How the file is laid out:

    like         preset of a vendor, see `layouts.PRESETS`; every key of the entry overrides it
    columns      our name to theirs, or to several: a date and a time, volumes that are added up. Without a
                 header, columns are numbered from 1
    volume       `none`: the file has no volume, and it is 0
    header       whether the first line names the columns
    separator    one character between columns, or `tab` or `space`; default: comma
    decimal      what separates decimals; default: point
    thousands    what groups digits, if anything does
    scale        factor that makes prices of the file's numbers: 0.01 where they are cents
    encoding     of the text; default: UTF-8, or UTF-16 where the file begins with its mark
    order        `rising`: a stamp that falls is a fault; `any`: rows are sorted
    select       column to the value of the rows that belong to this series
    ignore       columns that tell rows apart, and are knowingly not used
    max_rejected share of the rows that `quarantine` may reject before it refuses the file, 0 … 1; default:
                 one row in a hundred, and three in a file of any length
    """

    LATER: ClassVar[frozenset[str]] = frozenset(
        (
            "suffix", "epoch", "columns", "volume", "header", "separator", "decimal", "thousands", "scale",
            "encoding", "order", "select", "ignore", "max_rejected", "months",
        )
    )  # fmt: skip

    model_config = ConfigDict(arbitrary_types_allowed=True)

    name: str
    # What a preset says is in the other fields: it is written out there.
    like: str | None = Field(default=None, exclude=True)
    folder: str | None = None
    package: str | None = None
    file: str = "{symbol}_bt"
    months: Annotated[str, Field(pattern=rf"^[{MONTHS}]*$")] = ""
    suffix: Annotated[str, Field(pattern=r"^\.[^/]+$")] | None = None
    symbols: Annotated[tuple[str, ...], Field(min_length=1)] = ("*",)
    timeframe: Annotated[Timeframe | None, BeforeValidator(_timeframe)]
    stamp: StampKind
    timezone: str | None = None
    stamp_format: str | None = None
    epoch: Literal["s", "ms", "us", "ns"] | None = None
    session: str = ""
    adjustment: Adjustment
    usable_from: date | None = None
    columns: Mapping[str, Names] = Field(default_factory=dict)
    volume: Literal["none"] | None = None
    header: bool = True
    separator: Annotated[Character, BeforeValidator(_named_character)] = ","
    decimal: Literal[".", ","] = "."
    thousands: Annotated[Character | None, BeforeValidator(_named_character)] = None
    scale: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 1.0
    encoding: str = "utf-8"
    order: Literal["rising", "any"] = "rising"
    select: Mapping[str, str] = Field(default_factory=dict)
    ignore: Annotated[tuple[str, ...], BeforeValidator(_listed)] = ()
    max_rejected: Annotated[float, Field(ge=0, le=1)] | None = None

    @model_validator(mode="before")
    @classmethod
    def _with_preset(cls, values: object) -> object:
        if not isinstance(values, Mapping) or values.get("like") is None:
            return values
        if values["like"] not in PRESETS:
            raise ValueError(f"no such preset{suggestion(str(values['like']), PRESETS)}")
        timeframe = _timeframe(values.get("timeframe"))
        return with_preset(values, daily=isinstance(timeframe, Timeframe) and timeframe.is_session)

    @field_validator("timezone")
    @classmethod
    def _is_zone(cls, value: str | None) -> str | None:
        return None if value is None else known_timezone(value)

    @field_validator("columns")
    @classmethod
    def _are_our_columns(cls, value: Mapping[str, Names]) -> Mapping[str, Names]:
        for name, theirs in value.items():
            if name not in _OUR_COLUMNS:
                raise ValueError(f"{name!r} is none of our columns{suggestion(name, _OUR_COLUMNS)}")
            if len(theirs) > 1 and name not in (STAMP, "volume"):
                raise ValueError(f"{name!r}: only {STAMP} and volume may be made of several columns")
        return value

    @field_validator("encoding")
    @classmethod
    def _is_encoding(cls, value: str) -> str:
        try:
            return codecs.lookup(value).name
        except LookupError as error:
            raise ValueError("no such encoding; usual ones are utf-8, utf-16, cp1252 and latin-1") from error

    @field_validator("select", mode="before")
    @classmethod
    def _as_text(cls, value: object) -> object:
        return {str(k): str(v) for k, v in value.items()} if isinstance(value, Mapping) else value

    @model_validator(mode="after")
    def _is_consistent(self) -> Source:
        if (self.folder is None) == (self.package is None):
            raise ValueError("give either folder or package")
        daily = self.timeframe is not None and self.timeframe.is_session
        if daily != (self.stamp == "session_date"):
            raise ValueError(f"stamp {self.stamp!r}: 1d files, and only they, are stamped session_date")
        if (self.timeframe is None) != (self.stamp == "trade"):
            raise ValueError(f"stamp {self.stamp!r}: tick files, and only they, are stamped trade")
        self._require_one_layout()
        self._require_contracts()
        return self

    def _require_contracts(self) -> None:
        if not self.has_contracts:
            if self.months:
                raise ValueError("months: only files of contracts have them; put {contract} into file")
            return
        if self.timeframe is None:
            raise ValueError(
                "file {contract}: contracts are read as bars, not as ticks; make bars of them first"
            )
        if self.adjustment == "ratio":
            raise ValueError("adjustment ratio: contracts are none or difference; declare one of the two")
        if self.folder is None:
            raise ValueError("file {contract}: contracts lie in a folder; give it in place of the package")

    def _require_one_layout(self) -> None:
        if self.epoch is not None and self.stamp_format is not None:
            raise ValueError("epoch: stamps are numbers or follow a stamp_format; give one of the two")
        if self.thousands is not None and self.thousands == self.decimal:
            raise ValueError(f"thousands {self.thousands!r}: decimal is the same; give both")
        if self.volume is not None and "volume" in self.columns:
            raise ValueError("volume none: columns names one; give one of the two")
        for name, theirs in self.columns.items():
            numbered = {isinstance(each, int) for each in theirs}
            if self.header and True in numbered:
                raise ValueError(f"columns.{name} {theirs[0]}: columns have numbers only with header: false")
            if not self.header and False in numbered:
                raise ValueError(f"columns.{name} {theirs[0]!r}: without a header, give its number from 1")

    def theirs(self, name: str) -> tuple[str, ...] | None:
        """Return what the file calls one of our columns, lower case; None where nothing is declared.

        Where several names are returned, their values belong together. Columns of a file without a header
        are called "1", "2" … .
        """
        declared = self.columns.get(name)
        if declared is None and not self.header and not self.columns:
            ticks = {STAMP: 1, "price": 2, "volume": 3}
            number = (ticks if self.timeframe is None else BY_NUMBER).get(name)
            declared = None if number is None else (number,)
        return None if declared is None else tuple(str(each).strip().lower() for each in declared)

    @property
    def spelled_timeframe(self) -> str:
        """The timeframe as configuration files spell it."""
        return TICK if self.timeframe is None else str(self.timeframe)

    def holds(self, symbol: str) -> bool:
        """Whether files of `symbol` may belong to this source."""
        return any(fnmatchcase(symbol, pattern) for pattern in self.symbols)

    def require_for(self, symbol: str, folder: Path | None) -> None:
        """Raise ConfigError unless bars of `symbol` in `folder` (None: in packages) may be of this source."""
        if not self.holds(symbol):
            held = ", ".join(self.symbols)
            raise ConfigError(f"source {self.name}: holds {held}, not {symbol}; name a source that holds it")
        if self.package is not None and folder is not None:
            rule = f"it comes with the package {self.package} and reads no folder; drop one of the two"
            raise ConfigError(f"source {self.name} and data folder {folder}: {rule}")
        if self.package is None and folder is None:
            raise ConfigError(f"source {self.name}: reads files of a folder; give the data folder")

    def matches(self, folder: Path | None) -> bool:
        """Whether the source describes files in `folder`; None means installed packages."""
        if folder is None or self.folder is None:
            return folder is None and self.folder is None
        return fnmatchcase(folder.resolve().name, self.folder)

    @property
    def has_contracts(self) -> bool:
        """Whether each file is one contract of a future."""
        return "{contract}" in self.file

    def stem(self, symbol: str) -> str:
        """Return what the file of `symbol` is called, without its suffix."""
        return self.file.format(symbol=symbol, contract="*")

    def contracts(self, symbol: str, folder: Path) -> dict[str, Path]:
        """Return the files of a symbol's contracts by name, the earliest first, in the declared months.

        DataError for a name that does not tell the delivery, and for two files of one contract.
        """
        before, _, after = self.file.format(symbol=symbol, contract="{contract}").partition("{contract}")
        name = re.compile(rf"{re.escape(before)}([{MONTHS}]\d+){re.escape(after)}", re.IGNORECASE)
        found: dict[str, Path] = {}
        for path in sorted(folder.iterdir()):
            end = next((each for each in self._longest_first if path.name.lower().endswith(each)), None)
            match = None if end is None else name.fullmatch(path.name[: -len(end)])
            if match is None or not path.is_file():
                continue
            contract = f"{symbol}{match[1].upper()}"
            if contract in found:
                raise DataError(
                    f"{folder}: {found[contract].name}, {path.name}: one contract; remove one of them"
                )
            found[contract] = path
        ordered = in_order(list(found), symbol, str(folder))
        wanted = [each for each in ordered if not self.months or each.removeprefix(symbol)[0] in self.months]
        return {each: found[each] for each in wanted}

    @property
    def _longest_first(self) -> list[str]:
        return sorted(self.suffixes, key=len, reverse=True)

    def find(self, symbol: str, folder: Path | None) -> Path | None:
        """Return the file of `symbol`, or None; DataError where there are several.

        Of contracts, it is the roll table; DataError where there are contracts without one.
        """
        root = folder if self.package is None else package_folder(self.package)
        if root is None:
            return None
        if self.has_contracts:
            return self._table(symbol, root)
        found = _files(root / self.file.format(symbol=symbol), self.suffixes)
        if len(found) > 1:
            names = ", ".join(path.name for path in found)
            raise DataError(f"{root}: {names}: one file per symbol and source; remove all but one")
        return found[0] if found else None

    def _table(self, symbol: str, folder: Path) -> Path | None:
        path = table_path(folder, symbol)
        if path.is_file() or not self.contracts(symbol, folder):
            return path if path.is_file() else None
        raise DataError(
            f"{path}: no such file, and {folder} holds contracts of {symbol}; `lockstep data "
            f"rolls build --symbol "
            f"{symbol} --data-dir {folder} --source {self.name}` makes it"
        )

    @property
    def suffixes(self) -> tuple[str, ...]:
        """What the name of a file may end in, lower case."""
        own = () if self.suffix is None else (self.suffix.lower(), f"{self.suffix.lower()}.gz")
        return tuple(dict.fromkeys((*SUFFIXES, *own)))


def _files(stem: Path, suffixes: tuple[str, ...]) -> list[Path]:
    """Return the files that are called `stem` with one of the suffixes, in any case."""
    wanted = {f"{stem.name}{suffix}".lower(): suffix for suffix in suffixes}
    try:
        with os.scandir(stem.parent) as entries:
            names = [each.name for each in entries if each.name.lower() in wanted and each.is_file()]
    except OSError:
        return []
    exact = [name for name in names if name[: len(stem.name)] == stem.name]
    return [stem.parent / name for name in sorted(exact or names)]


def package_folder(name: str) -> Path | None:
    """Return the folder of an installed package without importing it, or None."""
    spec: Any = find_spec(name)
    if spec is None or not spec.submodule_search_locations:
        return None
    return Path(spec.submodule_search_locations[0])

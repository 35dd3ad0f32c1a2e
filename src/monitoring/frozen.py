"""What a bundle is held to while it trades, frozen at validation: one sealed file for each bundle.

A desk does not choose its bar after seeing the game. So everything that a monitor compares with is made once,
when the bundle is validated (`research.model_validation.reference`), written as a sealed file (`evidence.py`)
and attached to the version as evidence of kind `reference`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import date
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any

from pydantic import (
    BeforeValidator,
    Field,
    PlainSerializer,
    SerializerFunctionWrapHandler,
    model_serializer,
)

from lockstep.errors import ConfigError, DataError, NoReference, ParityError, UnknownModel
from lockstep.models.content import file_content, sha256_of
from lockstep.models.evidence import REFERENCE
from lockstep.models.manifest import VETO, Evidence
from lockstep.models.store import ModelStore
from lockstep.monitoring.evidence import DIGEST, digest_of, read_sealed, sealed
from lockstep.monitoring.feature_history import FeatureHistory, HistoryContent
from lockstep.monitoring.reference import MonitoringReference
from lockstep.monitoring.regimes import RegimeReference
from lockstep.settings import Settings, validated

KIND, SCHEMA = "frozen reference", 1
_SEAL = ("kind", "schema", DIGEST)

Measured = Annotated[
    float,
    BeforeValidator(lambda value: math.nan if value is None else value),
    PlainSerializer(lambda value: None if math.isnan(value) else value),
]


class ExpectedMeasures(Settings):
    """What the out-of-sample account did at validation, by the names of `lockstep.metrics`; NaN: undefined.

    first, last              its first and last session, ISO dates
    sessions, trades         how many; trades are closed ones
    capital                  notional, money
    cagr, sharpe             a year; max_drawdown_fraction  of the peak, >= 0; win_rate  of closed trades
    trades_per_year          of the calendar
    worst_session            smallest return of a session on the capital; worst_session_pnl  the same in money
    worst_trade_pnl          smallest net result of a trade, money
    brier                    mean of (p - y)^2 over all out-of-sample signals, [0, 1]; None without a model,
                             and in references of releases that did not record it, which keep their digest

    >>> found = ExpectedMeasures(
    ...     first="2020-01-02", last="2020-06-30", sessions=124, trades=1, capital=1e5, cagr=0.02, sharpe=1.1,
    ...     max_drawdown_fraction=0.01, win_rate=1.0, trades_per_year=2.0, worst_session=-0.004,
    ...     worst_session_pnl=-400.0, worst_trade_pnl=950.0)
    >>> found.model_dump(mode="json")["cagr"]
    0.02
    """

    first: date
    last: date
    sessions: Annotated[int, Field(ge=0)]
    trades: Annotated[int, Field(ge=0)]
    capital: Annotated[float, Field(gt=0)]
    cagr: Measured
    sharpe: Measured
    max_drawdown_fraction: Measured
    win_rate: Measured
    trades_per_year: Measured
    worst_session: Measured
    worst_session_pnl: Measured
    worst_trade_pnl: Measured
    brier: Annotated[float, Field(ge=0.0, le=1.0)] | None = None

    @model_serializer(mode="wrap")
    def _written(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        found: dict[str, Any] = write(self)
        if self.brier is None:
            del found["brier"]
        return found


class _Content(Settings):
    """The file without kind, schema and digest."""

    bundle: Annotated[str, Field(min_length=1)]
    history_end: date
    outcomes: MonitoringReference
    features: HistoryContent | None
    probabilities: HistoryContent | None
    regime: RegimeReference | None
    expected: ExpectedMeasures
    absent: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, eq=False)
class FrozenReference:
    """What a bundle promised, and the history that it was validated on.

    bundle          SHA-256 of the bundle
    outcomes        floors, estimates and thresholds of the streams
    features        the decision vector at the last decision of each session, over all bars known then; None
                    where there is none
    probabilities   of the walk-forward out of sample, the last signal of each session; None without a model
    regime          of the traded series' session returns; None where they are too few
    expected        measures of the out-of-sample account
    history_end     last session that was known, ISO date
    absent          one sentence for each part that is None although there might have been one

    Two are equal where their `digest` is. DataError where a part is of another bundle.
    """

    bundle: str
    outcomes: MonitoringReference
    features: FeatureHistory | None
    probabilities: FeatureHistory | None
    regime: RegimeReference | None
    expected: ExpectedMeasures
    history_end: str
    absent: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.outcomes.bundle != self.bundle:
            raise DataError(
                f"frozen reference of bundle {self.bundle[:12]}: its streams are of bundle "
                f"{self.outcomes.bundle[:12]}; freeze it again"
            )

    @cached_property
    def content(self) -> dict[str, Any]:
        """All of it as plain JSON values; equal references give equal content."""
        features, probabilities = (
            None if each is None else each.content for each in (self.features, self.probabilities)
        )
        written = _Content(
            bundle=self.bundle,
            history_end=date.fromisoformat(self.history_end),
            outcomes=self.outcomes,
            features=features,
            probabilities=probabilities,
            regime=self.regime,
            expected=self.expected,
            absent=self.absent,
        )
        return {"kind": KIND, "schema": SCHEMA, **written.model_dump(mode="json")}

    @property
    def digest(self) -> str:
        """SHA-256 (hex) of all of it."""
        return digest_of(self.content)

    def text(self) -> str:
        """Return the sealed file's text; equal references give equal bytes."""
        return sealed(self.content)


def read_frozen(path: Path, *, bundle: str) -> FrozenReference:
    """Return the reference in a sealed file.

    ParityError where it is missing, was edited, is of another kind or schema, of another `bundle`, or holds
    what is no reference.
    """
    content = read_sealed(path, kind=KIND, schema=SCHEMA)
    try:
        rest = {name: each for name, each in content.items() if name not in _SEAL}
        found = _reference(validated(_Content, rest, where="its content"))
    except (ConfigError, DataError) as error:
        raise ParityError(f"{path}: {error}") from error
    if found.bundle != bundle:
        raise ParityError(
            f"{path}: is the reference of bundle {found.bundle[:12]}, not of {bundle[:12]}; validate the "
            "bundle that trades"
        )
    return found


def _reference(content: _Content) -> FrozenReference:
    features, probabilities = (
        None if each is None else FeatureHistory.of_content(each)
        for each in (content.features, content.probabilities)
    )
    return FrozenReference(
        bundle=content.bundle,
        outcomes=content.outcomes,
        features=features,
        probabilities=probabilities,
        regime=content.regime,
        expected=content.expected,
        history_end=content.history_end.isoformat(),
        absent=content.absent,
    )


def frozen_in(store: ModelStore, symbol: str, sha256: str, name: str = VETO) -> FrozenReference:
    """Return the reference of the bundle with this hash in a store: that of its newest evidence.

    NoReference, with the reason and the way out, where the store knows no version of that hash, it has no
    such evidence, or the file is gone, was changed, or is of another bundle.
    """
    evidence, version = _evidence(store, symbol, sha256, name)
    path = store.folder / evidence.file
    what, anew = f"{symbol} {version}: reference {path}", f"or validate {version} again"
    if not evidence.file:
        raise NoReference(f"{symbol} {version}: its reference names no file; validate {version} again")
    try:
        content = file_content(path)
    except OSError as error:
        raise NoReference(f"{what}: {error.strerror}; restore the file, {anew}") from error
    if sha256_of(content) != evidence.file_sha256:
        raise NoReference(
            f"{what}: is not the file that was attached (SHA-256 {sha256_of(content)[:12]}, attached was "
            f"{evidence.file_sha256[:12] or 'none'}); restore it, {anew}"
        )
    try:
        return read_frozen(path, bundle=sha256)
    except ParityError as error:
        raise NoReference(str(error)) from error


def _evidence(store: ModelStore, symbol: str, sha256: str, name: str) -> tuple[Evidence, str]:
    """Return the newest reference of the version with this hash, and the version."""
    try:
        versions = store.manifest().model(symbol, name).versions
    except UnknownModel as error:
        raise NoReference(f"{error}: {store.folder} has no reference of it") from error
    for version, entry in versions.items():
        if entry.sha256 != sha256:
            continue
        found = [each for each in entry.evidence if each.kind == REFERENCE and each.passed]
        if not found:
            raise NoReference(
                f"{symbol} {version}: has no reference; validate it again: lockstep validate {symbol} "
                f"--version {version}"
            )
        return found[-1], version
    raise NoReference(
        f"{symbol}: no version in {store.folder} has SHA-256 {sha256[:12]}; name the store that it came from"
    )

"""Columns of models: what a bundle answers at a bar, as one more feature id.

    model:COMP@v3#3f2a9c1b04de     version 3 of COMP in the store, by the first 12 digits of its SHA-256
    model:COMP_regime@v1#…         of the model `regime` of COMP

The value is what the bundle's pipeline answers to the bundle's own feature ids, on its own series whatever is
traded; NaN where one of these is NaN. A veto answers with its probability, a model of the zoo with a
probability, a state (0 or 1) or a value (`tasks.py`). A value is held within the range of the labels that the
model was fitted on, here and therefore in research, sweep, live engine and certificate alike. The bundle is
verified as it is wherever one is used, and its answers have the same bits whether one row is asked or many
(`predictor.py`).

A column is looked up in the stores from which this process has loaded bundles, the newest first, and in the
default one. The hash says which bundle is meant, so that it does not matter where it is found.
"""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lockstep.errors import FeatureError, ModelError, UnfitBundle, UnknownFeature, UnknownModel
from lockstep.features.derived import is_derived
from lockstep.features.feature_registry import FeatureRegistry
from lockstep.market.bars import Floats
from lockstep.market.dates import DateRange
from lockstep.market.history import SeriesKey
from lockstep.models.bundle import Bundle
from lockstep.models.golden import arithmetic, same_values
from lockstep.models.manifest import VETO, Manifest, ModelEntry, VersionEntry
from lockstep.models.manifest_file import MANIFEST
from lockstep.models.predictor import answers, predictor
from lockstep.models.store import (
    COLUMN_DIGITS,
    COLUMN_MODEL,
    ColumnId,
    ModelStore,
    column_id,
    load_bundle,
    read_column_id,
)
from lockstep.models.tasks import STATE, VALUE, answer_range, described

_LOOSE = re.compile(
    COLUMN_MODEL + r"(?:@(?:(?P<version>v\d+)|production|latest))?(?:#(?P<hash>[0-9A-Fa-f]*))?(?P<rest>.*)"
)


# Folders of the stores from which this process has loaded bundles, the newest last.
_opened: dict[Path, None] = {}
_MOST_OPENED = 16


@dataclass(frozen=True, kw_only=True, eq=False)
class ModelColumn:
    """The answers of one bundle; see `features.derived.DerivedColumn`.

    low, high   0 and 1; of a value, the smallest and the largest label of its training: beyond them lies
                nothing that the model has seen, and its answers are clipped to them
    """

    id: str
    bundle: Bundle
    model: Any

    @property
    def low(self) -> float:
        """Smallest value."""
        return self._range[0]

    @property
    def high(self) -> float:
        """Largest value."""
        return self._range[1]

    @functools.cached_property
    def _range(self) -> tuple[float, float]:
        return answer_range(self.bundle.output, self.bundle.training, self.id)

    @property
    def base(self) -> SeriesKey:
        """The series that the bundle was trained on."""
        return self.bundle.golden.base

    @property
    def inputs(self) -> tuple[str, ...]:
        """The bundle's feature ids."""
        return self.bundle.feature_ids

    @property
    def definition(self) -> str:
        """The SHA-256 of the bundle."""
        return self.bundle.sha256

    @property
    def trained(self) -> DateRange | None:
        """The dates that the bundle was trained on; None where it does not say."""
        found = self.bundle.training.get("range")
        return None if found is None else DateRange.of(*found)

    def answers(self, rows: Floats) -> Floats:
        """Return the answers, float64 (n,), to rows float64 (n, inputs) without NaN; a value is clipped."""
        try:
            found = answers(self.model, self.bundle.output, rows)
        except UnfitBundle as error:
            raise FeatureError(f"{self.id}: {error}") from error
        return np.clip(found, self.low, self.high) if self.bundle.output == VALUE else found

    def require_reproducible(self) -> None:
        """Raise FeatureError where the golden vectors are not answered as recorded, or not alone as together.

        So the bundle's hash says what the answers are, whatever has become of the code that gives them.
        """
        golden = self.bundle.golden
        together = self.answers(golden.vectors)
        alone = np.concatenate([self.answers(row.reshape(1, -1)) for row in golden.vectors])
        if not same_values(together, alone, exact=True):
            raise FeatureError(
                f"{self.id}: the model answers a row otherwise among others than alone; it may be a veto, "
                "but not a column"
            )
        exact = golden.arithmetic == arithmetic(self.bundle.pipeline)
        recorded = np.clip(golden.answers, self.low, self.high)
        if not same_values(recorded, alone, exact=exact):
            raise FeatureError(
                f"{self.id}: golden vectors are not answered as recorded; use the code that trained the "
                "model, or train again"
            )

    def describe(self) -> str:
        """Return what the model answers, from what, and which bars it has seen in training."""
        bundle = self.bundle
        lines = (
            self.id,
            f"{self._answer} that {bundle.version} of {bundle.name} gives, on {self.base}.",
            "",
            *((f"task        {described(bundle.task, bundle.output, bundle.horizon)}",) * bundle.of_zoo),
            f"inputs      {', '.join(self.inputs)}",
            f"range       [{self.low:g}, {self.high:g}]",
            "NaN         where an input is",
            f"trained     {self.trained or 'on dates that nobody knows'}: its answers there are in-sample",
            f"bundle      {bundle.sha256}",
        )
        return "\n".join(lines)

    @property
    def _answer(self) -> str:
        target = self.bundle.target
        return {VALUE: f"Value of {target}", STATE: f"State (0 or 1) of {target}"}.get(
            self.bundle.output, f"Probability of {target}"
        )


def derived_column(text: str, registry: FeatureRegistry) -> ModelColumn:
    """Return the column of an id.

    UnknownFeature where there is no such model or version; FeatureError, saying the id that was meant, where
    the hash or the spelling is another, the version is retired, holds no model, reads the column of another
    model, or cannot be used here.
    """
    try:
        found = read_column_id(text)
        if found is None:
            raise FeatureError(f"feature id {text!r}: {_misspelled(text)}")
        folder, entry = _entry(text, found)
        what = f"{found.version} of {found.symbol} {found.name}"
        if entry.threshold is None and not entry.of_zoo:
            raise FeatureError(f"feature id {text!r}: {what} holds no model; name one that does")
        if nested := [each for each in entry.feature_ids if is_derived(each)]:
            raise FeatureError(
                f"feature id {text!r}: {what} reads {nested[0]}, the column of another model; name a model "
                "that reads features only"
            )
        return _loaded(text, folder, entry.sha256, registry)
    except ModelError as error:
        raise FeatureError(f"feature id {text!r}: {error}") from error


@functools.lru_cache(maxsize=64)
def _loaded(text: str, folder: Path, sha256: str, registry: FeatureRegistry) -> ModelColumn:
    """Return the column of the bundle with this SHA-256, verified once per process."""
    symbol, name, version, _ = read_column_id(text) or ("",) * 4
    bundle = load_bundle(symbol, version, store=ModelStore(folder), name=name, registry=registry)
    column = ModelColumn(id=text, bundle=bundle, model=predictor(bundle.pipeline))
    column.require_reproducible()
    return column


def _entry(text: str, named: ColumnId) -> tuple[Path, VersionEntry]:
    """Return the store that holds a version, and its entry; FeatureError for what comes closest.

    The hash says which bundle is meant: the first store that holds it under this name decides, also where it
    was retired there. Else it is told which version has the hash, then which hash the version has.
    """
    symbol, name, version, digits = named
    unknown, hashes, names = list[FeatureError](), list[FeatureError](), list[FeatureError]()
    for folder, manifest in _manifests():
        if meant := _of_hash(manifest, named):
            names.append(FeatureError(f"feature id {text!r}: {meant}; it is in {folder}"))
        try:
            entry = manifest.entry(symbol, version, name)
        except UnknownModel as error:
            unknown.append(UnknownFeature(f"feature id {text!r}: {error}; the store is {folder}"))
            continue
        if not entry.sha256.startswith(digits):
            there = column_id(symbol, version, entry.sha256, name=name)
            reason = f"model reference with another hash: in {folder} it is {there}"
            hashes.append(FeatureError(f"feature id {text!r}: {reason}"))
        elif entry.status == "retired":
            reason = f"{version} of {symbol} {name} is retired in {folder}; name another version"
            raise FeatureError(f"feature id {text!r}: {reason}")
        else:
            return folder, entry
    raise (names + hashes + unknown)[0]


def _of_hash(manifest: Manifest, named: ColumnId) -> str:
    """Return what has the hash under another name or version of the symbol, empty where nothing has."""
    symbol, name, version, digits = named
    for other, model in manifest.instruments.get(symbol, {}).items():
        for number, entry in model.versions.items():
            if entry.sha256.startswith(digits) and (other, number) != (name, version):
                column = column_id(symbol, number, entry.sha256, name=other)
                if other == name:
                    return f"model reference with another version: this hash is that of {column}"
                answers = described(entry.task, entry.output, entry.horizon)
                return (
                    f"model reference with another task: this hash is that of {column}, which answers "
                    f"{answers}"
                )
    return ""


def _misspelled(text: str) -> str:
    """Return what is wrong with an id, with the one that was meant where a store knows it."""
    loose = _LOOSE.fullmatch(text)
    form = f"write model:NAME@vN#HASH, with the first {COLUMN_DIGITS} digits of the bundle's SHA-256"
    if loose is None:
        return f"{form}, for example model:COMP@v3#3f2a9c1b04de"
    if loose["rest"]:
        plain = text.removesuffix(loose["rest"])
        return f"{loose['rest']!r}: a model's column takes no rank, lag, qualifier or factor; write {plain}"
    symbol, name = loose["symbol"], loose["name"] or VETO
    for _, manifest in _manifests():
        model = manifest.instruments.get(symbol, {}).get(name, ModelEntry())
        version = loose["version"] or model.production or next(reversed(model.versions), "")
        entry = model.versions.get(version)
        if entry is not None and entry.sha256.startswith((loose["hash"] or "").lower()):
            return f"{form}: {column_id(symbol, version, entry.sha256, name=name)}"
    return f"{form}, for example model:{symbol}@v3#3f2a9c1b04de"


def remember(folder: Path) -> None:
    """Look up columns in this store from now on, before all others."""
    whole = folder.resolve()
    _opened.pop(whole, None)
    _opened[whole] = None
    for oldest in tuple(_opened)[:-_MOST_OPENED]:
        del _opened[oldest]


def _manifests() -> Iterator[tuple[Path, Manifest]]:
    """Yield the stores in which columns are looked up, by their folders."""
    for folder in dict.fromkeys((*reversed(_opened), ModelStore().folder.resolve())):
        yield folder, _manifest(folder, _stat(folder / MANIFEST))


def _stat(path: Path) -> Any:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


@functools.lru_cache(maxsize=16)
def _manifest(folder: Path, stat: Any) -> Manifest:
    """Return a store's manifest, read again where its file is another one."""
    return ModelStore(folder).manifest()

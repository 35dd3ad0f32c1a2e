"""`Bundle`: everything that a prediction needs, in one immutable file.

The file is a joblib pickle of plain values and arrays, in which the pipeline is a pickle of its own: what
makes a bundle unusable here is told before scikit-learn's objects are touched.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from lockstep.models.atomic import replace_file
from lockstep.models.content import sha256_of, verified_content
from lockstep.models.document import FORMAT, PLAIN_FIELDS, bundle_document, golden_of
from lockstep.models.errors import ForeignPickle, NewerSchema, UnfitBundle, WrongSymbol
from lockstep.models.estimators import library_versions, require_libraries, require_single_threaded
from lockstep.models.golden import GoldenVectors, golden_vectors
from lockstep.models.manifest import MODEL_NAME, SYMBOL, VETO
from lockstep.models.pickling import pickled, unpickled

__all__ = ["SCHEMA", "Bundle", "GoldenVectors", "golden_vectors", "read_bundle", "save_bundle"]

SCHEMA = 1
_STRATEGY_KEYS = ("family", "config", "config_hash")


@dataclass(frozen=True, kw_only=True, eq=False)
class Bundle:
    """A trained model with all that it depends on.

    name, target   the model's name, and what column 1 of `predict_proba` is the chance of
    pipeline       the whole fitted scikit-learn Pipeline, calibration included; single-threaded
    feature_ids    in the order of the pipeline's columns; fingerprints: id -> hash of its definition
    strategy       `family`, `config` (as JSON) and `config_hash` of the strategy it was trained for
    threshold      an entry needs at least this probability, 0 to 1
    training       what the fit depended on, by name: hashes of the data, `range` (first and last day, ISO),
                   configuration, seed, versions; nothing that depends on when, where or by whom
    metrics        measures of the model, by name
    golden         vectors and probabilities that must come out again wherever the bundle is used

    The rest is known of a bundle that was loaded, and is not in the file: its SHA-256, its version in the
    store, and the ids whose source has changed since, but not their values.
    """

    schema: int = SCHEMA
    symbol: str
    name: str = VETO
    target: str = "trade_wins"
    pipeline: Any
    feature_ids: tuple[str, ...]
    fingerprints: Mapping[str, str]
    strategy: Mapping[str, Any]
    threshold: float
    training: Mapping[str, Any]
    metrics: Mapping[str, float]
    golden: GoldenVectors
    sha256: str = ""
    version: str = ""
    changed_features: tuple[str, ...] = ()

    @property
    def needs_certificate(self) -> bool:
        """Whether the source of a feature has changed: trade it after a fresh parity certificate only."""
        return bool(self.changed_features)


def save_bundle(bundle: Bundle, path: Path) -> str:
    """Write the bundle and return its SHA-256 (hex); the same content gives the same bytes.

    UnfitBundle where it may not be used as it is, StoreFailure where the disk refuses: `path` is as it was.
    """
    content = bundle_bytes(bundle)
    replace_file(path, content)
    return sha256_of(content)


def bundle_bytes(bundle: Bundle) -> bytes:
    """Return the content of the bundle's file; UnfitBundle where it may not be used as it is."""
    _require_fit(bundle)
    pipeline = pickled(bundle.pipeline)
    # A pipeline that could not be read again is better refused today.
    unpickled(pipeline, f"pipeline of {bundle.symbol}")
    return pickled(bundle_document(bundle, pipeline, library_versions(bundle.pipeline)))


def read_bundle(
    path: Path, *, expected_sha256: str | None, symbol: str | None = None, expected_size: int | None = None
) -> Bundle:
    """Read a bundle; everything that does not depend on this checkout's features is checked.

    In this order: a file, no Git LFS pointer, its size, its SHA-256, a bundle of a schema that is known, its
    symbol, the libraries; then the pipeline is read. `expected_sha256=None` is for a file that this process
    has written itself.

    Raises: a BundleRefused that says what to do.
    """
    content = verified_content(path, expected_sha256=expected_sha256, expected_size=expected_size)
    return bundle_of(content, path.name, symbol=symbol)


def bundle_of(content: bytes, what: str, *, symbol: str | None = None) -> Bundle:
    """Return the bundle in the bytes of its file; a BundleRefused where it cannot be used here."""
    document = unpickled(content, what, plain=True)
    _require_readable(document, what, symbol)
    require_libraries(document["libraries"], what)
    return replace(_bundle_from(document, what), sha256=sha256_of(content))


def _bundle_from(document: Mapping[str, Any], what: str) -> Bundle:
    try:
        return Bundle(
            **{name: document[name] for name in PLAIN_FIELDS},
            feature_ids=tuple(document["feature_ids"]),
            pipeline=unpickled(document["pipeline"], what),
            golden=golden_of(document["golden"]),
        )
    except (KeyError, TypeError) as error:
        raise ForeignPickle(f"{what}: no bundle of Lockstep: {error} is missing or wrong") from error


def _require_readable(document: Any, what: str, symbol: str | None) -> None:
    if not isinstance(document, Mapping) or document.get("format") != FORMAT:
        raise ForeignPickle(f"{what}: a pickle, but no bundle of Lockstep; train the model with Lockstep")
    if document["schema"] > SCHEMA:
        raise NewerSchema(
            f"{what}: bundle schema {document['schema']}, this Lockstep reads up to {SCHEMA}; update Lockstep"
        )
    if symbol is not None and document["symbol"] != symbol:
        raise WrongSymbol(f"{what}: a bundle for {document['symbol']}, not for {symbol}; fetch the right one")


def _require_fit(bundle: Bundle) -> None:
    what = f"bundle of {bundle.symbol}"
    require_single_threaded(bundle.pipeline)
    for part, pattern in (("symbol", SYMBOL), ("name", MODEL_NAME)):
        if not re.fullmatch(pattern, getattr(bundle, part)):
            raise UnfitBundle(f"{what}: {part} {getattr(bundle, part)!r}: must match {pattern}")
    if missing := [key for key in _STRATEGY_KEYS if key not in bundle.strategy]:
        raise UnfitBundle(
            f"{what}: strategy has no {', '.join(missing)}; give family, config and config_hash"
        )
    if set(bundle.fingerprints) != set(bundle.feature_ids) or not bundle.feature_ids:
        raise UnfitBundle(f"{what}: fingerprints must be those of the {len(bundle.feature_ids)} feature ids")
    if not 0.0 <= bundle.threshold <= 1.0:
        raise UnfitBundle(f"{what}: threshold {bundle.threshold}: must be a probability, 0 to 1")
    if bundle.golden.vectors.shape[1] != len(bundle.feature_ids):
        raise UnfitBundle(
            f"{what}: golden vectors of {bundle.golden.vectors.shape[1]} columns; record them again"
        )

"""What a fitted pipeline is made of: its estimators, their threads, the libraries they come from.

Nothing here loads scikit-learn: a store is opened by many who never ask a model.
"""

from __future__ import annotations

import importlib.metadata
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from lockstep.errors import LibraryMismatch, UnfitBundle

# Distributions that carry a module, the first installed one counts.
_DISTRIBUTIONS: Mapping[str, tuple[str, ...]] = {
    "lightgbm": ("lightgbm",),
    "numpy": ("numpy",),
    "sklearn": ("scikit-learn",),
    "xgboost": ("xgboost-cpu", "xgboost"),
}
_ALWAYS = frozenset(("numpy",))
_WITH_A_MODEL = frozenset(("sklearn",))
_THREADS = ("n_jobs", "nthread", "num_threads")
_SINGLE = (None, 1)


def estimators_in(value: Any) -> Iterator[Any]:
    """Yield every estimator in a fitted pipeline, however deep: steps, ensembles, calibrated copies."""
    if isinstance(value, np.ndarray):
        value = value.tolist() if value.dtype.hasobject else ()
    if isinstance(value, Mapping):
        value = list(value.values())
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        for item in value:
            yield from estimators_in(item)
    elif hasattr(value, "__dict__") and not isinstance(value, type):
        if hasattr(value, "get_params"):
            yield value
        if _is_part_of_a_model(value):
            yield from estimators_in(vars(value))


def _is_part_of_a_model(value: Any) -> bool:
    return hasattr(value, "get_params") or type(value).__module__.startswith("sklearn.calibration")


def require_single_threaded(pipeline: Any) -> None:
    """Raise UnfitBundle where an estimator would predict on several threads: its bits change call by call."""
    for estimator in estimators_in(pipeline):
        settings = estimator.get_params(deep=False)
        for name in _THREADS:
            if settings.get(name) not in _SINGLE:
                raise UnfitBundle(
                    f"{type(estimator).__name__}: {name}={settings[name]}: several threads give other bits "
                    f"from call to call; fit it with {name}=1"
                )


def library_versions(pipeline: Any) -> dict[str, str]:
    """Return the versions of the libraries whose code a prediction of `pipeline` runs, by distribution.

    Without a model (None) only numpy is left: another scikit-learn changes nothing about such a bundle.
    LibraryMismatch where one of them is not installed.
    """
    modules = {type(each).__module__.partition(".")[0] for each in estimators_in(pipeline)}
    needed = _ALWAYS if pipeline is None else _ALWAYS | _WITH_A_MODEL | (modules & set(_DISTRIBUTIONS))
    found = (_installed(_DISTRIBUTIONS[module]) for module in needed)
    return dict(sorted(found))


def _installed(names: tuple[str, ...]) -> tuple[str, str]:
    for name in names:
        try:
            return name, importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    raise LibraryMismatch(f"{names[0]} is not installed; run scripts/environment.sh requirements-dev.lock")


def require_libraries(versions: Mapping[str, str], what: str) -> None:
    """Raise LibraryMismatch where an installed library has another major or minor version than `versions`."""
    for name, fitted in sorted(versions.items()):
        candidates = next((each for each in _DISTRIBUTIONS.values() if name in each), (name,))
        found_name, found = _installed(candidates)
        if _minor(found) != _minor(fitted):
            raise LibraryMismatch(
                f"{what}: fitted with {name} {fitted}, here is {found_name} {found}; install {name} "
                f"{_minor(fitted)}, or train again on this environment"
            )


def _minor(version: str) -> str:
    return ".".join(version.split(".")[:2])

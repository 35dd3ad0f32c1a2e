"""The frozen reference: all parts in one sealed file, the same bytes each time; an edited one is refused."""

from __future__ import annotations

import functools
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lockstep.errors import DataError, ParityError
from lockstep.monitoring.drift import DriftWatch
from lockstep.monitoring.drift_baseline import LEVEL, DriftBaseline
from lockstep.monitoring.evidence import sealed
from lockstep.monitoring.frozen import FrozenReference, read_frozen
from support.references import BUNDLE, expected_measures, feature_history, frozen_reference


@functools.cache
def whole() -> FrozenReference:
    return frozen_reference()


def written(folder: Path, text: str) -> Path:
    path = folder / "reference.json"
    path.write_text(text, encoding="utf-8")
    return path


def test_it_is_the_same_after_a_file_to_the_byte(tmp_path: Path) -> None:
    found = read_frozen(written(tmp_path, whole().text()), bundle=BUNDLE)
    assert found.text() == whole().text() == frozen_reference().text()
    assert found.digest == whole().digest == json.loads(whole().text())["digest"]
    assert found.outcomes == whole().outcomes
    assert found.regime == whole().regime
    assert math.isnan(found.expected.max_drawdown_fraction)
    assert found.expected.worst_trade_pnl == -310.25
    for name in ("features", "probabilities"):
        assert getattr(found, name).digest == getattr(whole(), name).digest
    assert found.probabilities is not None
    assert found.probabilities.gaps


def test_every_part_is_in_the_digest() -> None:
    changes: tuple[dict[str, Any], ...] = (
        {"features": None}, {"features": feature_history(601)}, {"probabilities": None}, {"regime": None},
        {"history_end": "2012-04-23"}, {"absent": ("regime: 3 sessions",)}, {"outcomes": {"seed": 2}},
        {"expected": {"cagr": math.nan}}, {"expected": {"brier": 0.2}},
    )  # fmt: skip
    found = {whole().digest}
    for each in changes:
        parts = {
            name: getattr(whole(), name).model_copy(update=value) if isinstance(value, dict) else value
            for name, value in each.items()
        }
        found.add(frozen_reference(**parts).digest)
    assert len(found) == len(changes) + 1


def test_a_reference_of_before_the_brier_score_keeps_its_bytes(tmp_path: Path) -> None:
    older = frozen_reference(expected=expected_measures(brier=None))
    assert "brier" not in json.loads(older.text())["expected"]
    found = read_frozen(written(tmp_path, older.text()), bundle=BUNDLE)
    assert found.expected.brier is None
    assert (found.text(), found.digest) == (older.text(), older.digest)
    newer = frozen_reference(expected=expected_measures(brier=0.21))
    assert read_frozen(written(tmp_path, newer.text()), bundle=BUNDLE).expected.brier == 0.21
    assert newer.digest != older.digest
    impossible = json.loads(newer.text())
    impossible["expected"]["brier"] = 1.5
    with pytest.raises(ParityError, match="brier"):
        read_frozen(written(tmp_path, sealed(impossible)), bundle=BUNDLE)


def test_parts_that_could_not_be_made_are_absent_with_the_reason(tmp_path: Path) -> None:
    told = ("regime: 120 sessions, a trend needs 200",)
    made = frozen_reference(features=None, probabilities=None, regime=None, absent=told)
    found = read_frozen(written(tmp_path, made.text()), bundle=BUNDLE)
    assert (found.features, found.probabilities, found.regime, found.absent) == (None, None, None, told)


def edit_floor(content: dict[str, Any]) -> None:
    content["outcomes"]["streams"][0]["floor"] = 0.1


def edit_trades(content: dict[str, Any]) -> None:
    content["outcomes"]["trades"][0] += 1.0


def edit_history(content: dict[str, Any]) -> None:
    content["features"]["gaps"] = True


def edit_digest(content: dict[str, Any]) -> None:
    content["digest"] = "0" * 64


@pytest.mark.parametrize("edit", [edit_floor, edit_trades, edit_history, edit_digest])
def test_an_edited_file_is_refused(edit: Callable[[dict[str, Any]], None], tmp_path: Path) -> None:
    content = json.loads(whole().text())
    edit(content)
    path = written(tmp_path, json.dumps(content))
    with pytest.raises(ParityError, match="was changed after it was written"):
        read_frozen(path, bundle=BUNDLE)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"schema": 2}, "is no frozen reference of schema 1; create it again"),
        ({"kind": "monitoring reference"}, "is no frozen reference of schema 1"),
        ({"bundle": "cd" * 32}, "its streams are of bundle abababababab"),
        ({"regime": {}}, "regime"),
        ({"more": 1}, "more"),
        ({"history_end": "soon"}, "history_end"),
    ],
)
def test_what_was_sealed_but_is_no_reference_is_refused_in_one_line(
    change: dict[str, Any], words: str, tmp_path: Path
) -> None:
    content = {**json.loads(whole().text()), **change}
    path = written(tmp_path, sealed(content))
    with pytest.raises(ParityError, match=words) as refused:
        read_frozen(path, bundle=BUNDLE)
    assert str(path) in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_missing_one_and_that_of_another_bundle_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ParityError, match=r"reference\.json"):
        read_frozen(tmp_path / "reference.json", bundle=BUNDLE)
    path = written(tmp_path, whole().text())
    with pytest.raises(ParityError, match="of bundle abababababab, not of cdcdcdcdcdcd"):
        read_frozen(path, bundle="cd" * 32)


def test_streams_of_another_bundle_make_no_reference() -> None:
    with pytest.raises(DataError, match="its streams are of bundle abababababab; freeze it again"):
        frozen_reference("cd" * 32, outcomes=whole().outcomes)


def test_a_constant_and_an_all_nan_feature_survive_and_are_watched(tmp_path: Path) -> None:
    history = feature_history(900, ("rsi_2", "constant", "unknown", "day_of_week"))
    values = history.values.copy()
    values[:, 1], values[:, 2] = 3.0, np.nan
    parts = {"ids": history.ids, "sessions": history.sessions, "low": history.low, "high": history.high}
    made = frozen_reference(features=type(history)(values=values, **parts))
    found = read_frozen(written(tmp_path, made.text()), bundle=BUNDLE).features
    assert found is not None
    assert found.values.tobytes() == values.tobytes()
    verdict = DriftWatch(DriftBaseline.of(found)).observe("2030-01-02", values[-1])
    notes = {each.feature: each.note for each in verdict.readings if each.what == LEVEL}
    assert notes["unknown"].startswith("less than two years of history: no rank")
    assert "less than two years" not in notes["constant"]

"""Everything that the page of a zoo model shows, measured once, on the bars that it was trained on.

Losses by fold are measured again, with this checkout's code, by walking forward over all training bars, the
tail of the worker too, which nothing is sealed in once a version has been released. Bars after the training
are read only where that is asked for: it is a look, which the ledger counts where a search sealed them.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
from sqlalchemy import select

from lockstep.errors import TrainingError
from lockstep.market.bars import Floats
from lockstep.market.dates import DateRange
from lockstep.market.sessions import Dates
from lockstep.models.store import ModelStore, load_bundle
from lockstep.models.tasks import answers_with_value
from research.ledger.doors import open_door
from research.ledger.ledger import Ledger
from research.ledger.zoo_tables import ModelAttemptRow
from research.training.importance import (
    REPEATS,
    Attribution,
    FeatureImportance,
    attribution_of,
    rises,
)
from research.training.probabilities import Calibration, calibration
from research.zoo.bundling import ModelBuild, bars_of, build_of, require_bars
from research.zoo.factor_score import FactorScore, factor_score, linear_score, regimes_of
from research.zoo.fitting import OutOfFold, asked, ended_before, fit, folds, judged_on, losses_of
from research.zoo.learning import LabelledBars, LearningBars, Rows
from research.zoo.model_spec import ModelSpec
from research.zoo.release import PairedTest
from research.zoo.usage import ModelUsage, StrategyReading, ZooVersion, lineage, readers, usage_of

LINEAR, CONSTANT = "linear score of its features", "a constant"

_GROUPS, _LEAST_PER_GROUP = 10, 25
_SEED = 1
_SAME_LOSS = 1e-9


@dataclass(frozen=True, kw_only=True, eq=False)
class JudgedAnswers:
    """A model on n bars that it had not learned from, beside what knows less; see `OutOfFold`.

    dates     session dates of the bars, datetime64[D] (n,); regime: codes of `REGIMES`, float64 (n,), or NaN
    linear    losses, float64 (n,), of a linear score of the same features; factor: of the factor score
    learned   how many bars were learned from, by part; parts: how many were asked for, in order
    """

    found: OutOfFold
    dates: Dates
    regime: Floats
    linear: Floats
    factor: FactorScore
    learned: tuple[int, ...]
    parts: tuple[int, ...]

    def rivals(self) -> dict[str, Floats]:
        """The losses, float64 (n,), of what the model is held against, by its name in words."""
        factor = f"factor score: {self.factor.name}"
        return {
            factor: self.factor.loss, LINEAR: self.linear, CONSTANT: self.found.constant,
        }  # fmt: skip

    def against(self, rival: Floats, horizon: int) -> PairedTest:
        """Test the model against the losses of another; lag: its horizon."""
        return PairedTest.of(self.found.loss, rival, horizon)


@dataclass(frozen=True, kw_only=True, eq=False)
class ZooReport:
    """One version of a zoo model, measured.

    family       the version and its parents, the newest first; tests: the row of each one's release
    usage, readers   strategies that read the version; `usage` equals a recount of the readers
    labels, label_dates   the usual labels that it learned from, float64 (m,), and their session dates
    left_out     bars without a feature or a label
    out_of_fold  by walking forward; hold_out: on the bars after its training, None where nobody looked
    remeasured   the loss out of fold of its record where this checkout measures another; NaN: the same
    """

    version: ZooVersion
    build: ModelBuild
    sha256: str
    family: tuple[ZooVersion, ...]
    tests: Mapping[str, Mapping[str, Any]]
    usage: ModelUsage
    readers: tuple[StrategyReading, ...]
    labels: Floats
    label_dates: Dates
    left_out: int
    out_of_fold: JudgedAnswers
    hold_out: JudgedAnswers | None
    remeasured: float
    calibration: Calibration
    importance: FeatureImportance
    attribution: Attribution | str

    @property
    def spec(self) -> ModelSpec:
        """What it was asked for."""
        return self.build.spec

    @property
    def loss_name(self) -> str:
        """What its loss is."""
        return "squared error" if answers_with_value(self.spec.task) else "log loss"


def report_data(
    store: ModelStore,
    ledger: Ledger,
    symbol: str,
    name: str,
    version: str | None = None,
    *,
    data_dir: Path | None = None,
    hold_out: bool = False,
    now: datetime,
) -> ZooReport:
    """Measure a version, the latest by default, on the recorded bars.

    data_dir   folder of the bars; None: the recorded one
    hold_out   whether the bars after its training are looked at, too

    TrainingError where there is no such version, or the bars are not those of its record; NoBars where bars
    after the training are asked for and there are none.
    """
    family = lineage(store, symbol, name, version)
    shown = family[0]
    entry = store.manifest().entry(symbol, shown.version, name)
    build = build_of(entry.record)
    bars = bars_of(build, data_dir)
    require_bars(build, bars, entry.record)
    bundle = load_bundle(symbol, shown.version, store=store, name=name)
    samples = bars.samples(build.spec)
    found, importance = _walked(bars, build.spec, samples)
    recorded = entry.metrics.get("loss_out_of_fold")
    measured = float(found.found.loss.mean())
    later = None
    if hold_out:
        later = _later(build, bundle.pipeline, data_dir, ledger, f"report of {shown.version} of {name}", now)
    return ZooReport(
        version=shown,
        build=build,
        sha256=entry.sha256,
        family=tuple(family),
        tests=_tests(ledger, symbol, family),
        usage=usage_of(ledger.database, shown.column),
        readers=readers(ledger.database, shown.column),
        labels=samples.judged,
        label_dates=bars.sessions[samples.row],
        left_out=samples.left_out,
        out_of_fold=found,
        hold_out=later,
        remeasured=math.nan if _same(recorded, measured) else float(recorded or math.nan),
        calibration=_calibrated(build.spec, found.found),
        importance=importance,
        attribution=attribution_of(bundle.pipeline, bundle.feature_ids, samples.features),
    )


def _same(recorded: float | None, measured: float) -> bool:
    return recorded is None or abs(recorded - measured) <= _SAME_LOSS


def _walked(
    bars: LearningBars, spec: ModelSpec, samples: LabelledBars
) -> tuple[JudgedAnswers, FeatureImportance]:
    """Judge a spec fold by fold, and shuffle every feature in each, with the fold's own model."""
    found, moved, linear, factors, learned_from = [], [], [], [], []
    for number, (learned, part) in enumerate(folds(samples, spec.horizon)):
        pipeline = fit(spec, samples, learned)
        found.append(judged_on(spec, pipeline, samples, learned, part))
        linear.append(_linear(spec, samples, learned, part))
        factors.append(factor_score(bars, spec, samples, learned, part))
        moved.append(_moved(spec, pipeline, samples, part, number))
        learned_from.append(learned.size)
    whole = OutOfFold.joined(found)
    judged = JudgedAnswers(
        found=whole,
        dates=bars.sessions[whole.row],
        regime=regimes_of(bars)[whole.row],
        linear=np.concatenate(linear),
        factor=FactorScore(
            name=", then ".join(dict.fromkeys(each.name for each in factors)),
            loss=np.concatenate([each.loss for each in factors]),
        ),
        learned=tuple(learned_from),
        parts=tuple(each.row.size for each in found),
    )
    ids = sorted(spec.features)
    return judged, FeatureImportance.of(ids, np.concatenate(moved, axis=1), _SEED)


def _linear(spec: ModelSpec, samples: LabelledBars, learned: Rows, part: Rows) -> Floats:
    line = linear_score(spec)
    usual = replace(samples, taught=samples.judged)
    return judged_on(line, fit(line, usual, learned), samples, learned, part).loss


def _moved(spec: ModelSpec, pipeline: Any, samples: LabelledBars, part: Rows, fold: int) -> Floats:
    judged = samples.judged[part]

    def loss(rows: Floats) -> Floats:
        answers = asked(spec.task, pipeline, rows).reshape(-1, part.size)
        return losses_of(spec.task, answers, np.broadcast_to(judged, answers.shape))

    columns = range(samples.features.shape[1])
    return rises(loss, samples.features[part], columns, repeats=REPEATS, seed=_SEED + fold)


def _later(
    build: ModelBuild, pipeline: Any, data_dir: Path | None, ledger: Ledger, purpose: str, now: datetime
) -> JudgedAnswers:
    """Judge the very bundle on all bars after its training; the look is counted before they are read."""
    bars = bars_of(build, data_dir, later=True)
    assert build.dates.end is not None
    span = DateRange(start=build.dates.end + timedelta(days=1))
    begin = span.select(bars.bars, bars.history.markets[bars.key.symbol]).start
    open_door(ledger, bars.history, bars.key, span, purpose=purpose, now=now)
    samples = bars.samples(build.spec)
    learned = ended_before(samples, build.spec.horizon, begin)
    part = np.flatnonzero(samples.row >= begin)
    if not part.size:
        raise TrainingError(
            f"{build.symbol} {build.spec.name}: {bars.size - begin} bars after its training, none with all "
            "features and a label; wait for more, or leave out --hold-out"
        )
    found = judged_on(build.spec, pipeline, samples, learned, part)
    return JudgedAnswers(
        found=found,
        dates=bars.sessions[found.row],
        regime=regimes_of(bars)[found.row],
        linear=_linear(build.spec, samples, learned, part),
        factor=factor_score(bars, build.spec, samples, learned, part),
        learned=(learned.size,),
        parts=(part.size,),
    )


def _calibrated(spec: ModelSpec, found: OutOfFold) -> Calibration:
    groups = max(1, min(_GROUPS, found.row.size // _LEAST_PER_GROUP))
    if not answers_with_value(spec.task):
        return calibration(found.answer, found.judged.astype(np.int64), groups)
    return calibration_of_values(found.answer, found.judged, groups)


def calibration_of_values(answer: Floats, judged: Floats, groups: int) -> Calibration:
    """Group answers (n,) by size, and return the mean label of each, with 95 % intervals of that mean.

    The intervals take labels for independent, as those of shares do: where they overlap, they are too short.
    """
    order = np.argsort(answer, kind="stable")
    parts = np.array_split(order, min(groups, order.size))
    observed = np.array([judged[part].mean() for part in parts])
    count = np.array([part.size for part in parts], dtype=np.int64)
    spread = np.array([judged[part].std(ddof=1) if part.size > 1 else math.nan for part in parts])
    reach = 1.959964 * spread / np.sqrt(count)
    return Calibration(
        predicted=np.array([answer[part].mean() for part in parts]),
        observed=observed,
        low=observed - reach,
        high=observed + reach,
        count=count,
    )


def _tests(ledger: Ledger, symbol: str, family: list[ZooVersion]) -> dict[str, Mapping[str, Any]]:
    """Return, by version, what its release came to on the tail."""
    table = ModelAttemptRow
    wanted = select(table.released, table.content).where(table.symbol == symbol, table.released != "")
    with ledger.database.read() as connection:
        rows = [(row.released, json.loads(row.content)) for row in connection.execute(wanted)]
    specs = {each.version: each.spec.digest for each in family}
    return {
        version: content
        for version, content in rows
        if specs.get(version) == ModelSpec.model_validate(content["spec"]).digest
    }

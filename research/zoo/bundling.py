"""The bundle of a model of the zoo: nothing in it depends on when, where or by whom it was trained."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lockstep.errors import TrainingError
from lockstep.features.columns import source_keys
from lockstep.features.feature_registry import default_registry
from lockstep.identity import (
    ZOO,
    checkout_root,
    code_hash,
    code_revision,
    json_digest,
    lock_hash,
    training_versions,
)
from lockstep.market.asof import MaxAge
from lockstep.market.dates import DateRange
from lockstep.market.history import SeriesKey
from lockstep.market.loader import load_history
from lockstep.market.timeframe import Timeframe
from lockstep.models.bundle import Bundle
from lockstep.models.golden import golden_vectors
from lockstep.models.manifest import TrainingRecord
from lockstep.models.tasks import LABEL_RANGE, answers_with_value
from lockstep.settings import Settings, validated
from research.zoo.fitting import fit, out_of_fold
from research.zoo.labels import OUTPUTS, TARGETS
from research.zoo.learning import LabelledBars, LearningBars
from research.zoo.model_spec import ModelSpec

_GOLDEN = 8


class ModelBuild(Settings):
    """What is trained: a spec on the bars of some dates.

    measured      whether it is judged out of fold first, which takes five more fits
    data_dir, source   where its bars were read from, for the record; they are known by their hash
    """

    spec: ModelSpec
    symbol: str
    timeframe: str
    dates: DateRange
    measured: bool = True
    data_dir: str | None = None
    source: str | None = None

    @classmethod
    def of(
        cls,
        spec: ModelSpec,
        bars: LearningBars,
        *,
        measured: bool = True,
        data_dir: str | None = None,
        source: str | None = None,
    ) -> ModelBuild:
        """Return the build of a spec on these bars."""
        return cls(
            spec=spec, symbol=bars.key.symbol, timeframe=str(bars.key.timeframe), dates=bars.dates,
            measured=measured, data_dir=data_dir, source=source,
        )  # fmt: skip

    def digest(self, bars: LearningBars) -> str:
        """Return the SHA-256 (hex) of everything that the bundle depends on, bars and code included."""
        return json_digest([self.asked(), self.known(bars)])

    def asked(self) -> dict[str, Any]:
        """Return what is asked for, but where its bars came from."""
        asked = self.model_dump(mode="json", exclude={"data_dir", "source", "spec"})
        return {**asked, "spec": self.spec.digest}

    def known(self, bars: LearningBars) -> dict[str, Any]:
        """Return the hashes of all else that the bundle depends on."""
        registry = bars.registry
        return {
            "fingerprints": {each: registry.fingerprint(each) for each in sorted(self.spec.features)},
            "data_hashes": self.data_hashes(bars),
            "code_hash": code_hash(ZOO),
            "versions": training_versions(),
        }

    def data_hashes(self, bars: LearningBars) -> dict[str, str]:
        """Return the hash of the bars of each series that it reads; DataError where one was not loaded."""
        keys = source_keys(bars.registry.plan(self.spec.features, bars.key), bars.history.markets)
        return {str(key): bars.history.series(key).content_hash for key in sorted(keys)}

    def record(self, bars: LearningBars) -> TrainingRecord:
        """Return what it takes to train the same bundle again."""
        versions = training_versions()
        return TrainingRecord(
            code_revision=code_revision(checkout_root()),
            code_hash=code_hash(ZOO),
            config={"zoo": self.model_dump(mode="json")},
            data_hashes=self.data_hashes(bars),
            data_dir=self.data_dir,
            seed=0,
            lock_hash=lock_hash(),
            python=versions["python"],
            versions=versions,
        )


def built(build: ModelBuild, bars: LearningBars) -> Bundle:
    """Train a build on its bars, and return its bundle; TrainingError where that cannot be done.

    The golden vectors are those of the last samples.
    """
    spec = build.spec
    samples = bars.samples(spec)
    pipeline = fit(spec, samples)
    ids = tuple(sorted(spec.features))
    return Bundle(
        symbol=build.symbol,
        name=spec.name,
        task=spec.task,
        output=OUTPUTS[spec.task],
        horizon=spec.horizon,
        target=TARGETS[spec.task],
        pipeline=pipeline,
        feature_ids=ids,
        fingerprints={each: bars.registry.fingerprint(each) for each in ids},
        strategy={},
        threshold=None,
        training=_training(build, bars, samples),
        metrics=_metrics(build, bars, samples),
        golden=golden_vectors(
            bars.history,
            bars.key,
            ids,
            pipeline,
            bars.bars.end[samples.row[-_GOLDEN:]],
            MaxAge(),
            output=OUTPUTS[spec.task],
            registry=bars.registry,
        ),
    )


def _training(build: ModelBuild, bars: LearningBars, samples: LabelledBars) -> dict[str, Any]:
    first, last = bars.sessions[samples.row[[0, -1]]].astype("datetime64[D]").tolist()
    # The last labels look further than their bars.
    last = min(bars.dates.end, bars.sessions[min(samples.row[-1] + build.spec.horizon, bars.size - 1)].item())
    content = {
        "range": [first.isoformat(), last.isoformat()],
        "zoo": build.asked() | {"spec": build.spec.model_dump(mode="json")},
        **{name: value for name, value in build.known(bars).items() if name != "fingerprints"},
    }
    if answers_with_value(build.spec.task):
        taught = samples.taught
        content[LABEL_RANGE] = [float(taught.min()), float(taught.max())]
    return content


def _metrics(build: ModelBuild, bars: LearningBars, samples: LabelledBars) -> dict[str, float]:
    counted = {"samples": float(samples.row.size), "left_out": float(samples.left_out)}
    if not build.measured:
        return counted
    found = out_of_fold(bars, build.spec, samples)
    return {
        **counted,
        "loss_out_of_fold": float(found.loss.mean()),
        "loss_of_a_constant": float(found.constant.mean()),
    }


def build_of(record: TrainingRecord) -> ModelBuild:
    """Return what a version's record says was trained; TrainingError where it is no model of the zoo."""
    if "zoo" not in record.config:
        raise TrainingError("it is no model of the zoo; `lockstep models rebuild` trains it again")
    return validated(ModelBuild, record.config["zoo"], where="training record")


def bars_of(build: ModelBuild, data_dir: Path | None = None, *, later: bool = False) -> LearningBars:
    """Read the bars of a build, from the recorded folder by default, and cut them at its last day.

    later   whether those that came after it are read, too
    """
    folder = data_dir or (None if build.data_dir is None else Path(build.data_dir))
    frame = Timeframe.parse(build.timeframe)
    dates = DateRange(start=build.dates.start) if later else build.dates
    history = load_history(
        build.symbol, folder, timeframe=frame, end=dates.end, source=build.source, context=_context(build),
    )  # fmt: skip
    return LearningBars.of(history, SeriesKey(build.symbol, frame), dates)


def require_bars(build: ModelBuild, bars: LearningBars, record: TrainingRecord) -> None:
    """TrainingError where bars are not those of a version's record, naming the first series."""
    there = build.data_hashes(bars)
    for series in sorted(there.keys() | record.data_hashes.keys()):
        if there.get(series) != record.data_hashes.get(series):
            raise TrainingError(
                f"{build.symbol} {build.spec.name}: {series}: these bars are not those of the record; give "
                "the folder that has them with --data-dir"
            )


def _context(build: ModelBuild) -> tuple[SeriesKey, ...]:
    """Return the other series that the features read, the pair left out, which is loaded anyway."""
    key = SeriesKey(build.symbol, Timeframe.parse(build.timeframe))
    return tuple(each for each in default_registry().plan(build.spec.features, key).keys if each != key)

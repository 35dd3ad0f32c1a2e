"""What the worker improves, on which bars, and how much it may spend."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Annotated

from pydantic import Field, field_validator

from lockstep.market.config import load_instruments
from lockstep.market.dates import DateRange
from lockstep.market.history import SeriesKey
from lockstep.market.loader import load_bars, load_history
from lockstep.market.timeframe import Timeframe
from lockstep.settings import Settings
from research.splits.ranges import training_end
from research.zoo.learning import LearningBars
from research.zoo.model_spec import ModelSpec, Task
from research.zoo.moves import START

FIRST = ("ibs", "range_atr_14", "ret_5")
# Ten rounds of shallow trees: cautious, and far from all that there is to be learned.
_SMALL = {"max_iter": 10, "max_depth": 2, "learning_rate": 0.1}


class WorkerSettings(Settings):
    """What the worker improves, on which bars, and how much it may spend.

    steps         proposals of a run, 1 to 1,000
    cpu_seconds   from the first proposal on, after which no further step is begun, above 0; nothing is
                  proposed that would take more than `step_seconds` of them
    start, end    first and last session date that is learned from; None: the first bar, two thirds of the way
    estimators    that it may choose from
    features      ids that it may add; empty: all examples of the catalogue that the bars have
    first         what v1 is where there is no version yet; None: a small model of three features
    power         an attempt on the tail is made where it should show the difference in this share of the
                  cases, by what is known out of fold; 0 attempts whatever is better there
    """

    symbol: str
    task: Task = "volatility"
    horizon: Annotated[int, Field(ge=1, le=20)] = 1
    timeframe: str = "1d"
    steps: Annotated[int, Field(ge=1, le=1_000)] = 30
    cpu_seconds: Annotated[float, Field(gt=0.0)] = 60.0
    seed: int = 1
    start: date | None = None
    end: date | None = None
    data_dir: str | None = None
    source: str | None = None
    estimators: tuple[str, ...] = ("hist_gradient_boosting", "random_forest", "logistic")
    features: tuple[str, ...] = ()
    first: ModelSpec | None = None
    power: Annotated[float, Field(ge=0.0, le=0.99)] = 0.5

    @field_validator("estimators")
    @classmethod
    def _known(cls, given: tuple[str, ...]) -> tuple[str, ...]:
        for each in given:
            if each not in START:
                raise ValueError(f"estimators: {each!r}: must be one of {', '.join(START)}")
        return given

    @property
    def name(self) -> str:
        """Name of the model in the manifest."""
        return f"{self.task}_h{self.horizon}"

    @property
    def step_seconds(self) -> float:
        """What scoring a proposal may cost: half as much again as its share of the CPU seconds."""
        return 1.5 * self.cpu_seconds / self.steps

    @property
    def slot(self) -> str:
        """What a run is about, `COMP_volatility_h1`."""
        return f"{self.symbol}_{self.name}"

    @property
    def begins_with(self) -> ModelSpec:
        """The spec of v1 where there is no version yet."""
        if self.first is not None:
            return self.first
        chosen = self.estimators[0]
        parameters = _SMALL if chosen == "hist_gradient_boosting" else START[chosen]
        return ModelSpec(
            task=self.task, horizon=self.horizon, features=FIRST, estimator=chosen, parameters=parameters
        )

    def bars(self) -> LearningBars:
        """Read the training bars, none after them; NoBars, DataError or ConfigError where there are none."""
        folder = None if self.data_dir is None else Path(self.data_dir)
        frame = Timeframe.parse(self.timeframe)
        book = load_instruments()
        end = self.end
        if end is None:
            whole = load_bars(self.symbol, folder, timeframe=frame, book=book, source=self.source)
            session = book.market(self.symbol).session
            first, last = session.dates(whole.end[[0, -1]], frame).astype("datetime64[D]").tolist()
            end = training_end(first, last)
        history = load_history(self.symbol, folder, timeframe=frame, end=end, book=book, source=self.source)
        return LearningBars.of(history, SeriesKey(self.symbol, frame), DateRange.of(self.start, end))

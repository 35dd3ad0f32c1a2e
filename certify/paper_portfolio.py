"""One lane of a portfolio beside a backtest: as the recorded portfolio answered it, and as one would."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from certify.portfolio import members_of
from lockstep.errors import ParityError
from lockstep.live.traded import TradedModel
from lockstep.market.config import InstrumentBook
from lockstep.market.dates import DateRange
from lockstep.market.history import History
from lockstep.portfolio.config import PortfolioConfig
from lockstep.portfolio.state import ProposalRecord
from lockstep.strategy.admission import REFUSALS, Admission, LaneNews, LaneStanding, Settled
from lockstep.strategy.backtrader.cerebro import build_cerebro
from lockstep.strategy.decision import ENTER_LONG, ENTER_SHORT, REFUSED
from lockstep.strategy.records import MemoryRecorder
from research.backtest.portfolio import run_portfolio
from research.backtest.records import RunRecords
from research.backtest.result import BacktestResult
from research.backtest.run import BACKTRADER, COMPILED, InstrumentRun


@dataclass(kw_only=True)
class RecordedAnswers:
    """Answers the entries of one lane as a journal says; one that it does not know of is admitted in full.

    symbols   the one lane; answers: by the stamp of the bar that proposed, UTC ns
    """

    symbols: tuple[str, ...]
    answers: Mapping[int, ProposalRecord]
    volatility_id: str = ""
    rank_id: str = ""

    def settle(
        self, stamp: int, news: Sequence[LaneNews | None], standing: Sequence[LaneStanding]
    ) -> Settled:
        """Give the recorded answer; see `Admissions`."""
        (mine,) = news
        if mine is None or mine.quantity == 0.0:
            return Settled([None], flatten=False)
        answer = self.answers.get(stamp)
        quantity = mine.quantity if answer is None else answer.quantity
        if answer is not None and answer.rule:
            return Settled([Admission(REFUSED + REFUSALS.index(answer.rule), 0.0)], flatten=False)
        return Settled([Admission(ENTER_LONG if quantity > 0.0 else ENTER_SHORT, quantity)], flatten=False)


def answered_backtest(
    name: str,
    model: TradedModel,
    history: History,
    span: DateRange,
    factor: float,
    answers: Mapping[int, ProposalRecord],
) -> BacktestResult:
    """Run a backtest of the lane `name`, its sizes times `factor`, its entries answered as recorded."""
    recorder = MemoryRecorder()
    run = InstrumentRun.of(model.config, history, name, span=span, veto=model.veto)
    admissions = RecordedAnswers(symbols=(name,), answers=answers)
    build_cerebro([run.lane(recorder, factor=factor)], admissions=admissions).run()
    return run.result(RunRecords.of(recorder), BACKTRADER, seed=0, model=None, files=())


Expected = Callable[[str, DateRange], BacktestResult]
"""What a lane does in a backtest of the whole portfolio over a span of sessions."""


def expected_by(
    config: PortfolioConfig, models: Mapping[str, TradedModel], history: History, book: InstrumentBook
) -> Expected:
    """Return what each lane is expected to do; `models`, by symbol, are the newest that traded."""
    missing = sorted(set(config.names) - models.keys())
    if missing:
        raise ParityError(
            f"portfolio {config.name}: {', '.join(missing)} decided nothing yet; let the engine run longer"
        )
    members = members_of({symbol: models[symbol] for symbol in config.names}, history)
    found: dict[DateRange, Mapping[str, BacktestResult]] = {}

    def over(symbol: str, span: DateRange) -> BacktestResult:
        if span not in found:
            found[span] = run_portfolio(config, members, book, span=span, engine=COMPILED).lanes
        return found[span][symbol]

    return over

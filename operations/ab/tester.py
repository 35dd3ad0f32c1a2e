"""`StrategyABTester`: create a test, split or replay its signals, and say what its sessions have decided."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path

from lockstep.errors import ExperimentError, LockstepError
from lockstep.live.config import LiveConfig
from lockstep.market.bars import Floats, Stamps
from lockstep.market.dates import DateRange
from lockstep.market.history import History
from lockstep.monitoring.ab import AbJudgement, AbMode, AbPlan, AbVerdict, judge, planned
from operations.ab.arms import PastOfArms, StrategyCandidate, past_of, require_comparable
from operations.ab.book import (
    ARMS,
    STOPPED,
    AbEnding,
    AbTerms,
    AbTest,
    ArmSessions,
    ab_test_named,
    ab_tests,
    create,
    end,
    require_running,
    sessions_of_arm,
    write_sessions,
)
from operations.ab.replay import observed, replayed
from operations.ab.split import shared, split_decisions
from operations.contenders import newest
from research.ledger.first_seen import see
from research.ledger.ledger import Ledger

PATIENCE_YEARS = 3.0
"""A test that needs longer is refused, unless whoever creates it insists."""


@dataclass(frozen=True, kw_only=True, eq=False)
class AbStanding:
    """Where a test is.

    sessions    of each arm, as written; differences float64 (T,): challenger less champion, fractions of the
                capital; judgement   of all sessions up to the one that decided
    """

    test: AbTest
    sessions: Mapping[str, ArmSessions]
    differences: Floats
    judgement: AbJudgement


@dataclass(frozen=True, kw_only=True)
class AbProgress:
    """What an evaluation did: sessions that are new, how the test ended if it did, what went wrong."""

    test: AbTest
    new: Sequence[date]
    ending: AbEnding | None = None
    trouble: str = ""


@dataclass(frozen=True, kw_only=True)
class StrategyABTester:
    """A/B tests of a ledger. data_dir, source, journal   where new bars are seen, as for candidates."""

    ledger: Ledger
    data_dir: Path | None = None
    source: str | None = None
    journal: Path | None = None

    def create_test(
        self, name: str, champion: StrategyCandidate, challenger: StrategyCandidate, history: History, *,
        now: datetime, mode: AbMode = AbMode.REPLAY, difference: float = 0.5, years: float | None = None,
        span: DateRange | None = None, desk: Path | None = None, challenger_desk: Path | None = None,
        by_receiver: bool = False, insist: bool = False,
    ) -> AbTest:  # fmt: skip
        """Plan a test by the history of its arms, and write it down; nothing is written where it is refused.

        history      bars of both arms, which the replay looks back on; span   of it that is measured
        difference   of the annual Sharpe ratios that the test is to see; years   when to end at the latest
        desk         live.yml of the desk whose signals are split; mode `split` needs it
        challenger_desk   of the desk that trades the challenger, where that is another one
        by_receiver  whether one lane takes every signal, and whoever receives its orders asks `arm_of`
        insist       create a test that needs more than three years

        ExperimentError for arms that cannot be compared, a name that is taken, or a test that takes too long;
        ConfigError where the desk's file cannot be read.
        """
        require_comparable(champion, challenger, mode)
        if (desk is None) is (mode is AbMode.SPLIT):
            raise ExperimentError(
                f"A/B test {name}: mode split needs the live.yml of the desk that trades the signals "
                "(--desk), and mode replay none"
            )
        if desk is None and (challenger_desk is not None or by_receiver):
            raise ExperimentError(
                f"A/B test {name}: challenger_desk or by_receiver without desk; name it, too"
            )
        if challenger_desk is not None and by_receiver:
            raise ExperimentError(f"A/B test {name}: by_receiver is of one desk; leave challenger_desk out")
        desks = [each.resolve() for each in (desk, challenger_desk) if each is not None]
        for each in desks:
            LiveConfig.load(each)
        if len(set(desks)) < len(desks):
            raise ExperimentError(f"A/B test {name}: one desk trades both arms; leave challenger_desk out")
        past = past_of(champion, challenger, mode, history, span or DateRange())
        plan = _planned(past, mode, difference, years)
        if plan.needed_years > PATIENCE_YEARS and not insist:
            raise ExperimentError(f"A/B test {name}: {too_long(plan)}")
        terms = AbTerms(
            name=name, symbol=champion.trades.symbol, champion=past.arms[0], challenger=past.arms[1],
            plan=plan, sigma=past.sigma, capital=past.capital, correlation=past.correlation,
            history=past.history, timeframe=str(champion.trades.config.bars),
            desk=str(desks[0]) if desks else "", challenger_desk=str(desks[1]) if desks[1:] else "",
            by_receiver=by_receiver,
        )  # fmt: skip
        test = create(self.ledger, terms, now=now)
        if mode is AbMode.REPLAY:
            pair = challenger.trades.against(champion.trades)
            for key, bars in history.bars.items():
                recent = newest(bars, pair.lookback(key), now)
                see(self.ledger, key, recent, now=now, source=bars.source)
        return test

    def split_signals(self, test: AbTest, decisions: Stamps) -> Mapping[str, Stamps]:
        """Return which decisions of the test's symbol belong to which arm, UTC ns; see `arm_of`."""
        return split_decisions(test.name, test.terms.symbol, decisions, test.terms.bars)

    def evaluate_test(self, name: str, *, now: datetime) -> AbProgress:
        """See new bars, write the complete sessions once, and end the test where they decide it.

        ExperimentError for a test that there is not, that has ended, or whose sessions would come out
        otherwise now.
        """
        test = ab_test_named(self.ledger, name)
        require_running(test)
        if test.terms.mode is AbMode.REPLAY:
            observed(
                self.ledger, [test], now=now, data_dir=self.data_dir, source=self.source, journal=self.journal
            )
        return self.count_sessions(test, now=now)

    def count_sessions(self, test: AbTest, *, now: datetime) -> AbProgress:
        """Write the complete sessions on bars that were seen already, and end the test where they decide."""
        if test.terms.mode is AbMode.REPLAY:
            found = replayed(self.ledger, test)
        else:
            found = shared(test)
        new = write_sessions(self.ledger, test, found, now=now)
        ending = ending_of(standing(self.ledger, test))
        if ending is not None:
            end(self.ledger, test, ending, now=now)
        return AbProgress(test=ab_test_named(self.ledger, test.name), new=new, ending=ending)

    def stop_test(self, name: str, *, reason: str, now: datetime) -> AbTest:
        """End a test by hand; ExperimentError where it has ended already."""
        test = ab_test_named(self.ledger, name)
        found = standing(self.ledger, test)
        mean = float(found.judgement.mean[-1]) if found.judgement.mean.size else 0.0
        session = found.sessions[ARMS[0]].dates
        day = session[-1].item() if session.size else now.date()
        ending = AbEnding(kind=STOPPED, session=day, evidence=mean, reason=reason)
        end(self.ledger, test, ending, now=now)
        return ab_test_named(self.ledger, name)


def evaluate_all(
    ledger: Ledger, *, now: datetime, data_dir: Path | None = None, source: str | None = None,
    journal: Path | None = None,
) -> list[AbProgress]:  # fmt: skip
    """Evaluate every test that is running, as a night does; one that fails does not stop the others."""
    tester = StrategyABTester(ledger=ledger, data_dir=data_dir, source=source, journal=journal)
    found = []
    for each in ab_tests(ledger):
        if each.ending is not None:
            continue
        try:
            found.append(tester.evaluate_test(each.name, now=now))
        except LockstepError as error:
            found.append(AbProgress(test=each, new=(), trouble=str(error)))
    return found


def standing(ledger: Ledger, test: AbTest) -> AbStanding:
    """Return where a test is, by its written sessions up to the one that decided."""
    sessions = {arm: sessions_of_arm(ledger, test, arm) for arm in ARMS}
    judgement = _judged(test, sessions)
    if judgement.at >= 0:
        sessions = {arm: each.first(judgement.at + 1) for arm, each in sessions.items()}
        judgement = _judged(test, sessions)
    champion, challenger = (sessions[arm].results for arm in ARMS)
    return AbStanding(test=test, sessions=sessions, differences=challenger - champion, judgement=judgement)


def _judged(test: AbTest, sessions: Mapping[str, ArmSessions]) -> AbJudgement:
    champion, challenger = (sessions[arm] for arm in ARMS)
    differences = (challenger.results - champion.results) / test.terms.sigma
    return judge(differences, champion.trades, challenger.trades, test.terms.plan)


def ending_of(found: AbStanding) -> AbEnding | None:
    """Return how a test ends by its sessions; None where they decide nothing."""
    judged, at = found.judgement, found.judgement.at
    if judged.verdict is AbVerdict.RUNNING:
        return None
    bound = {AbVerdict.WON: judged.low, AbVerdict.LOST: judged.high}.get(judged.verdict, judged.mean)
    return AbEnding(
        kind=str(judged.verdict),
        session=found.sessions[ARMS[0]].dates[at].item(),
        evidence=float(bound[at]),
        reason=judged.reason,
    )


def _planned(past: PastOfArms, mode: AbMode, difference: float, years: float | None) -> AbPlan:
    fewest = min(each.trades_a_year for each in past.arms)
    return planned(difference, mode=mode, correlation=past.likeness, trades_a_year=fewest, years=years)


def too_long(plan: AbPlan) -> str:
    """Return why a test is refused, and what would shorten it."""
    needed = "more than 25" if math.isinf(plan.needed_years) else f"{plan.needed_years:.1f}"
    return (
        f"needs {needed} years to see a difference of {plan.difference:g} in Sharpe ratio with a power of "
        f"80 % ({plan.one_look_years:.1f} for a single look), more than three; plan a larger --difference, "
        "take arms that are more alike, or insist with --yes"
    )

"""The state machine of a retraining: which step comes next, and when it waits.

    TRIGGERED -> TRAINED -> VALIDATED -> CERTIFIED -> SHADOWING -> APPROVED -> PROMOTED -> WATCHED -> DONE

A step does its work, then records it as one row. Killed in between, it finds its work done the next time and
records it. So however often a process dies, the end is the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from lockstep.errors import EvidenceMissing, LockstepError, RetrainingError
from lockstep.models.bundle import bundle_of
from lockstep.models.evidence import CERTIFICATE, REFERENCE, VALIDATION
from lockstep.models.manifest import PRODUCTION
from lockstep.monitoring.champion import ChallengerVerdict, ChampionComparison, compare
from lockstep.monitoring.triggers import RetrainingTrigger
from operations.retraining.book import (
    AUTO,
    RetrainingBook,
    RetrainingRun,
    ShadowLook,
    Step,
    StepRow,
    mark_of,
    run_id,
)
from operations.retraining.challenger import (
    ChallengerMaker,
    StepResult,
    bars_folder,
    challenger_of,
    grown_config,
)
from operations.retraining.config import RetrainingConfig
from operations.retraining.plan import MonitoredDesk, plan_of
from operations.retraining.shadow import faults, measures, scores_in_shadow, state_of_desk, taken_over
from research.ledger.versions import promote_version

DAY, HOUR = 86_400_000_000_000, 3_600_000_000_000
# What a promotion came to is looked at once more after so many days.
MEASURED_AFTER = 90


@dataclass(frozen=True, kw_only=True, eq=False)
class RetrainingMachine:
    """Takes steps for a desk; everything that it knows of the desk is in `view`.

    maker   makes challengers; now: the clock; by: who runs it, for the records
    tell    hears each step as a sentence
    """

    config: RetrainingConfig
    view: MonitoredDesk
    book: RetrainingBook
    maker: ChallengerMaker
    now: Callable[[], datetime]
    by: str = AUTO
    tell: Callable[[str], None] = lambda text: None

    def run(self) -> tuple[RetrainingRun, ...]:
        """Begin what is due, and take every run as far as it goes now; return all runs that were looked at.

        A refusal of one symbol stops no other; the first one is raised in the end.
        """
        found, refused = [], []
        for symbol in self.view.symbols:
            try:
                found += self._run_of(symbol)
            except LockstepError as refusal:
                refused.append(refusal)
        for each in refused[1:]:
            self.tell(str(each))
        if refused:
            raise refused[0]
        return tuple(found)

    def _run_of(self, symbol: str) -> list[RetrainingRun]:
        plan = plan_of(self.view, symbol, self.book.runs(), self.config)
        if plan.refusal:
            self.tell(plan.refusal)
        elif plan.due is not None:
            self.begin(plan.due)
        runs = [each for each in self.book.runs() if each.symbol == symbol]
        return [self.take_on(each) for each in runs if each.is_active or each.now is Step.DONE]

    def begin(self, trigger: RetrainingTrigger) -> RetrainingRun:
        """Record a trigger; one that was recorded before is the same run, however often it comes."""
        name = run_id(trigger.symbol, trigger.kind, trigger.evidence)
        known = next((each for each in self.book.runs() if each.id == name), None)
        if known is not None:
            return known
        symbol = trigger.symbol
        version, entry = self.view.production(symbol)
        bundle = bundle_of(self.view.store.content(entry), entry.file, symbol=symbol)
        settings = grown_config(entry, dict(bundle.training), self.view.today, trials=self.config.trials)
        folder = bars_folder(entry.record, self.view.live.history)
        inputs = {
            "kind": trigger.kind, "evidence": trigger.evidence, "since": trigger.since,
            "config": settings.model_dump(mode="json"),
            "data_dir": None if folder is None else str(folder.resolve()),
        }  # fmt: skip
        outputs = {
            "champion": version, "champion_sha256": entry.sha256, "seed": entry.record.seed,
            "fresh_from": self.view.frontier,
        }  # fmt: skip
        return self._append(name, symbol, Step.TRIGGERED, StepResult(
            outputs=outputs, sentence=trigger.sentence
        ), inputs)  # fmt: skip

    def take_on(self, run: RetrainingRun) -> RetrainingRun:
        """Take every step that can be taken now."""
        while (after := self._next(run)) is not None:
            run = after
        return run

    def _next(self, run: RetrainingRun) -> RetrainingRun | None:
        """Take one step; None where the run has ended, or waits."""
        if run.now is Step.DONE:
            return self._measured(run)
        if not run.is_active:
            return None
        if gone := self._taken_away(run):
            return self._record(run, Step.ABORTED, StepResult(sentence=gone))
        made = {
            Step.TRIGGERED: (Step.TRAINED, self.maker.train),
            Step.TRAINED: (Step.VALIDATED, self.maker.validate),
            Step.VALIDATED: (Step.CERTIFIED, self.maker.certify),
        }
        if run.now in made:
            step, make = made[run.now]
            return self._recorded(run, step, make(run))
        steps: dict[Step, Callable[[RetrainingRun], RetrainingRun | None]] = {
            Step.CERTIFIED: self._shadowing,
            Step.SHADOWING: self._decided,
            Step.APPROVED: self._promoted,
            Step.PROMOTED: self._watched,
            Step.WATCHED: self._done,
        }
        return steps[run.now](run)

    def _taken_away(self, run: RetrainingRun) -> str:
        """Return why the run has lost its subject: somebody else moved production; "" where nobody did."""
        symbol, champion = run.symbol, str(run.output("champion"))
        production = self.view.store.manifest().model(symbol).production
        challenger = run.output("version")
        if run.now in (Step.PROMOTED, Step.WATCHED):
            if production == challenger or self._rolled_back_by(run):
                return ""
            return f"{symbol}: production was moved by hand from {challenger} to {production}; the watch ends"
        if production == champion or (run.now is Step.APPROVED and production == challenger):
            return ""
        return (
            f"{symbol}: production is {production}, and the challenger was made against {champion}; a new "
            "trigger begins a new run"
        )

    def _rolled_back_by(self, run: RetrainingRun) -> bool:
        own = [each for each in self.view.store.manifest().history if each.symbol == run.symbol]
        moves = [each for each in own if each.action in ("promote", "rollback")]
        return bool(moves) and moves[-1].action == "rollback" and moves[-1].reason.startswith(mark_of(run.id))

    def _shadowing(self, run: RetrainingRun) -> RetrainingRun:
        said = f"{run.symbol} {run.output('version')} is in shadow"
        margin = {"margin": self.config.margin, "max_days": self.config.max_days}
        return self._record(run, Step.SHADOWING, StepResult(outputs=margin, sentence=said))

    def compared(self, run: RetrainingRun) -> ChampionComparison:
        """Return champion against challenger up to now, by the margin that was declared when it began."""
        return compare(scores_in_shadow(self.view, run), margin=float(run.output("margin")))

    def _decided(self, run: RetrainingRun) -> RetrainingRun | None:
        found = self.compared(run)
        self.book.looked(ShadowLook.of(run.id, self.view.frontier, found))
        if found.verdict.is_promotable:
            if self.config.approval == AUTO:
                return self.approve(run, found, by=AUTO)
            self.tell(f"{run.symbol}: {found.sentence}; lockstep retrain approve {run.id}")
            return None
        days = (self.view.frontier - int(run.output("fresh_from"))) / DAY
        late = days >= int(run.output("max_days"))
        if found.verdict is ChallengerVerdict.WORSE or late:
            why = f" after {days:.0f} days: ignorance is not non-inferiority" if late else ""
            result = StepResult(outputs=_plain(found), sentence=f"{found.sentence}; rejected{why}")
            return self._record(run, Step.REJECTED, result)
        self.tell(f"{run.symbol}: {found.sentence}")
        return None

    def approvable(self, run: RetrainingRun) -> ChampionComparison:
        """Return the comparison that an approval rests on; RetrainingError where the run allows none."""
        if run.now is not Step.SHADOWING:
            raise RetrainingError(f"run {run.id}: is {run.now}; only one that is SHADOWING can be approved")
        found = self.compared(run)
        if not found.verdict.is_promotable:
            raise RetrainingError(
                f"run {run.id}: {found.sentence}; it cannot be approved yet: wait, or abort the run"
            )
        return found

    def approve(self, run: RetrainingRun, found: ChampionComparison, *, by: str) -> RetrainingRun:
        """Record the approval of a run by what `approvable` returned."""
        return self._record(
            run, Step.APPROVED, StepResult(outputs=_plain(found), sentence=found.sentence), by=by
        )

    def abort(self, run: RetrainingRun, *, by: str, reason: str) -> RetrainingRun:
        """Record that somebody ends a run; what was promoted stays. RetrainingError where it has ended."""
        if not run.is_active:
            raise RetrainingError(f"run {run.id}: is {run.now} already; there is nothing to abort")
        if not reason.strip():
            raise RetrainingError(f"run {run.id}: an end needs a reason; say why with --reason")
        return self._record(run, Step.ABORTED, StepResult(sentence=reason.strip()), by=by)

    def _promoted(self, run: RetrainingRun) -> RetrainingRun:
        """Promote with the evidence that the policy asks for, never by force."""
        store, symbol, version = self.view.store, run.symbol, str(run.output("version"))
        entry, now = challenger_of(store, run), self.now()
        if store.manifest().resolve(symbol, PRODUCTION) != version:
            if refusal := self._renewed(run):
                return self._record(run, Step.FAILED, StepResult(sentence=refusal))
            approval = run.at(Step.APPROVED)
            assert approval is not None
            try:
                promote_version(
                    store,
                    symbol,
                    version,
                    by=approval.by,
                    now=now,
                    reason=f"{mark_of(run.id)}: {approval.sentence}",
                )
            except EvidenceMissing as error:
                return self._record(run, Step.FAILED, StepResult(sentence=str(error)))
        frontier, champion = self.view.frontier, str(run.output("champion_sha256"))
        span = frontier - int(run.output("fresh_from"))
        before = measures(
            self.view, champion, since=frontier - max(span, MEASURED_AFTER * DAY), until=frontier
        )
        outputs = {
            "before": before, "desk": state_of_desk(self.view, symbol), "promoted_sha256": entry.sha256,
        }  # fmt: skip
        said = f"{symbol}: {version} is in production, in place of {run.output('champion')}"
        return self._record(run, Step.PROMOTED, StepResult(outputs=outputs, sentence=said))

    def _renewed(self, run: RetrainingRun) -> str:
        """Make evidence again that became too old, or is of other code; return why that was refused."""
        entry = challenger_of(self.view.store, run)
        missing = " ".join(self.view.store.policy().missing(entry, self.now()))
        for kinds, make in (
            ((VALIDATION, REFERENCE), self.maker.validate),
            ((CERTIFICATE,), self.maker.certify),
        ):
            if any(f"{kind}:" in missing for kind in kinds) and (refusal := make(run).refusal):
                return refusal
        return ""

    def _watched(self, run: RetrainingRun) -> RetrainingRun | None:
        """Look at the promoted version until its hours are over; what cannot wait takes it back."""
        if self._rolled_back_by(run):
            return self._back(run)
        found = tuple(faults(self.view, run))
        if found:
            return self._take_back(run, "; ".join(found))
        since = taken_over(self.view, str(run.output("sha256")))
        hours = (self.view.frontier - since) / HOUR if since else 0.0
        if hours < self.config.watch_hours:
            state = (
                f"{hours:.0f} of {self.config.watch_hours:g} hours"
                if since
                else "the desk has yet to take it over"
            )
            self.tell(f"{run.symbol} {run.output('version')} is watched: {state}")
            return None
        after = measures(self.view, str(run.output("sha256")), since=since - 1, until=self.view.frontier)
        said = f"{run.symbol} {run.output('version')}: nothing in {hours:.0f} hours speaks against it"
        outputs = {"taken_over": since, "after": after}
        return self._record(run, Step.WATCHED, StepResult(outputs=outputs, sentence=said))

    def _take_back(self, run: RetrainingRun, why: str) -> RetrainingRun:
        self.view.store.rollback(
            run.symbol,
            to=str(run.output("champion")),
            by=AUTO,
            now=self.now(),
            reason=f"{mark_of(run.id)}: {why}",
        )
        return self._back(run)

    def _back(self, run: RetrainingRun) -> RetrainingRun:
        last = next(
            each for each in reversed(self.view.store.manifest().history)
            if each.symbol == run.symbol and each.action == "rollback"
        )  # fmt: skip
        why = last.reason.removeprefix(f"{mark_of(run.id)}: ")
        said = f"{run.symbol}: {run.output('champion')} is in production again: {why}"
        return self._record(run, Step.ROLLED_BACK, StepResult(sentence=said))

    def _done(self, run: RetrainingRun) -> RetrainingRun:
        if self._rolled_back_by(run):
            return self._back(run)
        said = f"{run.symbol} {run.output('version')} stays; it is measured again in {MEASURED_AFTER} days"
        return self._record(run, Step.DONE, StepResult(sentence=said))

    def _measured(self, run: RetrainingRun) -> RetrainingRun | None:
        """Return the run with what the promotion came to after 90 days; None before."""
        since = int(run.output("taken_over"))
        until = since + MEASURED_AFTER * DAY
        if self.view.frontier < until:
            return None
        after = measures(self.view, str(run.output("sha256")), since=since - 1, until=until)
        said = f"{run.symbol} {run.output('version')}: {MEASURED_AFTER} days after the promotion"
        return self._record(run, Step.MEASURED, StepResult(outputs={"after_90_days": after}, sentence=said))

    def _recorded(self, run: RetrainingRun, step: Step, made: StepResult) -> RetrainingRun:
        if made.refusal:
            return self._record(run, Step.FAILED, StepResult(outputs=made.outputs, sentence=made.refusal))
        return self._record(run, step, made)

    def _record(self, run: RetrainingRun, step: Step, made: StepResult, *, by: str = "") -> RetrainingRun:
        last = run.steps[-1]
        inputs = {"from": str(last.step), "row": last.hash}
        return self._append(run.id, run.symbol, step, made, inputs, by=by)

    def _append(
        self, name: str, symbol: str, step: Step, made: StepResult, inputs: dict[str, Any], *, by: str = ""
    ) -> RetrainingRun:
        stamp = int(self.now().timestamp() * 1_000_000_000)
        row = StepRow(
            number=0, run=name, symbol=symbol, step=step, time=stamp, desk=self.view.frontier,
            by=by or self.by, inputs=inputs, outputs=made.outputs, sentence=made.sentence,
        )  # fmt: skip
        after = self.book.append(row)
        self.tell(f"{name} {step}: {made.sentence}")
        return after

    def next_of(self, run: RetrainingRun) -> Iterator[str]:
        """Yield what a run would do next, in words; nothing is done."""
        if not run.is_active:
            return
        if gone := self._taken_away(run):
            yield f"run {run.id} would end: {gone}"
        elif run.now is Step.SHADOWING:
            yield f"run {run.id}: {self.compared(run).sentence}"
        else:
            yield f"run {run.id} is {run.now} and would go on from there"


def _plain(found: ChampionComparison) -> dict[str, Any]:
    numbers = {"e_value": found.e_value, "mean": found.mean, "low": found.low, "high": found.high}
    finite = {name: None if value != value else value for name, value in numbers.items()}
    return {**finite, "verdict": str(found.verdict), "signals": found.signals}

"""Promotion: the winner of a search becomes a strategy file, or is refused with the reasons.

Where promoted strategies come from: one row for each, with what changed.

The hold-out of an experiment: unseen until a promotion opens it, and each look is counted.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import insert, select

from lockstep.errors import ExperimentError, PromotionRefused
from lockstep.files import replace_file
from lockstep.identity import only_proves
from lockstep.market.dates import DateRange
from lockstep.strategy.config import StrategyConfig
from lockstep.strategy.family import load_strategy
from research.experiments import account_store, law
from research.experiments.accounts import SymbolAccount
from research.experiments.analysis import Judgement
from research.experiments.evaluation import code_of, load_data
from research.experiments.execution import Lab
from research.experiments.paths import value_at
from research.experiments.selection import Ranked
from research.experiments.service import finished, judged, verified_ranking
from research.experiments.store import Record
from research.experiments.strategy_log import LogEntry, append_entry
from research.experiments.strategy_log import strategy_yaml as written
from research.experiments.variants import VariantSpace
from research.experiments.why import verdict_on
from research.ledger import promotions
from research.ledger.law import FORCED, PROMOTED, REFUSED, Verdict
from research.ledger.tables import Genealogy
from research.statistics.gate import hold_out_p_limit
from research.statistics.verdict import VerdictLine


def parent_of(lab: Lab, parent: StrategyConfig) -> str | None:
    """Return the name of the strategy that a configuration was promoted from; None where it never was."""
    query = select(Genealogy.parent).where(Genealogy.config_hash == parent.config_hash)
    with lab.database.read() as connection:
        found: str | None = connection.scalar(query.order_by(Genealogy.id.desc()).limit(1))
    return found


def remember(lab: Lab, entry: LogEntry) -> None:
    """Write down what was promoted."""
    with lab.database.write() as connection:
        connection.execute(
            insert(Genealogy).values(
                strategy=entry.name,
                config_hash=entry.config_hash,
                parent=entry.parent,
                parent_hash=entry.parent_hash,
                grandparent=entry.grandparent,
                experiment_id=entry.experiment,
                changes=json.dumps(entry.changes),
                forced=entry.reason or None,
                promoted=lab.now().isoformat(timespec="seconds"),
            )
        )


def look_refusals(lab: Lab, record: Record) -> list[str]:
    """Return why the hold-out is no longer unseen: looks at it, and trials within its dates."""
    dates = record.plan.split.holdout
    if dates is None:
        return []
    found = []
    for family in lab.families_of(record.plan):
        looks = lab.ledger.looks(family, dates)
        if looks:
            times = "once" if len(looks) == 1 else f"{len(looks)} times"
            told = ", ".join(f"{look.recorded[:10]} for {look.purpose}" for look in looks)
            found.append(
                f"the hold-out {dates} of {family} was opened {times} before ({told}): it is no longer unseen"
            )
        if count := lab.ledger.count(family, dates.start, dates.end):
            found.append(
                f"{count:,} trials were made on {family} within the hold-out {dates}: it is no longer unseen"
            )
    return found


def law_refusals(lab: Lab, record: Record) -> tuple[str, ...]:
    """Return what the law has against the search: limits, hold-out, and those of the first search there."""
    families = lab.families_of(record.plan)
    return law.objections(record.plan, law.first_laws(lab.ledger, record.plan, families))


def open_holdout(
    lab: Lab, record: Record, config: StrategyConfig, name: str
) -> dict[str, Mapping[str, float]]:
    """Count the look, then run the winner on the hold-out; measures by symbol, empty without a hold-out."""
    plan, dates = record.plan, record.plan.split.holdout
    if dates is None:
        return {}
    for family, symbol in _once_per_family(lab, plan.symbols):
        purpose = f"promotion of {name}"
        lab.ledger.look(family, symbol, dates, purpose=purpose, now=lab.now(), experiment_id=record.id)
    found = {}
    for symbol in plan.symbols:
        data = load_data(plan, lab.book, lab.family(symbol), symbol, dates)
        found[symbol] = lab.backtest(config, data, dates)
    return found


def _once_per_family(lab: Lab, symbols: Sequence[str]) -> list[tuple[str, str]]:
    return list({lab.family(symbol): symbol for symbol in reversed(symbols)}.items())


def holdout_refusals(
    record: Record, holdout: Mapping[str, Mapping[str, float]], look: int = 1
) -> Iterator[str]:
    """Yield on which symbols the hold-out is not what the limits ask for, or from the second look on, noise.

    It is judged as the search is, too: without what a constant position of the same mean size earns.
    """
    least, limit = record.plan.limits.min_test_sharpe, hold_out_p_limit(look, record.plan.limits.size)
    for symbol, measures in holdout.items():
        sharpe, timing, p_value = (
            measures.get(name, math.nan) for name in ("sharpe", "timing_sharpe", "timing_p")
        )
        if not sharpe > least:
            yield f"the hold-out Sharpe ratio on {symbol} is {sharpe:.2f}; it must be above {least:g}"
        if not timing > least:
            found = "undefined" if math.isnan(timing) else f"{timing:.2f}"
            yield (
                f"the hold-out timing Sharpe ratio on {symbol}, beyond its mean position, is {found}; it "
                f"must be above {least:g}"
            )
        if look > 1 and not p_value <= limit:
            yield (
                f"look {look} at the hold-out of {symbol}: its p-value is {p_value:.2g}, and the looks "
                f"together leave {limit:.2g}"
            )


_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")


@dataclass(frozen=True, kw_only=True)
class PromotionRequest:
    """What is to be promoted, and to where.

    base_strategy   file that counts as parent; the winner's parameters on it must give what was evaluated
    force, reason   promote in spite of refusals; the reason is recorded
    folder, log     where the strategy file and the strategy log are
    """

    experiment: int
    name: str
    base_strategy: Path | None = None
    select_by: str | None = None
    expected_impact: str = ""
    force: bool = False
    reason: str = ""
    folder: Path = Path("configs/strategies")
    log: Path = Path("STRATEGY_LOG.md")


@dataclass(frozen=True, kw_only=True)
class Promotion:
    """A promoted strategy: its file, the refusals that were overruled, and the log's entry."""

    path: Path
    refusals: tuple[str, ...]
    entry: LogEntry


def promote(lab: Lab, request: PromotionRequest) -> Promotion:
    """Judge the winner of a finished experiment, open the hold-out, and write strategy, log and genealogy.

    PromotionRefused, unless forced, where the winner does not keep to the limits or its search to the law,
    where the ledger is not the one of earlier promotions, or where the hold-out was opened before or is not
    positive. What has changed then is the ledger: the refusal, and the look, if it came to that.
    A search that learned from earlier results may find the evidence that it lacks in an unseen hold-out.
    """
    record = finished(lab, request.experiment)
    path = _target(request)
    winner = _winner(lab, record, request.select_by)
    config, parent = _configs(record, winner, request)
    judgement = judged(lab, record, winner, request.select_by)
    waits = judgement.verdict.awaits_hold_out and record.plan.split.holdout is not None
    refusals = [*_code_refusals(record), *([] if waits else _sentences(judgement))]
    refusals += [*law_refusals(lab, record), *law.in_sample(config, _judged_dates(record))]
    refusals += look_refusals(lab, record)
    refusals += promotions.faults(lab.ledger, promotions.of_strategies(request.log, request.folder))
    remarks = promotions.remarks(lab.ledger, lab.families_of(record.plan))
    _refuse(lab, record, judgement, refusals, request)
    holdout = open_holdout(lab, record, config, request.name)
    look = _look(lab, record)
    judgement = judgement.with_hold_out(holdout, look, record.plan.limits)
    refusals += [*(_sentences(judgement) if waits else []), *holdout_refusals(record, holdout, look)]
    _refuse(lab, record, judgement, refusals, request)
    _pronounce(lab, record, FORCED if refusals else PROMOTED, refusals, request)
    entry = _entry(lab, record, request, config, parent, judgement, holdout, tuple(refusals), remarks)
    path.parent.mkdir(parents=True, exist_ok=True)
    replace_file(path, written(config, entry))
    remember(lab, entry)
    append_entry(request.log, entry)
    return Promotion(path=path, refusals=entry.refusals, entry=entry)


def _judged_dates(record: Record) -> list[DateRange]:
    """Return what a winner is judged on: the test dates of every window, and the hold-out."""
    sealed = record.plan.split.holdout
    return [*(each.test for each in record.plan.windows), *([] if sealed is None else [sealed])]


def _sentences(judgement: Judgement) -> list[str]:
    return [check.sentence for check in judgement.verdict.refusals]


def _look(lab: Lab, record: Record) -> int:
    """Return how often the hold-out of a search was opened by now, of its family that saw it most."""
    dates = record.plan.split.holdout
    counts = (len(lab.ledger.looks(family, dates)) for family in lab.families_of(record.plan) if dates)
    return max(counts, default=1) or 1


def _target(request: PromotionRequest) -> Path:
    if not _NAME.fullmatch(request.name):
        raise ExperimentError(
            f"--output-name {request.name!r}: use letters, digits, - and _, such as baseline_v2"
        )
    if request.force and not request.reason.strip():
        raise ExperimentError("--force needs --reason TEXT: it is recorded in the log")
    path = request.folder / f"{request.name}.yaml"
    if path.exists():
        raise ExperimentError(
            f"{path}: exists already; a promoted strategy is never overwritten, choose another name"
        )
    return path


def _winner(lab: Lab, record: Record, by: str | None) -> Ranked:
    ranked = verified_ranking(lab, record, by=by, top=1)
    if not ranked:
        raise ExperimentError(
            f"experiment {record.id}: {by or record.plan.select_by} is undefined for every variant; "
            "select by another"
        )
    return ranked[0]


def _configs(
    record: Record, winner: Ranked, request: PromotionRequest
) -> tuple[StrategyConfig, StrategyConfig]:
    """Return the winner's configuration under its new name, and the parent."""
    config = record.plan.space.variant(winner.variant).config
    assert config is not None
    if request.base_strategy is None:
        return config.replaced(name=request.name), record.plan.strategy
    parent = load_strategy(request.base_strategy)
    other = VariantSpace(base=parent, values=record.plan.parameters).variant(winner.variant).config
    if other is None or other.config_hash != config.config_hash:
        raise ExperimentError(
            f"--base-strategy {request.base_strategy}: with the winner's parameters it is not the "
            f"configuration that was evaluated; search on it, or leave it out for {record.plan.strategy.name}"
        )
    return config.replaced(name=request.name), parent


def _code_refusals(record: Record) -> list[str]:
    if word := only_proves(record.code_hash):
        return [word]
    now = code_of(record.plan)
    if record.code_hash == now:
        return []
    return [f"the code changed since the experiment ({record.code_hash[:10]} then, {now[:10]} now)"]


def _refuse(
    lab: Lab, record: Record, judgement: Judgement, refusals: Sequence[str], request: PromotionRequest
) -> None:
    if refusals and not request.force:
        _pronounce(lab, record, REFUSED, refusals, request)
        refused = f"experiment {record.id}, variant {judgement.winner.variant} is refused"
        force = "--force --reason TEXT promotes it anyway, and is recorded"
        found = _verdict(record, judgement, refusals)
        more = f"; --why has {len(found.why)} more" if found.why else ""
        raise PromotionRefused(
            f"{refused}: {'; '.join(refusals)}. {force}", short=f"{refused}: {found}{more}. {force}"
        )


def _verdict(record: Record, judgement: Judgement, refusals: Sequence[str]) -> VerdictLine:
    """Return the verdict on what is to be promoted; `refusals` are the gate's and all others."""
    own = {check.sentence for check in judgement.verdict.refusals}
    further = [refusal for refusal in refusals if refusal not in own]
    return verdict_on(record, judgement, promoted=not refusals, further=further)


def _pronounce(
    lab: Lab, record: Record, kind: str, refusals: Sequence[str], request: PromotionRequest
) -> None:
    verdict = Verdict(
        kind=kind,
        subject=request.name,
        families=tuple(lab.families_of(record.plan)),
        limits=record.plan.limits.model_dump(),
        refusals=tuple(refusals),
        reason=request.reason.strip() if kind == FORCED else "",
        experiment_id=record.id,
    )
    lab.ledger.pronounce(verdict, now=lab.now())


def _entry(
    lab: Lab,
    record: Record,
    request: PromotionRequest,
    config: StrategyConfig,
    parent: StrategyConfig,
    judgement: Judgement,
    holdout: Mapping[str, Mapping[str, float]],
    refusals: tuple[str, ...],
    remarks: tuple[str, ...],
) -> LogEntry:
    before, after = parent.model_dump(mode="json"), config.model_dump(mode="json")
    changes = {
        path: (value_at(before, path), value_at(after, path))
        for path in record.plan.parameters
        if value_at(before, path) != value_at(after, path)
    }
    return LogEntry(
        name=request.name,
        day=lab.now().date(),
        config_hash=config.config_hash,
        parent=parent.name,
        parent_hash=parent.config_hash,
        grandparent=parent_of(lab, parent),
        experiment=record.id,
        experiment_name=record.name,
        code_hash=record.code_hash,
        data_hashes=record.data_hashes,
        symbols=record.plan.symbols,
        searched=_searched(record),
        changes=changes,
        judgement=judgement,
        train=_train(lab, record, judgement.winner),
        holdout=dict(holdout),
        holdout_dates=record.plan.split.holdout,
        limits=record.plan.limits,
        verdict=_verdict(record, judgement, refusals),
        refusals=refusals,
        remarks=remarks,
        reason=request.reason.strip() if refusals else "",
        expected_impact=request.expected_impact.strip(),
        ledger=promotions.stamp_of(lab.ledger),
    )


def _searched(record: Record) -> str:
    plan = record.plan
    named = {"train": plan.split.train, "test": plan.split.validation}
    if plan.walk_forward:
        anchored = " anchored" if plan.anchored else ""
        how = f"{len(plan.windows)} windows of {plan.walk_forward}{anchored} from"
        named = {how: plan.split.searched}
    if plan.split.holdout:
        named["hold-out"] = plan.split.holdout
    return ", ".join(f"{name} {dates}" for name, dates in named.items())


def _train(lab: Lab, record: Record, winner: Ranked) -> dict[str, SymbolAccount]:
    if len(record.plan.windows) > 1:
        return {}
    return account_store.of_variant(lab.store, record, winner.variant, "train")

"""What commands and pages ask of an experiment that is finished: its verified winners and their judgement."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import cache, partial

from lockstep.errors import ExperimentError
from lockstep.identity import only_proves
from research.experiments import account_store
from research.experiments.analysis import Judgement, judgement
from research.experiments.declaration import weakest
from research.experiments.diagnostics import SymbolDiagnostics, diagnose
from research.experiments.evaluation import Data, code_of
from research.experiments.execution import Lab
from research.experiments.kept_returns import Residuals, common_variants
from research.experiments.repeats import same_as
from research.experiments.selection import Ranked
from research.experiments.store import Record
from research.experiments.verification import selected, shown_accounts, verify, winners
from research.ledger.shares import spent_on
from research.ledger.spaces import Derivation
from research.ledger.tables import FINISHED


def finished(lab: Lab, number: int) -> Record:
    """Return an experiment that has a result; ExperimentError saying what to do about any other."""
    record = lab.store.record(number)
    if record.status != FINISHED:
        what = {
            "running": f"{record.done:,} of {record.runs:,} runs are done; "
            f"`lockstep experiments resume {number}` does the rest",
            "unsuccessful": "it ended without a result; `export` has the errors of its runs",
            "mismatch": "sweep and Backtrader disagree about a winner; it has no result",
        }
        raise ExperimentError(f"experiment {number} is {record.status}: {what[record.status]}")
    return record


def verified_ranking(
    lab: Lab, record: Record, *, by: str | None = None, top: int | None = None
) -> list[Ranked]:
    """Return the best variants with their accounts, all run in Backtrader: those that were not are run now.

    ExperimentError where code or data changed meanwhile, so that this cannot be done; EngineMismatch.
    Accounts that an earlier version did not keep are traded too, or left out where code or data changed.
    """
    best = selected(lab.store, record, by=by, top=top)
    if not all(each.verified for each in best.ranked):
        verify(lab.store, record, winners(record, best), same_data(lab, record), backtest=lab.backtest)
        best = selected(lab.store, record, by=by, top=top)
    shown = shown_accounts(record, best)
    if account_store.missing(lab.store, record, shown) and record.code_hash == code_of(record.plan):
        with suppress(ExperimentError):
            account_store.keep(lab.store, record, shown, same_data(lab, record), lab.engine)
    residuals = cache(partial(Residuals.of, lab.store, record))
    same = same_as(lab.store, record, [each.variant for each in best.ranked])
    return [
        replace(
            each,
            accounts=account_store.of_variant(lab.store, record, each.variant, residuals=residuals),
            same_as=same.get(each.variant, {}),
        )
        for each in best.ranked
    ]


def searched(lab: Lab, record: Record) -> Derivation:
    """Return whether an experiment was declared before any result or adaptive; the worst symbol decides."""
    return weakest({symbol: lab.ledger.searched(record.id, symbol) for symbol in record.plan.symbols})


def same_data(lab: Lab, record: Record) -> Callable[[str], Data]:
    """Return how to load the bars of an experiment; ExperimentError where they or the code changed."""
    now = code_of(record.plan)
    if record.code_hash != now:
        changed = f"the code changed since ({record.code_hash[:10]} then, {now[:10]} now)"
        raise ExperimentError(
            f"experiment {record.id}: {only_proves(record.code_hash) or changed}; what was not checked then "
            "cannot be checked now: run the search anew"
        )

    @cache
    def load(symbol: str) -> Data:
        data = lab.data(record.plan, symbol)
        if data.hash != record.data_hashes[symbol]:
            raise ExperimentError(
                f"experiment {record.id}: the bars of {symbol} changed since; run the search again"
            )
        return data

    return load


@spent_on("statistics")
def judged(lab: Lab, record: Record, winner: Ranked, by: str | None = None) -> Judgement:
    """Return the judgement of a variant by the limits of its experiment and by the ledger as it is now.

    by   measure by which the windows of a walk-forward chose; the experiment's where it is None
    """
    symbols = record.plan.symbols
    return judgement(
        lab.store,
        lab.ledger,
        record,
        winner,
        walk_forward=account_store.of_walk_forward(lab.store, record, by or record.plan.select_by),
        families={symbol: lab.family(symbol) for symbol in symbols},
        sessions_per_year={
            symbol: float(lab.book.session(symbol).template.sessions_per_year) for symbol in symbols
        },
    )


@spent_on("statistics")
def diagnosed(
    lab: Lab, record: Record, ranked: Sequence[Ranked], found: Judgement
) -> tuple[SymbolDiagnostics, ...]:
    """Return the second opinions on an experiment: all its trials are run again for them, where they can."""

    def succeeded(symbol: str) -> Sequence[int]:
        return [int(each) for each in common_variants(lab.store.outlines(record.id, symbol))]

    return diagnose(
        record,
        ranked,
        variants={symbol: succeeded(symbol) for symbol in record.plan.symbols},
        counted={each.symbol: each.counted for each in found.symbols},
        independent={each.symbol: each.maximum.effective + each.maximum.unsketched for each in found.symbols},
        per_year={each.symbol: each.sessions_per_year for each in found.symbols},
        load=_loads(lab, record),
        residuals_of=lab.residuals,
        engine=lab.engine,
    )


def _loads(lab: Lab, record: Record) -> Callable[[str], Data]:
    try:
        return same_data(lab, record)
    except ExperimentError as error:
        refusal = error

        def refuse(symbol: str) -> Data:
            raise refusal

        return refuse

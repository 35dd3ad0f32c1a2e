"""Parity of a whole portfolio: Cerebro, its compiled twin, and a live engine that is killed and restarted.

The live engine runs with the limits of the desk's own live.yml. They have to be looser than the portfolio's,
or it refuses to start; and what it refuses all the same is a difference, because no backtest refuses it.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import zip_longest
from pathlib import Path
from typing import Any

import llvmlite.binding
import numpy as np
import pandas as pd
from pydantic import AwareDatetime

from certify.certificate import Part, expiry
from certify.live_run import DeskRules, LiveRun
from certify.run import (
    LIVE,
    RESEARCH,
    SWEEP,
    CertificateRequest,
    history_of,
    live_over,
    span_of,
    unchanged,
)
from certify.series import Arrived, labels_of, with_settled
from lockstep.errors import ConfigError, ParityError
from lockstep.files import replace_file
from lockstep.floats import require_exact
from lockstep.identity import json_digest
from lockstep.live.config import LiveConfig
from lockstep.live.traded import TradedModel
from lockstep.market.config import load_instruments
from lockstep.market.history import History
from lockstep.models.bundle import Bundle
from lockstep.models.evidence import bars_read
from lockstep.models.golden import arithmetic
from lockstep.models.manifest import BarsRead
from lockstep.models.store import load_bundle
from lockstep.monitoring.parity import compare
from lockstep.portfolio.state import ProposalRecord, SettledSet
from lockstep.settings import Grown, SchemaVersion
from research.backtest.portfolio import PortfolioMember, PortfolioResult, run_portfolio
from research.backtest.result import steps_of
from research.backtest.run import BACKTRADER, COMPILED

SCHEMA = 1
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MARKS = ("equity", "drawdown", "stopped", "halted")
_PROPOSALS = tuple(ProposalRecord.__dataclass_fields__)


class AccountPart(Grown):
    """One comparison of the account that all lanes share.

    sets       bar sets whose equity, drawdown, stop and halt were compared
    proposals  compared in every field; admitted: how many of them; refused: by rule
    different  how many sets and proposals differ; first: the first of them in words
    """

    between: tuple[str, str]
    sets: int
    proposals: int
    admitted: int
    refused: dict[str, int]
    different: int
    first: str = ""


class PortfolioCertificate(Grown):
    """Parity of one portfolio on one stretch of bars.

    portfolio   name; portfolio_hash: of its file; identity: of the file and what it names
    lanes       comparisons by symbol, as of a certificate of one bundle
    account     comparisons of what the lanes share
    limits      of the gateway that the live engine ran with; refusals: what it refused
    Other fields are as of `Certificate`.
    """

    schema_version: SchemaVersion = SCHEMA
    portfolio: str
    portfolio_hash: str
    identity: str
    start: str
    end: str
    lanes: dict[str, tuple[Part, ...]]
    account: tuple[AccountPart, ...]
    limits: dict[str, Any]
    refusals: dict[str, int]
    newest_bar: AwareDatetime
    killed_after: tuple[int, ...]
    restarts: int
    bundles: dict[str, str]
    hashes: dict[str, str]
    data: BarsRead
    processor: str
    machine: str
    floats: str
    versions: dict[str, str]
    issued: datetime
    expires: datetime

    @property
    def passed(self) -> bool:
        """Whether every lane and the account were compared, fills and proposals too, and nothing differed."""
        parts = [part for each in self.lanes.values() for part in each]
        compared = all(part.bars and part.marks and part.fills for part in parts)
        shared = all(part.sets and part.proposals for part in self.account)
        return bool(parts) and compared and shared and not self.different

    @property
    def different(self) -> int:
        """How much differed: in lanes, in the account, and orders that the gateway refused."""
        lanes = sum(part.different for each in self.lanes.values() for part in each)
        return lanes + sum(part.different for part in self.account) + sum(self.refusals.values())

    @property
    def digest(self) -> str:
        """SHA-256 (hex) of everything but the dates."""
        return json_digest(self.model_dump(mode="json", exclude={"issued", "expires"}))

    @property
    def name(self) -> str:
        """`parity-NAME-<first digits of the hash>`: names the files."""
        return f"parity-{self.portfolio}-{self.digest[:16]}"

    @property
    def sentence(self) -> str:
        """The result in one line, counted over the comparison with the live engine."""
        account, lanes = self.account[-1], [each[-1] for each in self.lanes.values()]
        counts = (
            f"{len(lanes)} lanes, {account.sets:,} bar sets, {account.proposals:,} proposals "
            f"({account.admitted:,} admitted), {sum(each.decisions for each in lanes):,} decisions, "
            f"{sum(each.fills for each in lanes):,} fills compared"
        )
        return f"{counts}, {self.different:,} difference{'' if self.different == 1 else 's'}"

    @property
    def first(self) -> str:
        """The first difference, or what was not compared; empty without either."""
        told = [part.first for part in self.account]
        told += [part.first for each in self.lanes.values() for part in each]
        told += [f"the gateway refused {count} by {rule}" for rule, count in self.refusals.items()]
        told += [
            f"lane {symbol}: nothing filled, so nothing is known of its fills; take a longer range"
            for symbol, parts in self.lanes.items()
            if not parts[-1].fills
        ]
        return next((each for each in told if each), "")


def certify_portfolio(
    config: LiveConfig, request: CertificateRequest, *, now: datetime, tell: Any = lambda text: None
) -> PortfolioCertificate:
    """Return the certificate of the portfolio that a desk trades, passed or not; nothing is written.

    config    of the desk: its portfolio and its limits; request: `versions` are those of the portfolio

    Raises: as `certify`; ConfigError where the desk trades no portfolio, or where its limits are not looser.
    """
    floats, book = require_exact(), load_instruments()
    portfolio = config.traded_portfolio(book)
    if portfolio is None:
        raise ConfigError("live.yml: trades no portfolio; certify its versions with --symbol")
    versions = {symbol: config.versions[symbol] for symbol in portfolio.symbols}
    bundles = {
        symbol: load_bundle(symbol, version, store=request.store) for symbol, version in versions.items()
    }
    models = {symbol: TradedModel.of(each) for symbol, each in bundles.items()}
    history = history_of(models, request, book)
    span = span_of(models, history, request)
    members = members_of(models, history)
    tell(f"research and twin, {span.start} to {span.end}")
    research, twin = (
        run_portfolio(portfolio, members, book, span=span, engine=engine) for engine in (BACKTRADER, COMPILED)
    )
    tell(f"live engine with the limits of the desk, to be killed {request.restarts} times")
    rules = DeskRules(
        portfolio=portfolio.model_dump(mode="json"), limits=config.limits.model_dump(mode="json")
    )
    live = live_over(bundles, request, span, research.lanes, rules)
    for mode in live.modes:
        if mode != floats:
            raise ParityError(f"live engine: floating-point mode {mode or 'unknown'}, here {floats}")
    lanes = {
        symbol: _lane(model, research, twin, live, members[symbol].history)
        for symbol, model in models.items()
    }
    keys = {key for model in models.values() for key in model.needs(book.markets)}
    symbols = tuple(sorted({key.symbol for key in keys}))
    sources = book.sources_of(symbols, request.data_dir, request.source)
    last = max(int(each.bars.end[-1]) for each in research.lanes.values())
    told = research.provenance
    first = next(iter(research.lanes.values())).provenance
    return PortfolioCertificate(
        portfolio=portfolio.name,
        portfolio_hash=told["portfolio_hash"],
        identity=told["identity"],
        start=str(span.start),
        end=str(span.end),
        lanes=lanes,
        account=_account(research, twin, live),
        limits=rules.limits,
        refusals=dict(Counter(e.rule for row in live.sets for e in row.events if e.kind == "refusal")),
        newest_bar=_EPOCH + timedelta(microseconds=last // 1_000),
        killed_after=live.killed_after,
        restarts=live.restarts,
        bundles={symbol: each.sha256 for symbol, each in bundles.items()},
        hashes={**unchanged(symbols, sources, book), "limits": json_digest(rules.limits)},
        data=bars_read(history, request.data_dir, request.source, last=last),
        processor=llvmlite.binding.get_host_cpu_name(),
        machine=arithmetic(_some_pipeline(bundles)),
        floats=live.modes[-1],
        versions=dict(first["versions"]),
        issued=now,
        expires=expiry(now),
    )


def members_of(models: Mapping[str, TradedModel], history: History) -> dict[str, PortfolioMember]:
    """Return bundles, by symbol, as research trades them in a portfolio: each on the bars that it reads."""
    return {
        symbol: PortfolioMember(
            strategy=model.config,
            history=replace(history, bars={key: history.bars[key] for key in model.needs(history.markets)}),
            veto=model.veto,
            model={"sha256": model.bundle.sha256},
        )
        for symbol, model in models.items()
    }


def _some_pipeline(bundles: Mapping[str, Bundle]) -> Any:
    return next((each.pipeline for each in bundles.values() if each.pipeline is not None), None)


def _lane(
    model: TradedModel, research: PortfolioResult, twin: PortfolioResult, live: LiveRun, history: History
) -> tuple[Part, Part]:
    """Compare one lane with the twin's, in everything that it writes down, and with the live engine's."""
    symbol, ids = model.key.symbol, model.plan.ids
    result = research.lanes[symbol]
    swept = compare(steps_of(result), steps_of(twin.lanes[symbol]), ids)
    arrived = Arrived(labels_of(model.plan, history.markets), model.key, live.warmup)
    traded = live.steps(symbol, model.config.timeframe, arrived)
    lived = compare(with_settled(steps_of(result), traded, history, model.plan), traded, ids)
    return Part.of((RESEARCH, SWEEP), swept), Part.of((RESEARCH, LIVE), lived)


def _account(
    research: PortfolioResult, twin: PortfolioResult, live: LiveRun
) -> tuple[AccountPart, AccountPart]:
    settled = [each.settled for each in live.sets if each.settled is not None]
    ours = _rows(research)
    return (
        account_part((RESEARCH, SWEEP), ours, _rows(twin)),
        account_part((RESEARCH, LIVE), ours, settled_rows(settled)),
    )


AccountRows = tuple[list[tuple[Any, ...]], list[tuple[Any, ...]]]
"""(stamp, equity, drawdown, stopped, halted) of each bar set, and (stamp, ...) of each proposal by rank."""


def _rows(result: PortfolioResult) -> AccountRows:
    stamps = pd.DatetimeIndex(result.equity.index).as_unit("ns").asi8.tolist()
    marks = list(zip(stamps, *(result.equity[name].tolist() for name in _MARKS), strict=True))
    proposals = list(zip(*(result.proposals[name].tolist() for name in _PROPOSALS), strict=True))
    return marks, [(row[1], *row) for row in proposals]


def settled_rows(settled: Sequence[SettledSet]) -> AccountRows:
    """Return what a live engine journaled of the account."""
    marks = [
        (each.state.stamp, each.state.equity, each.state.drawdown, each.state.stopped, each.state.halted)
        for each in settled
    ]
    proposals = [
        (told.stamp, *(getattr(told, name) for name in _PROPOSALS))
        for each in settled
        for told in each.proposals
    ]
    return marks, proposals


def account_part(between: tuple[str, str], first: AccountRows, second: AccountRows) -> AccountPart:
    """Compare two records of one account row by row; NaN equals NaN."""
    differences = []
    for what, names, one, other in (
        ("bar set", _MARKS, first[0], second[0]),
        ("proposal", _PROPOSALS, first[1], second[1]),
    ):
        for mine, theirs in zip_longest(one, other):
            if repr(mine) != repr(theirs):
                differences.append(_told(what, names, mine, theirs))
    answers = Counter(row[_PROPOSALS.index("rule") + 1] for row in first[1])
    return AccountPart(
        between=between,
        sets=len(first[0]),
        proposals=len(first[1]),
        admitted=answers.pop("", 0),
        refused=dict(sorted(answers.items())),
        different=len(differences),
        first=min(differences)[1] if differences else "",
    )


def _told(
    what: str, names: Sequence[str], mine: tuple[Any, ...] | None, theirs: tuple[Any, ...] | None
) -> tuple[int, str]:
    stamp = min(each[0] for each in (mine, theirs) if each is not None)
    moment = np.datetime_as_string(np.datetime64(stamp, "ns"), unit="s")
    if mine is None or theirs is None or mine[0] != theirs[0]:
        there = [bool(each is not None and each[0] == stamp) for each in (mine, theirs)]
        return stamp, f"{what} {moment}Z: " + " against ".join("there" if each else "none" for each in there)
    name, one, other = next(
        (name, one, other)
        for name, one, other in zip(names, mine[1:], theirs[1:], strict=True)
        if repr(one) != repr(other)
    )
    return stamp, f"{what} {moment}Z {name}: {one!r} against {other!r}"


def write_portfolio_certificate(certificate: PortfolioCertificate, folder: Path) -> Path:
    """Write `<name>.json` whole or not at all, and return it."""
    folder.mkdir(parents=True, exist_ok=True)
    content = {**certificate.model_dump(mode="json"), "passed": certificate.passed}
    return replace_file(folder / f"{certificate.name}.json", json.dumps(content, indent=2) + "\n")

"""Parity of a whole portfolio: Cerebro, its compiled twin, and a live engine that is killed and restarted.

The live engine runs with the limits of the desk's own live.yml. They have to be looser than the portfolio's,
or it refuses to start; and what it refuses all the same is a difference, because no backtest refuses it.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import zip_longest
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

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
from lockstep.live.events import OrdersNetted
from lockstep.live.messages import SetRecord
from lockstep.live.traded import TradedModel
from lockstep.market.config import load_instruments
from lockstep.market.history import History
from lockstep.market.instrument import lane_name, traded_symbol
from lockstep.models.bundle import Bundle
from lockstep.models.evidence import bars_read
from lockstep.models.golden import arithmetic
from lockstep.models.manifest import BarsRead
from lockstep.models.store import load_bundle
from lockstep.monitoring.parity import compare
from lockstep.portfolio.config import PortfolioConfig
from lockstep.portfolio.state import ProposalRecord, SettledSet
from lockstep.settings import Grown, SchemaVersion
from lockstep.strategy.records import ENTRY, EXIT
from research.backtest.portfolio import PortfolioMember, PortfolioResult, run_portfolio
from research.backtest.result import BacktestResult, steps_of
from research.backtest.run import BACKTRADER, COMPILED

SCHEMA = 1
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MARKS = ("equity", "drawdown", "stopped", "halted")
_PROPOSALS = tuple(ProposalRecord.__dataclass_fields__)
_NETS = ("instrument", "quantity", "members")


class AccountPart(Grown):
    """One comparison of the account that all lanes share.

    sets       bar sets whose equity, drawdown, stop and halt were compared
    proposals  compared in every field; admitted: how many of them; refused: by rule
    nets       of ensembles: what all members sent together, by instrument and bar set, with its parts
    different  how many sets, proposals and nets differ; first: the first of them in words
    """

    LATER: ClassVar[frozenset[str]] = frozenset(("nets",))

    between: tuple[str, str]
    sets: int
    proposals: int
    admitted: int
    refused: dict[str, int]
    nets: int = 0
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
        netted = any(traded_symbol(name) != name for name in self.lanes)
        shared = all(part.sets and part.proposals and bool(part.nets) == netted for part in self.account)
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
        counts += f", {account.nets:,} net orders" if account.nets else ""
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
    versions = {symbol: config.versions[symbol] for symbol in portfolio.names}
    bundles = {
        name: load_bundle(traded_symbol(name), version, store=request.store)
        for name, version in versions.items()
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
        portfolio=_with_versions(portfolio, bundles), limits=config.limits.model_dump(mode="json")
    )
    live = live_over(bundles, request, span, research.lanes, rules)
    for mode in live.modes:
        if mode != floats:
            raise ParityError(f"live engine: floating-point mode {mode or 'unknown'}, here {floats}")
    lanes = {
        name: _lane(name, model, research, twin, live, members[name].history)
        for name, model in models.items()
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


def _with_versions(portfolio: PortfolioConfig, bundles: Mapping[str, Bundle]) -> dict[str, Any]:
    """Return a portfolio's content, the versions of its members by number.

    One version of an instrument is in production; in the store of the live run it may be another member's.
    """
    content = portfolio.model_dump(mode="json")
    for lane in content["lanes"]:
        for member in lane.get("members", ()):
            member["version"] = bundles[lane_name(lane["symbol"], member["name"])].version
    return content


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
    name: str, model: TradedModel, research: PortfolioResult, twin: PortfolioResult, live: LiveRun,
    history: History,
) -> tuple[Part, Part]:  # fmt: skip
    """Compare one lane with the twin's, in everything that it writes down, and with the live engine's."""
    result, ids = research.lanes[name], model.plan.ids
    swept = compare(steps_of(result), steps_of(twin.lanes[name]), ids)
    arrived = Arrived(labels_of(model.plan, history.markets), model.key, live.warmup)
    traded = live.steps(name, model.config.timeframe, arrived)
    lived = compare(with_settled(steps_of(result), traded, history, model.plan), traded, ids)
    return Part.of((RESEARCH, SWEEP), swept), Part.of((RESEARCH, LIVE), lived)


def _account(
    research: PortfolioResult, twin: PortfolioResult, live: LiveRun
) -> tuple[AccountPart, AccountPart]:
    ours = _rows(research)
    return (
        account_part((RESEARCH, SWEEP), ours, _rows(twin)),
        account_part((RESEARCH, LIVE), ours, journaled_rows(live.sets)),
    )


class AccountRows(NamedTuple):
    """What is compared of one account; every row begins with its stamp.

    marks       (stamp, equity, drawdown, stopped, halted) of each bar set
    proposals   of each proposal by rank; nets: (stamp, instrument, quantity, members) of each net order
    """

    marks: list[tuple[Any, ...]]
    proposals: list[tuple[Any, ...]]
    nets: list[tuple[Any, ...]]


def _rows(result: PortfolioResult) -> AccountRows:
    stamps = pd.DatetimeIndex(result.equity.index).as_unit("ns").asi8.tolist()
    marks = list(zip(stamps, *(result.equity[name].tolist() for name in _MARKS), strict=True))
    proposals = list(zip(*(result.proposals[name].tolist() for name in _PROPOSALS), strict=True))
    return AccountRows(marks, [(row[1], *row) for row in proposals], nets_of(result.lanes))


def nets_of(lanes: Mapping[str, BacktestResult]) -> list[tuple[Any, ...]]:
    """Return what the members of each ensemble sent together, worked out from the orders of its lanes."""
    found: dict[tuple[int, str], dict[str, float]] = {}
    for name, result in lanes.items():
        symbol = traded_symbol(name)
        for order in result.records.orders if symbol != name else ():
            if order.status == "accepted" and order.intent in (ENTRY, EXIT):
                found.setdefault((order.decision, symbol), {})[name] = order.quantity
    return [
        (*key, math.fsum(members.values()), tuple(sorted(members.items())))
        for key, members in sorted(found.items())
    ]


def journaled_rows(sets: Sequence[SetRecord]) -> AccountRows:
    """Return what a live engine journaled of the account."""
    nets = [
        (each.decision, each.symbol, each.quantity, tuple(sorted(each.members.items())))
        for row in sets
        for each in row.events
        if isinstance(each, OrdersNetted)
    ]
    return settled_rows([each.settled for each in sets if each.settled is not None], nets)


def settled_rows(settled: Sequence[SettledSet], nets: Sequence[tuple[Any, ...]] = ()) -> AccountRows:
    """Return what was settled of an account, and the net orders."""
    marks = [
        (each.state.stamp, each.state.equity, each.state.drawdown, each.state.stopped, each.state.halted)
        for each in settled
    ]
    proposals = [
        (told.stamp, *(getattr(told, name) for name in _PROPOSALS))
        for each in settled
        for told in each.proposals
    ]
    return AccountRows(marks, proposals, list(nets))


def account_part(between: tuple[str, str], first: AccountRows, second: AccountRows) -> AccountPart:
    """Compare two records of one account row by row; NaN equals NaN."""
    differences = []
    for what, names, one, other in (
        ("bar set", _MARKS, first.marks, second.marks),
        ("proposal", _PROPOSALS, first.proposals, second.proposals),
        ("net order", _NETS, first.nets, second.nets),
    ):
        for mine, theirs in zip_longest(one, other):
            if repr(mine) != repr(theirs):
                differences.append(_told(what, names, mine, theirs))
    answers = Counter(row[_PROPOSALS.index("rule") + 1] for row in first.proposals)
    return AccountPart(
        between=between,
        sets=len(first.marks),
        proposals=len(first.proposals),
        nets=len(first.nets),
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

"""Ensembles: members decide, fill and are accounted for on their own; one order of them all leaves."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

import certify.portfolio as under_test
from certify.page import portfolio_certificate_html
from certify.paper import PaperRequest, compare_paper
from certify.portfolio import PortfolioCertificate, certify_portfolio
from certify.recorded import check_recorded
from certify.run import CertificateRequest
from lockstep.errors import ConfigError, LiveError
from lockstep.live.config import LiveConfig
from lockstep.live.events import OrderSent, OrdersNetted
from lockstep.live.journal import Journal
from lockstep.live.messages import OrderIntent, Refusal, SetRecord
from lockstep.live.netting import exits_of, netted
from lockstep.live.outbox import Outbox
from lockstep.live.service import Service
from lockstep.market.instrument import traded_symbol
from lockstep.models.store import ModelStore
from lockstep.strategy.matching import NO_ORDER
from operations.desk_risk import subject_of_desk
from support import desks, papers, portfolios
from support.live_portfolios import LIMITS, PORTFOLIO
from support.models import RECORD
from support.portfolio_live import engine_of
from support.portfolio_parity import LOOSE

NOW = datetime(2026, 11, 30, tzinfo=UTC)
# Thresholds far apart: the strict member stays out where the others enter, and comes in when they hold.
THRESHOLDS = {"v1": 0.0, "v2": 0.5, "v3": 0.55}
MEMBERS = [
    {"name": "eager", "version": "v1", "share": 0.4},
    {"name": "even", "version": "v2", "share": 0.3},
    {"name": "strict", "version": "v3", "share": 0.3},
]
ENSEMBLE: Mapping[str, Any] = {
    "capital": 5_000_000.0,
    "lanes": [
        {"symbol": "COMP", "members": MEMBERS, "units": 10, "max_contracts": 10},
        {"symbol": "SPX", "version": "production", "units": 1, "max_contracts": 4},
    ],
    "limits": {"max_positions": 2, "max_gross": 1.0, "daily_loss": {"fraction": 0.0005}},
    "groups": {},
}


def desk(folder: Path, **changes: Any) -> Path:
    """Write a desk whose COMP is traded by three versions together, and return its live.yml."""
    if not (folder / "store").is_dir():
        store = ModelStore(folder / "store")
        store.folder.mkdir(parents=True)
        for seed, threshold in enumerate(THRESHOLDS.values()):
            made = desks.bundle("COMP", seed=seed, threshold=threshold)
            store.register(made, record=RECORD, by="me", now=papers.NOW)
        store.register(desks.bundle("SPX"), record=RECORD, by="me", now=papers.NOW)
        for symbol in ("COMP", "SPX"):
            store.promote(symbol, "v1", by="me", now=papers.NOW, reason="test", force=True)
    (folder / "desk.yml").write_text(yaml.safe_dump({**PORTFOLIO, **ENSEMBLE}))
    settings = {"portfolio": str(folder / "desk.yml"), "instruments": [], "limits": LIMITS}
    return papers.config(folder, **{**settings, **changes})


@pytest.fixture(scope="module")
def lived(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a desk that was stopped and started again on its way."""
    folder = tmp_path_factory.mktemp("desk")
    config = desk(folder)
    for stop in (30, None):
        with Service(config, mode=None, environment={}, stop_after=stop) as service:
            service.run()
    return folder


def sets_of(path: Path) -> list[SetRecord]:
    with Journal.open(path, readonly=True) as journal:
        return [each for each in journal.entries(1) if isinstance(each, SetRecord)]


def nets(sets: list[SetRecord]) -> Iterator[tuple[SetRecord, OrdersNetted]]:
    return ((row, each) for row in sets for each in row.events if isinstance(each, OrdersNetted))


def test_members_trade_on_their_own_and_leave_as_one_order(lived: Path) -> None:
    sets = sets_of(lived / "live.db")
    lanes = {lane.symbol for row in sets for lane in row.lanes}
    assert lanes == {"COMP#eager", "COMP#even", "COMP#strict", "SPX"}
    found = list(nets(sets))
    assert len(found) > 10
    sizes = {len(each.members) for _, each in found}
    assert sizes >= {1, 2}
    for row, each in found:
        assert each.symbol == "COMP"
        assert each.quantity == math.fsum(each.members.values())
        sent = {
            lane.symbol: order.quantity
            for lane in row.lanes
            if lane.symbol != "SPX"
            for order in lane.orders
            if order.status == "accepted" and order.intent in ("entry", "exit")
        }
        assert each.members == sent
    # 40/30/30 of ten contracts.
    entered = {name: abs(size) for _, each in found for name, size in each.members.items()}
    assert entered == {"COMP#eager": 4.0, "COMP#even": 3.0, "COMP#strict": 3.0}


def test_its_journal_comes_out_again_and_paper_equals_its_backtest(lived: Path) -> None:
    report = check_recorded(lived / "live.db", store=ModelStore(lived / "store"))
    assert report.passed, (report.account, report.decisions)
    request = PaperRequest(journal=lived / "live.db", store=ModelStore(lived / "store"), resamples=200)
    comparison, _ = compare_paper(request, now=1)
    assert [each.symbol for each in comparison.instruments] == [
        "COMP#eager", "COMP#even", "COMP#strict", "SPX",
    ]  # fmt: skip
    for each in comparison.instruments:
        assert each.equality.different == 0, each.equality
        assert abs(each.paper_pnl - each.backtest_pnl) < 0.01


def test_the_risk_of_a_desk_is_that_of_its_net_position(lived: Path) -> None:
    """Members are shown each on their own; what they hold on opposite sides has no risk together."""
    subject = subject_of_desk(lived / "live.yml")
    assert set(subject.positions) == {"COMP#eager", "COMP#even", "COMP#strict", "SPX"}
    members = [place for place, each in enumerate(subject.symbols) if each != "SPX"]
    assert (subject.changes[:, members] == subject.changes[:, members[:1]]).all()
    crossed = np.array([1.0, 1.0, -2.0])
    assert not (subject.changes[:, members] @ crossed).any()


@pytest.fixture(scope="module")
def issued(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, PortfolioCertificate]:
    folder = tmp_path_factory.mktemp("certified")
    return folder, certified(folder, restarts=2)


def certified(folder: Path, *, restarts: int = 0) -> PortfolioCertificate:
    request = CertificateRequest(
        versions={}, store=ModelStore(folder / "store"), start="2016-01-04", end="2016-02-26",
        restarts=restarts,
    )  # fmt: skip
    return certify_portfolio(LiveConfig.load(desk(folder)), request, now=NOW)


def test_the_certificate_compares_members_and_net(issued: tuple[Path, PortfolioCertificate]) -> None:
    found = issued[1]
    assert found.passed, found.first
    assert sorted(found.lanes) == ["COMP#eager", "COMP#even", "COMP#strict", "SPX"]
    assert all(part.fills > 0 for parts in found.lanes.values() for part in parts)
    twin, live = found.account
    assert twin.nets == live.nets > 5
    assert f"{live.nets} net orders" in found.sentence
    assert "net orders" in portfolio_certificate_html(found)


def test_a_net_order_that_is_not_the_sum_of_its_parts_is_found(
    issued: tuple[Path, PortfolioCertificate], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Control: a live engine that leaves one member out of what leaves."""
    honest = under_test.journaled_rows

    def forgetful(sets: Any) -> under_test.AccountRows:
        rows = honest(sets)
        stamp, symbol, quantity, members = rows.nets[0]
        return rows._replace(nets=[(stamp, symbol, quantity - members[0][1], members[1:]), *rows.nets[1:]])

    monkeypatch.setattr(under_test, "journaled_rows", forgetful)
    found = certified(issued[0])
    assert not found.passed
    assert found.account[-1].different == 1
    assert "net order 2016-" in found.first


def test_no_mode_with_money_trades_it(tmp_path: Path) -> None:
    config = LiveConfig.load(desk(tmp_path))
    with pytest.raises(ConfigError, match=r"mode live: COMP#eager is a member of an ensemble and trades v1"):
        config.require_no_pin()


def test_a_broker_without_net_orders_is_refused_in_shadow(tmp_path: Path) -> None:
    path = desk(tmp_path, mode="shadow", broker={"kind": "traderspost", "tickers": {"COMP": "X", "SPX": "Y"}})
    with pytest.raises(LiveError, match="COMP: is an ensemble, and the broker traderspost takes no net"):
        Service(path, mode=None, environment={})


def test_a_unit_of_an_ensemble_is_refused(tmp_path: Path) -> None:
    stages = [{"from_day": 1, "mode": "shadow", "fraction": 1.0, "units": {"COMP": "SPY"}}]
    path = desk(tmp_path, rollout={"stages": stages})
    with pytest.raises(ConfigError, match="units: COMP is an ensemble"):
        Service(path, mode=None, environment={})


# What leaves

WORLD = portfolios.world(
    5, dict.fromkeys(("CL", "ES#a", "ES#b", "ES#c"), ("1h", 300)), stop=None, target=None
)  # fmt: skip


class Net(papers.Broker):
    """A broker that takes net orders, and keeps what it was given."""

    takes_net = True

    def __init__(self) -> None:
        self.taken: list[OrderIntent] = []

    def submit(self, intent: OrderIntent, message: Any) -> None:
        self.taken.append(intent)
        super().submit(intent, message)


def shadowed(folder: Path) -> tuple[desks.MemoryJournal, Net]:
    journal, broker = desks.MemoryJournal(), Net()
    config = portfolios.portfolio_of(WORLD)
    engine_of(WORLD, config, journal, folder, limits=LOOSE, broker=broker, expire=10**18).run()
    return journal, broker


def test_one_order_an_instrument_and_bar_set_reaches_the_broker(tmp_path: Path) -> None:
    """The position outside is the sum of the members' own, whatever they do among themselves."""
    journal, broker = shadowed(tmp_path)
    sent = [each for each in journal.events if isinstance(each, OrderSent)]
    assert len({each.order_id for each in sent}) == len(sent) == len(broker.taken)
    outside = [each for each in broker.taken if each.symbol == "ES"]
    assert {each.symbol for each in broker.taken} == {"CL", "ES"}
    assert len({each.decision for each in outside}) == len(outside) > 10
    wanted = {each.decision: each.quantity for _, each in nets(journal.sets)}
    crossed = [decision for decision, quantity in wanted.items() if not quantity]
    assert {each.decision: each.quantity for each in outside} == {
        decision: quantity for decision, quantity in wanted.items() if quantity
    }
    assert any(
        len({math.copysign(1.0, size) for size in each.members.values()}) == 2
        for _, each in nets(journal.sets)
    ), "members never wanted opposite sides: nothing is shown"
    # All orders fill at the next bar: the books of members add up to what left.
    held = {lane.symbol: lane.state for row in journal.sets for lane in row.lanes}
    waiting = sum(
        state.waiting.terms[0] for name, state in held.items() if name.startswith("ES#") and state.waiting
    )
    inside = sum(state.account[0] for name, state in held.items() if name.startswith("ES#")) + waiting
    assert inside == pytest.approx(math.fsum(each.quantity for each in outside))
    assert not {each.decision for each in outside} & set(crossed)


def part(name: str, intent: str, quantity: float) -> OrderIntent:
    return OrderIntent(
        order_id=f"1-shadow-{name}-5-{intent}-1", symbol=name, intent=intent, quantity=quantity,
        reference=100.0, terms=(quantity, *NO_ORDER[1:]), decision=5, reason=intent, probability=math.nan,
        version="v1",
    )  # fmt: skip


def an_id(symbol: str, decision: int, intent: str) -> str:
    return f"1-shadow-{symbol}-{decision}-{intent}-1"


def test_orders_of_members_are_one_and_others_stay_what_they_are() -> None:
    given = [part("CL", "entry", 1.0), part("ES#a", "entry", 3.0), part("ES#b", "exit", -2.0)]
    alone, net = netted(given, an_id)
    assert alone is given[0]
    assert (net.order_id, net.symbol, net.quantity, net.opens) == ("1-shadow-ES-5-net-1", "ES", 1.0, True)
    assert [traded_symbol(each.symbol) for each in net.parts] == ["ES", "ES"]
    left = exits_of(net)
    assert left is not None
    assert (left.order_id, left.quantity, left.opens) == (net.order_id, -2.0, False)
    assert exits_of(replace(net, parts=given[1:2])) is None
    (crossed,) = netted([part("ES#a", "entry", 2.0), part("ES#b", "exit", -2.0)], an_id)
    assert crossed.quantity == 0.0


def test_a_net_order_that_must_open_nothing_leaves_with_its_exits() -> None:
    """At the open something stands against entries: the exits among its parts are never refused."""
    for refused, expected in ((False, [1.0]), (True, [-2.0])):
        broker = Net()

        def review(intent: OrderIntent, no: bool = refused) -> Refusal | None:
            return Refusal(intent.order_id, "clock", "wrong") if no and intent.opens else None

        outbox = Outbox(
            broker,
            lambda event: None,
            due=lambda symbol, moment: moment,
            review=review,
            expire=10,
        )
        outbox.open(lambda: None)
        outbox.place(netted([part("ES#a", "entry", 3.0), part("ES#b", "exit", -2.0)], an_id))
        assert outbox.send(6) == []
        assert [each.quantity for each in broker.taken] == expected
        outbox.place(netted([replace(part("ES#a", "entry", 3.0), decision=6)], an_id))
        late = outbox.send(7)
        assert [each.outcome for each in late] == (["rejected"] if refused else [])

"""Smaller units: what may be one, what leaves in it, how a broker's words come back, what is refused."""

from __future__ import annotations

import itertools
import math
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from lockstep.errors import ConfigError, LiveError, LockstepError
from lockstep.live.brokers.protocol import Holding
from lockstep.live.events import Event, OrderSent
from lockstep.live.journal import Journal
from lockstep.live.journal.opening import WriterLock
from lockstep.live.messages import LaneState, ReportedFill
from lockstep.live.operator.commands import RolloutCommand, waiting
from lockstep.live.operator.orders_cli import app as orders
from lockstep.live.operator.rollout_cli import app as rollout
from lockstep.live.operator.statement import COLUMNS, FillPositions, PositionsFile, StatementFile
from lockstep.live.outside import BrokerFills
from lockstep.live.reconciliation import UnitHoldings
from lockstep.live.risk.rollout import Rollout, RolloutStage, Trades, require_sizes, scaled
from lockstep.live.units import OutwardUnits, SmallerUnit, declared_units, inside, opened_in
from lockstep.market.config import InstrumentBook, load_instruments
from lockstep.market.families import Families, load_families
from lockstep.settings import validated
from lockstep.strategy.lane import WaitingOrder
from support import journals, papers
from support.events import an_event
from support.orders import intent

MES = SmallerUnit("MES", "ES", 10, 1.0)
KNOWN = {"MES": MES}
STAGES = {
    "stages": [
        {"from_day": 1, "mode": "shadow"},
        {"from_day": 8, "mode": "live", "fraction": 0.1, "units": {"ES": "MES"}},
        {"from_day": 31, "mode": "live"},
    ]
}
PLAN = validated(Rollout, STAGES, where="test")
DECIDED = journals.START
ENTRY = f"1-live-ES-{DECIDED}-entry-1"
FLAT = LaneState(account=(0.0, math.nan, math.nan, math.nan, 100_000.0))
WAITING = WaitingOrder(
    terms=(0.1, 0.01, 0.0, math.nan, math.nan), decision=DECIDED, intent="entry", reason="enter long",
    probability=0.6, order_id=ENTRY,
)  # fmt: skip
HELD = LaneState(account=(0.1, 5_000.0, 4_950.0, math.nan, 1e5), trade={"decision": DECIDED}, bars_held=1)


# What may be a unit


@pytest.mark.parametrize(
    ("whole", "part", "per"),
    [("ES", "MES", 10), ("NQ", "MNQ", 10), ("GC", "MGC", 10), ("SI", "SIL", 5), ("6E", "M6E", 10),
     ("BTC", "MBT", 50), ("6J", "MJY", 10)],
)  # fmt: skip
def test_a_micro_is_a_unit_of_its_contract(whole: str, part: str, per: int) -> None:
    found = declared_units([{}, {whole: part}, {whole: part}], [whole, "ZC"], load_instruments())
    assert found == {part: SmallerUnit(part, whole, per, 1.0)}


def test_of_what_is_shipped_these_are_units_and_no_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look at a new pair before it joins: BZ and MCL have two prices, which nothing declared tells."""
    book, families = load_instruments(), load_families()
    monkeypatch.setattr("lockstep.live.units.load_families", lambda: families)
    found = set()
    for whole, part in itertools.permutations(book.instruments, 2):
        with suppress(ConfigError):
            declared_units([{whole: part}], [whole], book)
            found.add(f"{whole}>{part}")
    assert found == set(
        "ES>MES NQ>MNQ RTY>M2K YM>MYM GC>MGC SI>SIL HG>MHG CL>MCL BZ>MCL NG>QG NG>MNG"
        " 6A>M6A 6B>M6B 6C>MCD 6E>M6E 6J>MJY 6S>MSF BTC>MBT".split()
    )


def odd() -> InstrumentBook:
    """The shipped book, with micros of ES that have something wrong with them."""
    book = load_instruments()
    micro = book.instrument("MES")
    changes: dict[str, Any] = {
        "M3S": {"multiplier": 20.0}, "MTS": {"tick_size": 0.1}, "MSS": {"size_step": 3.0},
        "M2S": {"multiplier": 30.0},
    }  # fmt: skip
    others = {name: micro.model_copy(update={"symbol": name, **each}) for name, each in changes.items()}
    return book.model_copy(update={"instruments": {**book.instruments, **others}})


@pytest.mark.parametrize(
    ("stage", "message"),
    [
        ({"ES": "MSE"}, "rollout: stage 2: units: ES: MSE: not in instruments.yml; did you mean 'M"),
        ({"NQ": "MNQ"}, "NQ is not traded by this desk; did you mean 'NQM'?"),
        ({"ES": "ES"}, "the desk trades ES itself"),
        ({"ES": "CL"}, "the desk trades CL itself"),
        ({"CL": "BZ"}, "CL: BZ: is not smaller: 1000 USD a point, CL 1000"),
        ({"MCL": "CL"}, "MCL: CL: the desk trades CL itself"),
        ({"MBT": "BTC"}, "MBT: BTC: is not smaller: 5 USD a point, MBT 0.1"),
        ({"ES": "MNQ"}, "is of the family NASDAQ100, ES of SP500"),
        ({"ES": "SPY"}, "trades in session NYSE, ES in CME"),
        ({"ES": "M3S"}, "2.5 of them make one contract: 20 USD a point, ES 50; the ratio must be whole"),
        ({"ES": "M2S"}, "is not smaller: 30 USD a point, ES 50"),
        ({"ES": "MTS"}, "its tick is 0.1, that of ES 0.25"),
        ({"SPX": "SPY"}, "its tick is 0.01, that of SPX 0.25"),
        ({"CL": "QM"}, "its tick is 0.025, that of CL 0.01: must be the same or a whole multiple"),
        ({"ES": "MSS"}, "its size step of 3 does not divide that of ES, 1 contracts or 10 MSS"),
        ({"ES": "MES", "SPX": "MES"}, "trades in session CME, SPX in NYSE"),
        ({"ES": "MES", "ESH": "MES"}, "MES is the unit of ES and ESH: their fills could not be told apart"),
    ],
)
def test_what_is_no_unit_is_refused_in_one_line(
    stage: dict[str, str], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    book = odd()
    twin = book.instrument("ES").model_copy(update={"symbol": "ESH", "proxy_of": "ES"})
    families = [{"family": "SP500", "of": ["M3S", "MTS", "MSS", "M2S"]}]
    monkeypatch.setattr("lockstep.live.units.load_families", lambda: listed(families))
    traded = ["ES", "CL", "MCL", "MBT", "SPX", "ESH", "NQM"]
    book = book.model_copy(update={"instruments": {**book.instruments, "ESH": twin}})
    with pytest.raises(ConfigError) as refused:
        declared_units([{}, stage], traded, book)
    assert message in str(refused.value)
    assert str(refused.value).startswith("rollout: stage 2: units: ")
    assert "\n" not in str(refused.value)


def listed(families: list[dict[str, Any]]) -> Any:
    shipped = dict(load_families().families)
    for each in families:
        shipped[each["family"]] = (*shipped[each["family"]], *each["of"])
    return Families(families=shipped)


def test_the_same_unit_at_two_stages_is_one_and_shadow_may_name_it() -> None:
    plan = Rollout(
        stages=(
            RolloutStage(from_day=1, mode="shadow", units={"ES": "MES"}),
            RolloutStage(from_day=2, mode="live", fraction=0.3, units={"ES": "MES"}),
        )
    )
    assert plan.smaller_units(["ES"], load_instruments()) == KNOWN
    assert [each.spelled for each in plan.stages] == [
        "shadow, ES as MES",
        "live with 30% of the size, ES as MES",
    ]
    assert Rollout().smaller_units(["ES"], load_instruments()) == {}


# Sizes


def test_a_stage_that_sent_nothing_sends_a_micro() -> None:
    one = intent(quantity=-1.0)
    assert scaled(one, 0.1, 1.0) is not one
    order = scaled(replace(one, unit=MES), 0.1, 1.0)
    assert (order.quantity, order.leaving.quantity, order.leaving.symbol) == (-0.1, -1.0, "MES")  # type: ignore[union-attr]
    assert order.leaving.order_id == one.order_id  # type: ignore[union-attr]
    assert one.leaving is one
    refusal = scaled(replace(one, unit=MES), 0.05, 1.0)
    assert refusal.detail == "5% of 1 contracts is less than 1 MES"  # type: ignore[union-attr]


def test_a_stage_with_a_unit_is_judged_by_the_unit() -> None:
    require_sizes(PLAN, 0, {"ES": Trades(1.0, 1.0)}, KNOWN)
    with pytest.raises(ConfigError, match="stage 2 is live with 10%"):
        require_sizes(PLAN, 0, {"ES": Trades(1.0, 1.0)})
    little = Rollout(stages=(RolloutStage(from_day=1, mode="live", fraction=0.05, units={"ES": "MES"}),))
    with pytest.raises(ConfigError, match=r"less than its step of 0\.1: .*trade at least 2 contracts"):
        require_sizes(little, 0, {"ES": Trades(1.0, 1.0)}, KNOWN)
    require_sizes(little, 0, {"ES": Trades(2.0, 1.0)}, KNOWN)


# In which unit an order leaves


def test_an_entry_leaves_in_the_unit_of_its_stage_and_an_exit_in_that_of_its_entry() -> None:
    units = OutwardUnits(known=KNOWN, stage={"ES": "MES"})
    assert (units.of("ES", opens=True), units.of("ES", opens=False)) == (MES, None)
    assert units.of("NQ", opens=True) is None
    held = units.entered("ES", MES).moved({})
    assert (held.of("ES", opens=True), held.of("ES", opens=False)) == (None, MES)
    whole = held.entered("ES", None).moved({"ES": "MES"})
    assert (whole.of("ES", opens=True), whole.of("ES", opens=False)) == (MES, None)
    with pytest.raises(LiveError, match=r"ES: its open position or order is in MES, which no stage"):
        OutwardUnits(opened={"ES": "MES"}).require_known(["NQ", "ES"])


def test_a_journal_tells_in_which_unit_the_newest_order_left() -> None:
    def sent(symbol: str, unit: str | None, mode: str = "live") -> OrderSent:
        order_id = f"1-{mode}-{symbol}-5-entry-1"
        return OrderSent(symbol=symbol, order_id=order_id, broker="b", message={}, unit=unit)

    told = [sent("ES", "MES"), sent("NQ", "MNQ"), sent("NQ", None), sent("CL", None), sent("CL", "MCL")]
    assert opened_in(told, "live") == {"ES": "MES", "CL": "MCL"}
    assert opened_in([*told, sent("ES", None, "shadow")], "live") == {"ES": "MES", "CL": "MCL"}
    assert opened_in(told, "paper") == opened_in([sent("ES", "MES", "shadow")], "shadow") == {}


# What a broker says


def test_a_statement_speaks_of_the_unit(tmp_path: Path) -> None:
    path = tmp_path / "fills.csv"
    rows = [
        f"7,{ENTRY},MES,market,3,5000.25,1.86,2026-03-06T14:10:03Z",
        "8,o,NQ,market,2,1,1,2026-03-06T14:10:03Z",
    ]
    path.write_text(
        "\n".join([",".join(COLUMNS), *rows, f"9,{ENTRY},MES,stop,-2,1,1,2026-03-06T15:10:03Z", ""])
    )
    statement = StatementFile(path, units=KNOWN)
    first, other, last = statement.read()
    assert (first.symbol, first.quantity, first.unit, first.commission) == ("ES", 0.3, "MES", 1.86)
    assert (other.symbol, other.quantity, other.unit) == ("NQ", 2.0, None)
    assert (last.symbol, last.quantity) == ("ES", -0.2)
    held = FillPositions(statement, ["ES", "NQ"]).read(5)
    assert held["ES"].quantity == pytest.approx(0.1)
    assert held["NQ"].quantity == 2.0
    assert StatementFile(path).read()[0].symbol == "MES", "without the roll-out it is somebody else's"
    path.write_text("\n".join([",".join(COLUMNS), rows[0].replace(",3,", ",1.5,"), ""]))
    with pytest.raises(LiveError, match=r"1\.5 MES: must be whole steps of 1"):
        StatementFile(path, units=KNOWN).read()


def positions(folder: Path, *rows: str) -> UnitHoldings:
    path = folder / "positions.csv"
    path.write_text("\n".join(["symbol,quantity,as_of", *rows, ""]))
    return UnitHoldings(PositionsFile(path), KNOWN)


def test_positions_of_an_instrument_and_its_unit_are_added(tmp_path: Path) -> None:
    early, late = "2026-03-06T14:10:03Z", "2026-03-06T15:10:03Z"
    both = positions(tmp_path, f"ES,1,{late}", f"MES,-3,{early}", f"NQ,2,{late}")
    found = both.read(0)
    assert (found["ES"].quantity, found["NQ"].quantity, sorted(found)) == (0.7, 2.0, ["ES", "NQ"])
    assert found["ES"].as_of < found["NQ"].as_of
    assert found["ES"].source == "positions.csv: ES +1 and MES -3"
    assert both.trouble == ""
    assert positions(tmp_path, f"ES,0,{late}", f"MES,3,{late}").read(0)["ES"].quantity == 0.3


@pytest.mark.parametrize("rows", [["ES,1,2026-03-06T14:10:03Z"], ["MES,1,2026-03-06T14:10:03Z"]])
def test_what_is_not_told_is_not_taken_for_flat(tmp_path: Path, rows: list[str]) -> None:
    half = positions(tmp_path, *rows, "NQ,2,2026-03-06T14:10:03Z")
    assert list(half.read(0)) == ["NQ"]
    missing = "MES" if rows[0].startswith("ES") else "ES"
    assert half.trouble == f"positions: none of {missing}; tell each unit of the roll-out, 0 for flat"
    (tmp_path / "positions.csv").unlink()
    assert half.read(0) == {}
    assert "is not there" in half.trouble


def test_a_position_that_is_no_number_stays_none() -> None:
    class Broken:
        trouble = ""

        def read(self, now: int) -> dict[str, Holding]:
            return {"ES": Holding(0.0, 1, "x"), "MES": Holding(math.nan, 1, "x")}

    assert math.isnan(UnitHoldings(Broken(), KNOWN).read(0)["ES"].quantity)


@pytest.mark.parametrize(
    ("quantity", "kind", "told"), [(3.0, "fill", ("ES", 0.3, "MES")), (1.5, "bad_command", None)]
)
def test_a_broker_reports_fills_of_the_unit(quantity: float, kind: str, told: Any) -> None:
    class Source:
        trouble = ""

        def start(self, on_fill: Any, *, since: int) -> None:
            on_fill(ReportedFill("f-1", ENTRY, "MES", "market", quantity, 5_000.0, 0.62, 7))

        def stop(self) -> None: ...

    fills = BrokerFills(Source(), seen=(), since=0, units=KNOWN)
    fills.start(lambda: None)
    (event,) = fills.read()
    assert event.kind == kind
    if told:
        assert (event.symbol, event.quantity, event.unit) == told  # type: ignore[union-attr]
    else:
        assert "must be whole steps of 1" in event.error  # type: ignore[union-attr]
    fills.done([event])
    assert fills.read() == []


def test_what_is_no_unit_stays_what_it_is() -> None:
    assert inside(KNOWN, "ES", -2.5) == ("ES", -2.5, None)


# The operator


def desk(folder: Path, *events: Event, state: LaneState = FLAT) -> Path:
    config = papers.config(folder, instruments=[{"symbol": "ES"}], rollout=STAGES)
    with Journal.open(folder / "live.db") as journal:
        journal.begin_epoch(journals.epoch(symbols=("ES",), mode="live", states={"ES": state}))
        journal.append(*events)
    return config


def sent(unit: str | None) -> Event:
    content = {"order_id": ENTRY, **({"unit": unit} if unit else {})}
    return an_event("send", symbol="ES", content=content)


def call(app: Any, *arguments: object) -> tuple[int, str]:
    result = CliRunner().invoke(app, [str(each) for each in arguments])
    refused = isinstance(result.exception, LockstepError)
    return (2, str(result.exception)) if refused else (result.exit_code, result.output)


def report(config: Path, **changes: object) -> tuple[int, str]:
    options = {
        "order-id": ENTRY, "symbol": "MES", "quantity": 1, "price": 5_000.25, "commission": 0.62,
        "time": "2023-11-15T00:00:00Z", **changes,
    }  # fmt: skip
    return call(orders, "fill", "--config", config, *(x for n, v in options.items() for x in (f"--{n}", v)))


def test_a_fill_by_hand_is_told_as_the_broker_tells_it(tmp_path: Path) -> None:
    config = desk(tmp_path, sent("MES"), state=replace(FLAT, waiting=WAITING))
    code, said = report(config)
    assert (code, f"{ENTRY}: fill of +1 MES at 5000.25 reported" in said) == (0, True), said
    assert report(config)[1].endswith("nothing is done\n")
    ((_, command),) = waiting(tmp_path / "mailbox")
    assert (command.symbol, command.quantity, command.unit) == ("ES", 0.1, "MES")  # type: ignore[union-attr]
    assert report(config, order="stop", quantity=-1, time="2023-11-15T00:00:01Z")[0] == 0


@pytest.mark.parametrize(
    ("unit", "changes", "message"),
    [
        ("MES", {"symbol": "ES", "quantity": 0.1}, "left in contracts of MES, its fill is told in ES"),
        (None, {"symbol": "MES"}, "left in contracts of ES, its fill is told in MES; report ES"),
        ("MES", {"quantity": 2}, "a fill of +0.2, the order is +0.1 contracts"),
        ("MES", {"quantity": 0.5}, "0.5 MES: must be whole steps of 1"),
        ("MES", {"symbol": "MNQ"}, "MNQ: is not traded by this desk"),
    ],
)  # fmt: skip
def test_a_fill_in_another_unit_is_refused(
    tmp_path: Path, unit: str | None, changes: dict[str, object], message: str
) -> None:
    config = desk(tmp_path, sent(unit), state=replace(FLAT, waiting=WAITING))
    code, said = report(config, **changes)
    assert (code, message in said) == (2, True), said
    assert waiting(tmp_path / "mailbox") == []


def test_the_operator_sees_and_confirms_a_position_in_its_unit(tmp_path: Path) -> None:
    config = desk(tmp_path, sent("MES"), state=HELD)
    assert "position      ES +0.1 +1 MES stop" in call(orders, "list", "--config", config)[1]
    arguments = ("reconcile", "--config", config, "--reason", "the broker's screen, AB")
    lock = WriterLock(tmp_path / "live.db")
    try:
        code, said = call(orders, *arguments, "--symbol", "MES", "--position", 1)
        assert (code, "MES: the broker holds +1, the engine +0.1 ES, which agrees" in said) == (0, True), said
        code, said = call(orders, *arguments, "--symbol", "MES", "--position", 2)
        assert "and nothing is opened until both agree" in said
    finally:
        lock.release()
    told = [command for _, command in waiting(tmp_path / "mailbox")]
    assert [(each.symbol, each.position, each.unit) for each in told] == [  # type: ignore[union-attr]
        ("ES", 0.1, "MES"),
        ("ES", 0.2, "MES"),
    ]


def test_the_roll_out_shows_the_unit_and_records_it_with_the_step(tmp_path: Path) -> None:
    step = {"command": "c", "stage": 2, "fraction": 1.0, "comparison": "", "reason": "as planned"}
    config = desk(tmp_path, an_event("rollout", content=step))
    (tmp_path / "store").mkdir()
    code, said = call(rollout, "show", "--config", config)
    assert (code, "3 of 3, live with 100% of the size" in said) == (0, True), said
    code, said = call(rollout, "step-back", "--reason", "late fills", "--config", config)
    assert (code, "stage 2 of 3, live with 10% of the size, ES as MES" in said) == (0, True), said
    ((_, command),) = waiting(tmp_path / "mailbox")
    assert isinstance(command, RolloutCommand)
    event = command.event("x")
    assert (event.fraction, event.units) == (0.1, {"ES": "MES"})

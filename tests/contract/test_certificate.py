"""The parity certificate: it holds on the real engine, and every planted fault is caught and named.

Faults are planted in a copy of the sources that only the live engine's process imports; research runs on the
true ones. Row numbers are those of `docs/parity.md`.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from certify.certificate import Certificate, write_certificate
from certify.command import app, keep
from certify.live_run import LiveRun, ReplayRange, run_live
from certify.page import certificate_html
from certify.run import CertificateRequest, certify, unchanged
from lockstep.errors import EvidenceMissing, ParityError
from lockstep.floats import EXACT
from lockstep.market.config import load_instruments
from lockstep.market.dates import DateRange
from lockstep.market.loader import load_history
from lockstep.market.timeframe import DAILY
from lockstep.models.manifest import TrainingRecord
from lockstep.models.store import ModelStore, load_bundle
from lockstep.monitoring import parity
from lockstep.monitoring.parity import ParityComparison, compare
from research.backtest.result import steps_of
from research.backtest.run import run_backtest
from support import desks
from support.planted import SourceCopy

START, END = "2016-01-04", "2016-12-30"
NOW = datetime(2026, 1, 5, tzinfo=UTC)
RECORD = TrainingRecord(code_hash="0", config={}, data_hashes={}, seed=0, python="3", versions={})


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> ModelStore:
    """Two versions of COMP and one of SPX, which has no model; none of them in production."""
    found = ModelStore(tmp_path_factory.mktemp("store"))
    models = [desks.bundle("COMP", seed=seed, threshold=0.45) for seed in (0, 5)]
    for bundle in (*models, desks.bare_bundle("SPX")):
        found.register(bundle, record=RECORD, by="test", now=NOW)
    return found


@pytest.fixture(scope="module")
def issued(store: ModelStore) -> list[Certificate]:
    request = CertificateRequest(
        versions={"COMP": "v1", "SPX": "v1"}, store=store, start=START, end=END, restarts=2, seed=3
    )
    return certify(request, now=NOW)


def test_research_sweep_and_a_killed_live_engine_agree(issued: list[Certificate]) -> None:
    for certificate in issued:
        assert certificate.first == ""
        assert certificate.passed
        assert len(certificate.killed_after) == 2
        swept, lived = certificate.parts
        assert (lived.bars, swept.bars) == (252, 252)
        assert min(lived.fills, lived.orders) > 50
        assert certificate.sentence.endswith("0 differences")
        # The strategy of SPX trades as it is: its own two features, and nobody to ask.
        bare = certificate.symbol == "SPX"
        assert lived.values == 252 * (2 if bare else 4)
        assert (lived.probabilities == 0) if bare else (lived.probabilities > 50)
        assert ("probabilities" in certificate.sentence) is not bare
        pair = {"COMP": "SPX", "SPX": "COMP"}[certificate.symbol]
        series = {f"{certificate.symbol}:1d (traded)", f"{pair}:1d (pair)"}
        assert set(lived.series) == series
        assert min(lived.series.values()) > 252
        assert certificate.counts == {"bars": 252, "sessions": 252, "trades": lived.trades, "restarts": 2}
        assert lived.trades > 30
        assert (certificate.symbols, certificate.sources) == (
            ("COMP", "SPX"),
            ("embedded_comp", "embedded_spx"),
        )
        assert (certificate.floats, str(certificate.newest_bar)) == (EXACT, "2016-12-30 21:00:00+00:00")
        assert certificate_html(certificate).count(f"{pair}:1d (pair)") == 1


def test_a_certificate_is_written_shown_and_attached(
    issued: list[Certificate], store: ModelStore, tmp_path: Path
) -> None:
    certificate = issued[0]
    page = keep(certificate, tmp_path, store, by="test", now=NOW)
    assert "Parity holds" in page.read_text()
    assert write_certificate(certificate, tmp_path).name == f"{certificate.name}.json"
    with pytest.raises(
        EvidenceMissing, match="validation: there is none; reference: there is none"
    ) as refusal:
        store.promote("COMP", "v1", by="test", now=NOW)
    assert "certificate" not in str(refusal.value)
    with pytest.raises(EvidenceMissing, match="certificate: expired"):
        store.promote("COMP", "v1", by="test", now=certificate.expires)
    evidence = store.manifest().entry("COMP", "v1").evidence[-1]
    assert (evidence.counts, evidence.issued) == (certificate.counts, NOW)
    assert evidence.newest_bar == certificate.newest_bar


def test_a_certificate_of_other_code_does_not_count(
    issued: list[Certificate], store: ModelStore, tmp_path: Path
) -> None:
    other = issued[1].model_copy(update={"hashes": {**issued[1].hashes, "code": f"c1-{'f' * 61}"}})
    keep(other, tmp_path, store, by="test", now=NOW)
    with pytest.raises(EvidenceMissing, match="certificate: was produced with other code"):
        store.promote("SPX", "v1", by="test", now=NOW)


def test_the_hash_does_not_depend_on_the_date(issued: list[Certificate]) -> None:
    later = issued[0].model_copy(update={"issued": NOW.replace(year=2027)})
    assert later.digest == issued[0].digest
    assert certificate_html(later) != certificate_html(issued[0])


@pytest.mark.parametrize("lost", [{"fills": 0}, {"series": {"COMP:1d (traded)": 652, "SPX:1d (pair)": 0}}])
def test_nothing_compared_is_nothing_certified(issued: list[Certificate], lost: dict[str, object]) -> None:
    empty = issued[0].parts[1].model_copy(update=lost)
    assert not issued[0].model_copy(update={"parts": (issued[0].parts[0], empty)}).passed
    assert not issued[0].model_copy(update={"parts": ()}).passed


def test_too_little_is_said_at_once_and_in_the_exit_code(
    issued: list[Certificate], store: ModelStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """PARITY 44: ten bars agree, and are no evidence."""
    few = issued[0].parts[1].model_copy(update={"bars": 10, "trades": 0})
    small = issued[0].model_copy(
        update={
            "parts": (issued[0].parts[0], few),
            "sessions": 10,
            "restarts": 0,
            "issued": datetime.now(UTC),
        }
    )
    other = few.model_copy(update={"different": 1, "first": "bar"})
    unequal = small.model_copy(update={"parts": (small.parts[0], other)})
    enough = issued[0].model_copy(update={"issued": datetime.now(UTC)})

    def run(*certificates: Certificate) -> Result:
        monkeypatch.setattr("certify.command.certify", lambda *_, **__: list(certificates))
        arguments = [
            "--symbol", "COMP", "--version", "v1", "--store", str(store.folder), "--out", str(tmp_path)
        ]  # fmt: skip
        return CliRunner().invoke(app, arguments)

    done = run(enough, small)
    assert done.exit_code == 3
    assert "COMP v1: parity holds" in done.stdout
    assert (
        "COMP v1: the certificate is too small: 10 of at least 250 bars, 10 of at least 20 sessions, "
        "0 of at least 20 trades and 0 of at least 1 restarts; certify a longer stretch, with restarts\n"
    ) in done.stdout
    assert store.manifest().entry("COMP", "v1").evidence[-1].counts["bars"] == 10
    assert run(enough).exit_code == 0
    assert "rests on" not in run(enough).stdout
    assert run(unequal, enough).exit_code == 1


def test_instruments_that_change_meanwhile_are_not_certified(monkeypatch: pytest.MonkeyPatch) -> None:
    book = load_instruments()
    changed = book.instrument("COMP").model_copy(update={"tick_size": 0.5})
    now = book.model_copy(update={"instruments": {**book.instruments, "COMP": changed}})
    monkeypatch.setattr("lockstep.models.evidence.load_instruments", lambda: now)
    with pytest.raises(ParityError, match="declares of COMP, SPX changed during the certification"):
        unchanged(("COMP", "SPX"), ("embedded_comp",), book)
    assert unchanged(("SPX",), (), book)["instruments"] == now.digest(["SPX"], [])


@pytest.mark.parametrize(
    ("killed", "restarts"), [((3, 7), 2), ((7, 7), 1), ((3, 10), 1), ((10,), 0), ((), 0)]
)
def test_only_a_restart_that_went_on_counts(killed: tuple[int, ...], restarts: int) -> None:
    run = LiveRun(sets=(None,) * 10, warmup={}, killed_after=killed, modes=())  # type: ignore[arg-type]
    assert run.restarts == restarts


def test_the_first_difference_is_shown(issued: list[Certificate]) -> None:
    part = issued[0].parts[1].model_copy(update={"different": 3, "kind": parity.COST, "first": "fill <b>"})
    failed = issued[0].model_copy(update={"parts": (issued[0].parts[0], part)})
    assert not failed.passed
    assert failed.first == "fill <b>"
    page = certificate_html(failed)
    assert "Parity does not hold" in page
    assert "fill &lt;b&gt;" in page


@dataclass(frozen=True, kw_only=True)
class Fault:
    """`old` becomes `new` in `file` of the live engine; `kind` is what the comparison must call it."""

    row: str
    file: str
    old: str
    new: str
    kind: str


FAULTS = [
    Fault(
        row="1 the vector is that of the bar before",
        file="src/features/streaming.py",
        old="        self._vector = self.plan.multiply(terms)\n",
        new="        fresh = self.plan.multiply(terms)\n"
        "        self._vector, self._late = getattr(self, '_late', fresh).copy(), fresh\n",
        kind=parity.FEATURE_CODE,
    ),
    Fault(
        row="4 values are rounded live",
        file="src/features/streaming.py",
        old="        self._vector = self.plan.multiply(terms)\n",
        new="        self._vector = np.round(self.plan.multiply(terms), 12)\n",
        kind=parity.FEATURE_CODE,
    ),
    Fault(
        row="9 a bar is rounded on its way",
        file="src/live/feeds/replay.py",
        old="yield Arrival(key, bar_set.stamp, values, bar_set.stamp, origin)",
        new="yield Arrival(key, bar_set.stamp, tuple(round(v, 1) for v in values), bar_set.stamp, origin)",
        kind=parity.BAR,
    ),
    Fault(
        row="13 slippage on one side only",
        file="src/strategy/matching.py",
        old="else reference - costs[SLIPPAGE]",
        new="else reference",
        kind=parity.COST,
    ),
    Fault(
        row="15 the veto is ignored",
        file="src/strategy/families/ibs.py",
        old="if not probability >= rules[THRESHOLD]:",
        new="if probability > 1.0:",
        kind=parity.DECISION_CODE,
    ),
    Fault(
        row="24 windows lack a bar at the start",
        file="src/live/warmup.py",
        old="found = warm_up(kept, settled.bars, {}, until=until)",
        new="found = warm_up(dict.fromkeys(kept, 9), settled.bars, {}, until=until)",
        kind=parity.WARM_UP,
    ),
    Fault(
        row="34 a probability differs in its last bit",
        file="src/strategy/veto.py",
        old="return float(answer[0, 1])",
        new="return float(answer[0, 1]) * (1.0 - 2.0**-52)",
        kind=parity.BUNDLE,
    ),
]


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> SourceCopy:
    return SourceCopy(tmp_path_factory.mktemp("faulty"), "src", "configs")


def live_steps(store: ModelStore, folder: Path, environment: dict[str, str]) -> list[parity.EngineStep]:
    bundle = load_bundle("COMP", "v1", store=store)
    ready = ModelStore(folder / "store")
    ready.fetch(store, "COMP", "v1", sha256=bundle.sha256, by="test", now=NOW)
    ready.promote("COMP", "v1", by="test", now=NOW, reason="test", force=True)
    replay = ReplayRange(start=START, end=END)
    run = run_live({"COMP": bundle}, replay, folder, store=ready.folder, environment=environment)
    return run.steps("COMP", "1d")


@pytest.fixture(scope="module")
def research(store: ModelStore) -> list[parity.EngineStep]:
    model = desks.TradedModel.of(load_bundle("COMP", "v1", store=store))
    history = load_history("COMP", timeframe=DAILY, context=tuple(model.needs(desks.load_markets())))
    return steps_of(
        run_backtest(model.config, history, "COMP", span=DateRange.of(START, END), veto=model.veto)
    )


def compared(
    store: ModelStore, research: list[parity.EngineStep], folder: Path, copy: SourceCopy
) -> ParityComparison:
    ids = desks.TradedModel.of(load_bundle("COMP", "v1", store=store)).plan.ids
    return compare(research, live_steps(store, folder, copy.environment(compiled=False)), ids)


def test_without_a_fault_the_copy_agrees(
    store: ModelStore, research: list[parity.EngineStep], copy: SourceCopy, tmp_path: Path
) -> None:
    assert compared(store, research, tmp_path, copy).different == 0


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.row)
def test_a_fault_in_the_live_engine_is_caught_and_named(
    store: ModelStore, research: list[parity.EngineStep], copy: SourceCopy, tmp_path: Path, fault: Fault
) -> None:
    with copy.fault(fault.file, fault.old, fault.new):
        found = compared(store, research, tmp_path, copy)
    assert found.first is not None
    assert found.first.kind == fault.kind, found.first


def test_an_engine_that_refuses_is_no_certificate(
    store: ModelStore, research: list[parity.EngineStep], copy: SourceCopy, tmp_path: Path
) -> None:
    """Row 4, an earlier guard: a feature with another constant is refused when the bundle is loaded."""
    with (
        copy.fault("src/features/recursions.py", "else 100.0 *", "else 101.0 *"),
        pytest.raises(ParityError, match="feature rsi_2 has different values"),
    ):
        compared(store, research, tmp_path, copy)

"""What a promotion asks for: how much a certificate rests on, and with which code and markets it was made."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from lockstep import errors, identity
from lockstep.compiled import machine
from lockstep.errors import LiveError
from lockstep.live.epochs import require_machine
from lockstep.market.config import load_instruments, shipped_config
from lockstep.market.history import History, SeriesKey
from lockstep.market.loader import load_bars
from lockstep.market.timeframe import DAILY as ONE_DAY
from lockstep.models import evidence as gathering
from lockstep.models import verbs
from lockstep.models.chain import Act
from lockstep.models.manifest import BarsRead, Evidence, Manifest, VersionEntry
from lockstep.models.policy import CertificateMinimum, ForwardMinimum, Policy, read_policy
from support.evidence import NOW, RECORD, evidence
from support.markets import DAILY_ROWS, write_daily

SHA = "a" * 64
EARLIER = f"was produced by an earlier version: {identity.only_proves('c' * 64)}; produce it again"
UNRECORDED = "does not record the {} it was produced with; produce it again"
ENOUGH = {"bars": 250, "sessions": 250, "trades": 20, "restarts": 1}
TEN_BARS = {"bars": 10, "sessions": 10, "trades": 0, "restarts": 0}
APPENDED = "2018-12-10,104,106,103,105,1400,5"
ALONE = Policy(promotion=("certificate",))
ENTRY = VersionEntry(
    file="ES_v1.joblib", sha256=SHA, size=1, target="wins", feature_ids=(), fingerprints={}, strategy={},
    threshold=0.5, record=RECORD,
)  # fmt: skip


def act(now: datetime = NOW, reason: str = "") -> Act:
    return Act(symbol="ES", by="ann", now=now, reason=reason)


def certified(policy: Policy = ALONE, **changes: Any) -> tuple[Manifest, Callable[..., Manifest]]:
    """Return a manifest whose only version has a certificate, and the promotion that rests on it."""
    registered = verbs.registered(Manifest(), act(), "v1", ENTRY, "register")
    found = evidence(SHA, kind="certificate", **changes)
    manifest = verbs.attached(registered, act(), "v1", found, policy)

    def promote(*, now: datetime = NOW, reason: str = "", force: bool = False) -> Manifest:
        return verbs.promoted(manifest, act(now, reason), "v1", policy, force=force)[0]

    return manifest, promote


def with_evidence(*judged: Evidence) -> VersionEntry:
    return ENTRY.model_copy(update={"evidence": judged})


def test_a_certificate_over_enough_counts() -> None:
    manifest, promote = certified(counts=ENOUGH)
    assert manifest.entry("ES", "v1").status == "validated"
    assert promote().resolve("ES") == "v1"


def test_ten_bars_without_a_restart_are_no_evidence() -> None:
    """PARITY 44."""
    manifest, promote = certified(counts=TEN_BARS)
    assert manifest.entry("ES", "v1").status == "candidate"
    with pytest.raises(errors.EvidenceMissing) as refusal:
        promote()
    assert (
        "certificate: is too small: 10 of at least 250 bars, 10 of at least 20 sessions, 0 of at "
        "least 20 trades and 0 of at least 1 restarts; certify a longer stretch, with restarts"
    ) in str(refusal.value)
    forced = promote(force=True, reason="demo")
    assert "is too small" in forced.history[-1].overruled[0]


@pytest.mark.parametrize("name", ENOUGH)
def test_each_count_is_asked_for(name: str) -> None:
    asked = getattr(CertificateMinimum(), name)
    _, promote = certified(counts={**ENOUGH, name: asked - 1})
    with pytest.raises(errors.EvidenceMissing, match=f"too small: {asked - 1} of at least {asked} {name};"):
        promote()


def test_an_old_certificate_does_not_count() -> None:
    _, promote = certified(counts=ENOUGH)
    with pytest.raises(errors.EvidenceMissing, match="issued on 2024-03-01, more than 90 days ago; certify"):
        promote(now=NOW + timedelta(days=90, seconds=1))
    promote(now=NOW + timedelta(days=90))


def test_a_policy_may_ask_for_recent_bars() -> None:
    policy = Policy(promotion=("certificate",), certificate=CertificateMinimum(newest_bar_days=10))

    def promoting(newest_bar: datetime | None) -> Callable[..., Manifest]:
        return certified(policy, newest_bar=newest_bar)[1]

    with pytest.raises(errors.EvidenceMissing, match="ends with a bar of 2024-02-19, more than 10 days ago"):
        promoting(NOW - timedelta(days=11))()
    with pytest.raises(errors.EvidenceMissing, match="ends with a bar of an unknown day; certify again"):
        promoting(None)()
    promoting(NOW - timedelta(days=10))()


def test_a_policy_may_ask_for_less() -> None:
    _, promote = certified(
        Policy(
            promotion=("certificate",),
            certificate=CertificateMinimum(bars=10, sessions=0, trades=0, restarts=0),
        ),
        counts=TEN_BARS,
    )
    promote()


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ('{"bar": 3}', "unknown key 'certificate.bar'; did you mean 'bars'"),
        ('{"bars": -1}', "certificate.bars -1: Input should be greater than or equal to 0"),
        ('{"bars": true}', "certificate.bars true: Input should be a valid integer"),
        ('{"bars": 2.0}', "certificate.bars 2.0: Input should be a valid integer"),
        ('{"max_age_days": 0}', "certificate.max_age_days 0: Input should be greater than or equal to 1"),
    ],
)
def test_a_wrong_minimum_is_refused(tmp_path: Path, section: str, message: str) -> None:
    (tmp_path / "policy.json").write_text(f'{{"certificate": {section}}}')
    with pytest.raises(errors.ManifestError, match=message):
        read_policy(tmp_path)


def test_a_policy_is_read_from_its_file(tmp_path: Path) -> None:
    assert read_policy(tmp_path) == Policy()
    (tmp_path / "policy.json").write_text('{"certificate": {"bars": 1000, "restarts": 3}}')
    assert read_policy(tmp_path).certificate == CertificateMinimum(bars=1000, restarts=3)


def old(kind: str) -> Evidence:
    """Return evidence as the first version wrote it."""
    return Evidence(kind=kind, passed=True, bundle_sha256=SHA, hashes={"code": "c" * 64, "lock": "d" * 64})


def test_evidence_of_the_first_version_does_not_count_and_says_why() -> None:
    assert Policy().missing(with_evidence(old("validation"), old("certificate")), NOW) == (
        f"validation: {EARLIER}",
        f"validation: {UNRECORDED.format('instruments')}",
        f"certificate: {EARLIER}",
        f"certificate: {UNRECORDED.format('instruments')}",
        "certificate: was issued by an older version, which did not record its size; certify again",
        "reference: there is none; validate it again",
    )


def test_a_version_that_was_validated_before_there_were_references_is_asked_for_one() -> None:
    found, certificate = evidence(SHA), evidence(SHA, kind="certificate")
    before = with_evidence(found, certificate)
    assert Policy().missing(before, NOW) == ("reference: there is none; validate it again",)
    # A policy that names kinds keeps what it names.
    assert Policy(promotion=("validation", "certificate")).missing(before, NOW) == ()
    frozen = Evidence(kind="reference", passed=True, bundle_sha256=SHA)
    assert Policy().missing(with_evidence(found, certificate, frozen), NOW) == ()


def test_a_reference_is_bound_to_the_bundle_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """A desk does not choose its bar again because code changed; another bundle is another bar."""
    frozen = Evidence(kind="reference", passed=True, bundle_sha256=SHA, hashes={"dataset code": "old"})
    policy = Policy(promotion=("reference",))
    monkeypatch.setattr(gathering.identity, "code_hash", lambda root: "edited")
    monkeypatch.setattr(gathering.identity, "library_versions", lambda: {"numpy": "9.1"})
    assert policy.missing(with_evidence(frozen), NOW) == ()
    (said,) = policy.missing(with_evidence(frozen.model_copy(update={"bundle_sha256": "d" * 64})), NOW)
    assert said == f"reference: is about another bundle, {'d' * 12}…"
    (said,) = policy.missing(with_evidence(frozen.model_copy(update={"passed": False})), NOW)
    assert said == "reference: was not passed"


def test_evidence_is_written_as_before_while_it_records_no_more() -> None:
    """The chain of an old manifest is over what was written then."""
    assert set(old("validation").model_dump()) == {
        "kind", "passed", "bundle_sha256", "file", "file_sha256", "expires", "hashes",
    }  # fmt: skip
    grown = evidence(SHA, data=BarsRead(source="daily"))
    assert set(grown.model_dump()) == set(Evidence.model_fields)


@pytest.mark.parametrize("name", ["code", "instruments"])
@pytest.mark.parametrize("kind", ["validation", "certificate", "paper"])
def test_computed_evidence_names_everything_that_decides(kind: str, name: str) -> None:
    found, policy = evidence(SHA, kind=kind), Policy(promotion=(kind,))

    def missing(hashes: dict[str, str]) -> tuple[str, ...]:
        return policy.missing(with_evidence(found.model_copy(update={"hashes": hashes})), NOW)

    assert missing(found.hashes) == ()
    without = {each: value for each, value in found.hashes.items() if each != name}
    assert missing(without) == (f"{kind}: {UNRECORDED.format(name)}",)
    (said,) = missing({**found.hashes, name: f"c1-{'f' * 61}"})
    assert said.startswith(f"{kind}: was produced with ")


@pytest.mark.parametrize("kind", ["validation", "certificate", "paper"])
def test_each_kind_counts_with_the_code_that_gathers_it(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """An edit of what certifies voids certificates, not validations."""
    found = with_evidence(evidence(SHA, kind=kind))
    known = {root: identity.code_hash(root) for root in identity.ROOTS}
    known[identity.CERTIFYING] += "edited"
    monkeypatch.setattr(gathering.identity, "code_hash", known.__getitem__)
    voided = (f"{kind}: was produced with other code; produce it again",) if kind == "certificate" else ()
    assert Policy(promotion=(kind,)).missing(found, NOW) == voided


def test_a_library_that_decides_counts_and_any_other_may_be_updated(monkeypatch: pytest.MonkeyPatch) -> None:
    found = with_evidence(evidence(SHA))
    versions = identity.library_versions()
    assert {"numpy", "numba", "backtrader"} <= versions.keys()
    assert not {"requests", "plotly", "typer"} & versions.keys()
    monkeypatch.setattr(gathering.identity, "library_versions", lambda: {**versions, "numpy": "9.1"})
    assert Policy(promotion=("validation",)).missing(found, NOW) == (
        f"validation: was produced with numpy {versions['numpy']}, here is 9.1; produce it again",
    )


def test_another_machine_is_remarked_on_at_a_promotion_and_speaks_against_none(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    manifest, promote = certified()
    assert "note" not in "".join(promoted_lines(manifest))
    monkeypatch.setattr(gathering, "machine", lambda: "another-1")
    assert promote()
    (note,) = (line for line in promoted_lines(manifest) if "note" in line)
    assert note.startswith("  note: certificate: was produced on another machine, ")
    assert "this is another-1" in note


@pytest.mark.parametrize(
    ("hashes", "said"),
    [({"machine": machine()}, 0), ({}, 1), ({"machine": "another-1"}, None)],
    ids=["here", "unrecorded", "elsewhere"],
)
def test_another_machine_is_refused_where_a_desk_starts(hashes: dict[str, str], said: int | None) -> None:
    manifest, _ = certified(hashes=hashes)
    if said is None:
        with pytest.raises(LiveError, match="was certified on another machine, another-1, this is"):
            list(require_machine(manifest, {"ES": SHA}))
    else:
        assert len(list(require_machine(manifest, {"ES": SHA}))) == said


def promoted_lines(manifest: Manifest) -> list[str]:
    return list(verbs.promoted(manifest, act(), "v1", ALONE)[1].lines())


def test_a_hash_of_no_instruments_covers_nothing() -> None:
    unnamed = evidence(SHA).model_copy(update={"symbols": (), "sources": ()})
    assert Policy(promotion=("validation",)).missing(with_evidence(unnamed), NOW) == (
        f"validation: {UNRECORDED.format('instruments')}",
    )


def test_a_persons_judgement_needs_no_hashes() -> None:
    signed = Evidence(kind="review", passed=True, bundle_sha256=SHA)
    assert Policy(promotion=("review",)).missing(with_evidence(signed), NOW) == ()


# What instruments.yml declares


def declaring(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, before: str, after: str) -> None:
    """Let instruments.yml read as if it had been edited."""
    text = shipped_config("instruments.yml").read_text()
    assert text.count(before) == 1
    path = tmp_path / "instruments.yml"
    path.write_text(text.replace(before, after))
    monkeypatch.setattr(gathering, "load_instruments", lambda: load_instruments(path))


DAILY = (
    "    folder: futures_daily\n    timeframe: 1d\n    stamp: session_date\n    timezone: America/New_York\n"
)
NQ = "NQ:  {name: E-mini Nasdaq-100, session: CME, multiplier: 20, tick_size: 0.25, pair: ES}"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("multiplier: 50, tick_size: 0.25, pair: NQ}", "multiplier: 50, tick_size: 0.5, pair: NQ}"),
        (NQ, NQ.replace("pair: ES", "pair: ES, commission: 2")),
        (
            '"17:00", grid: session,\n     exceptions: equity_index',
            '"16:50", grid: session, exceptions: equity_index',
        ),
        (DAILY, DAILY.replace("America/New_York", "UTC")),
        (NQ, ""),
    ],
    ids=["tick size", "the pair's commission", "session", "the source's time zone", "not declared any more"],
)
def test_a_change_between_certificate_and_promotion_is_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, before: str, after: str
) -> None:
    """PARITY 37."""
    _, promote = certified()
    if not after:
        before, after = f"  {before}\n", ""
        monkeypatch.setattr("lockstep.market.config._require_known_names", lambda *_: None)
    declaring(tmp_path, monkeypatch, before, after)
    with pytest.raises(errors.EvidenceMissing, match="was produced with other instruments; produce it again"):
        promote()
    monkeypatch.undo()
    promote()


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("# equity indices", "# equity index futures"),
        ("tick_size: 0.25, pair: NQ}", "tick_size: 0.250, pair: NQ}"),
        ("name: E-mini S&P 500,", "name: S&P 500 E-mini,"),
        ("name: Gold, session: METALS, multiplier: 100", "name: Gold, session: METALS, multiplier: 10"),
        ("    stamp: close\n    timezone: UTC\n", "    stamp: close\n    timezone: America/New_York\n"),
    ],
    ids=["comment", "spelling", "display name", "another symbol", "another source"],
)
def test_what_decides_nothing_voids_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, before: str, after: str
) -> None:
    _, promote = certified()
    declaring(tmp_path, monkeypatch, before, after)
    promote()


# The bars that it rests on


class TestBars:
    """Appended bars void nothing, revised ones do, and bars that are gone are remarked on."""

    SOURCE = "futures_daily"

    @pytest.fixture
    def file(self, tmp_path: Path) -> Path:
        return write_daily(tmp_path, *DAILY_ROWS)

    def promoted(self, file: Path, *, until: int | None = None, edit: Callable[[Path], object]) -> list[str]:
        """Certify on the bars of a file up to row `until`, edit the file, promote; what is said."""
        bars = load_bars("ES", file.parent, source=self.SOURCE)
        history = History(bars={SeriesKey("ES", ONE_DAY): bars}, markets={})
        last = None if until is None else int(bars.end[until])
        read = gathering.bars_read(history, file.parent, self.SOURCE, last=last)
        manifest, promote = certified(data=read)
        edit(file)
        promote()
        return promoted_lines(manifest)[1:]

    def rewritten(self, *rows: str) -> Callable[[Path], object]:
        return lambda file: write_daily(file.parents[1], *rows)

    def test_the_same_bars_and_appended_ones_void_nothing(self, file: Path) -> None:
        assert self.promoted(file, edit=lambda file: None) == []
        assert self.promoted(file, edit=self.rewritten(*DAILY_ROWS, APPENDED)) == []
        assert len(load_bars("ES", file.parent, source=self.SOURCE)) == len(DAILY_ROWS) + 1

    @pytest.mark.parametrize("row", range(3))
    def test_one_that_was_revised_voids_it(self, file: Path, row: int) -> None:
        rows = [*DAILY_ROWS]
        rows[row] = rows[row].removesuffix("00,5") + "01,5"
        with pytest.raises(errors.EvidenceMissing, match="ES:1d were revised since, between 2018-12-03"):
            self.promoted(file, until=2, edit=self.rewritten(*rows))

    def test_one_that_is_missing_now_voids_it(self, file: Path) -> None:
        with pytest.raises(errors.EvidenceMissing, match="were revised"):
            self.promoted(file, edit=self.rewritten(*DAILY_ROWS[:-1], APPENDED))

    def test_one_that_was_revised_after_the_range_voids_nothing(self, file: Path) -> None:
        last = DAILY_ROWS[-1].removesuffix("00,5") + "01,5"
        assert self.promoted(file, until=2, edit=self.rewritten(*DAILY_ROWS[:-1], last)) == []

    def test_bars_that_are_not_here_are_remarked_on(self, file: Path) -> None:
        (note,) = self.promoted(file, edit=lambda file: file.unlink())
        assert note.startswith("  note: certificate: whether bars of ES:1d were revised cannot be told")


@pytest.mark.parametrize(
    ("counts", "changes", "faults"),
    [
        ({"sessions": 90, "full": 1}, {}, ()),
        (
            {"sessions": 90, "full": 0},
            {},
            ("forward: allows a pilot only, the policy asks for full size; wait for more sessions",),
        ),
        ({"sessions": 90, "full": 0}, {"size": "pilot"}, ()),
        (
            {"sessions": 90, "full": 1},
            {"sessions": 120},
            ("forward: is too small: 90 of at least 120 sessions; wait for more sessions",),
        ),
    ],
)
def test_forward_evidence_must_reach_the_size_that_the_policy_names(
    counts: dict[str, int], changes: dict[str, Any], faults: tuple[str, ...]
) -> None:
    policy = Policy(promotion=("forward",), forward=ForwardMinimum(**changes))
    found = Evidence(kind="forward", passed=True, bundle_sha256=SHA, counts=counts, issued=NOW)
    assert policy.missing(with_evidence(found), NOW) == faults
    retired = found.model_copy(update={"passed": False})
    assert "forward: was not passed" in policy.missing(with_evidence(found, retired), NOW)
    assert policy.missing(with_evidence(), NOW) == ("forward: there is none",)

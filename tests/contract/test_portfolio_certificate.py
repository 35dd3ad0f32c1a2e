"""The certificate of a portfolio: with the desk's real limits, and what it must not overlook."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import certify.portfolio as under_test
from certify.live_run import DeskRules
from certify.page import portfolio_certificate_html
from certify.portfolio import AccountRows, PortfolioCertificate, account_part, certify_portfolio, settled_rows
from certify.run import CertificateRequest
from lockstep.errors import ParityError
from lockstep.live.config import LiveConfig
from lockstep.models.store import ModelStore
from support.live_portfolios import LIMITS, desk
from support.processes import ROOT, python

NOW = datetime(2026, 11, 29, tzinfo=UTC)


def request_of(folder: Path, **changes: Any) -> CertificateRequest:
    return CertificateRequest(
        versions={},
        store=ModelStore(folder / "store"),
        **{"start": "2016-01-04", "end": "2016-02-26", "restarts": 2, **changes},
    )


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder in which the command left a certificate."""
    folder = tmp_path_factory.mktemp("desk")
    done = python(
        ROOT / "scripts" / "check_parity.py", "--desk", str(desk(folder)), "--start", "2016-01-04", "--end",
        "2016-02-26", "--restarts", "2", "--out", str(folder / "out"),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "portfolio desk: parity holds" in done.stdout
    return folder / "out"


@pytest.fixture(scope="module")
def issued(written: Path) -> PortfolioCertificate:
    (path,) = written.glob("parity-desk-*.json")
    content = json.loads(path.read_text())
    assert content.pop("passed") is True
    found = PortfolioCertificate.model_validate(content)
    assert path.stem == found.name
    return found


def test_the_portfolio_of_a_desk_is_certified(issued: PortfolioCertificate) -> None:
    assert issued.passed, issued.first
    # Both kills may come after the same set where the machine is busy.
    assert issued.restarts >= 1
    assert sorted(issued.lanes) == ["COMP", "SPX"]
    for swept, lived in issued.lanes.values():
        assert swept.decisions == lived.decisions > 30
        assert swept.fills == lived.fills > 4
        assert swept.vectors == lived.vectors > 30
    twin, live = issued.account
    assert (twin.sets, twin.proposals) == (live.sets, live.proposals)
    assert live.sets > 30
    assert live.refused["positions"] > 0
    assert live.admitted > 5
    assert issued.limits["max_contracts"] == LIMITS["max_contracts"]
    assert len(issued.identity) == len(issued.portfolio_hash) == 64


def test_a_gateway_that_is_tighter_is_no_certificate(tmp_path: Path) -> None:
    """Mutants "gateway tighter than the coordinator" and "limits off in the certificate"."""
    config = LiveConfig.load(desk(tmp_path, limits={**LIMITS, "max_total_contracts": 1}))
    with pytest.raises(ParityError, match=r"live engine: exit code 2: .*limits\.max_total_contracts 1"):
        certify_portfolio(config, request_of(tmp_path, restarts=0), now=NOW)


def test_a_refusal_by_the_gateway_is_a_difference(issued: PortfolioCertificate) -> None:
    refused = issued.model_copy(update={"refusals": {"price_collar": 1}})
    assert not refused.passed
    assert refused.first == "the gateway refused 1 by price_collar"


def test_another_portfolio_in_live_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, issued: PortfolioCertificate
) -> None:
    """The live engine admits two positions, research one: answers, states and lanes differ."""

    def looser(portfolio: Any, limits: Any) -> DeskRules:
        content = {**portfolio, "groups": {}, "limits": {**portfolio["limits"], "max_positions": 2}}
        return DeskRules(portfolio=content, limits=limits)

    monkeypatch.setattr(under_test, "DeskRules", looser)
    found = certify_portfolio(LiveConfig.load(desk(tmp_path)), request_of(tmp_path, restarts=0), now=NOW)
    assert not found.passed
    twin, live = found.account
    assert (twin.different, twin.first) == (0, "")
    assert live.different > 0
    assert "'positions' against" in live.first or "0.0 against" in live.first
    assert sum(each[1].different for each in found.lanes.values()) > 0


def test_one_bit_of_the_account_is_found(issued: PortfolioCertificate) -> None:
    marks = [(1, 100.0, 0.0, False, False), (2, 101.0, 0.0, False, False)]
    wanted = [(2, "ES", 2, 0, 1.0, 3.0, 1.0, 3.0, "", float("nan"), 101.0)]
    nets = [(2, "ES", 1.0, (("ES#a", 2.0), ("ES#b", -1.0)))]
    rows = AccountRows(marks, wanted, nets)
    same = account_part(("research", "live"), rows, AccountRows(list(marks), list(wanted), list(nets)))
    assert (same.different, same.sets, same.proposals, same.admitted, same.nets) == (0, 2, 1, 1, 1)
    other = [marks[0], (2, float(np.nextafter(101.0, 200.0)), 0.0, False, False)]
    assert account_part(("research", "live"), rows, rows._replace(marks=other)).different == 1
    assert account_part(("research", "live"), rows, rows._replace(proposals=[])).first.endswith(
        "there against none"
    )
    crossed = [(2, "ES", 1.0, (("ES#a", 1.0),))]
    assert "members" in account_part(("research", "live"), rows, rows._replace(nets=crossed)).first
    assert settled_rows([]) == ([], [], [])


def test_its_page_shows_lanes_account_and_limits(written: Path, issued: PortfolioCertificate) -> None:
    (page,) = written.glob("parity-desk-*.html")
    text = page.read_text()
    assert portfolio_certificate_html(issued) == text
    for told in ("Lane COMP", "Lane SPX", "The account", "Limits of the gateway", "max_total_contracts"):
        assert told in text


def test_a_portfolio_is_certified_as_a_whole(tmp_path: Path) -> None:
    config = str(desk(tmp_path))
    both = python(ROOT / "scripts" / "check_parity.py", "--desk", config, "--symbol", "COMP")
    assert both.returncode == 2
    assert "a portfolio is certified as a whole" in both.stderr

"""What two readers could take differently is refused in one line, wherever a file is read."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from certify.certificate import Certificate
from lockstep.errors import ConfigError, LockstepError
from lockstep.live.operator.commands import Mailbox
from lockstep.live.status.status import read_status
from lockstep.models.store import ModelStore
from lockstep.monitoring.evidence import read_sealed
from lockstep.settings import parse_json, read_json, read_yaml, validated
from support.first_version import FIRST

WRONG = {
    "a key twice": ('{"a": 1, "a": 2}', "key 'a' occurs twice"),
    "a key twice, inside": ('[{"b": {"a": 1, "a": 1}}]', "key 'a' occurs twice"),
    "deep": ("[" * 200_000, "nested too deeply"),
    "deep and closed": ("[" * 60 + "]" * 60, "levels of lists"),
    "5,000 digits": ("7" * 5_000, "thousands of digits"),
    "NaN": ('{"a": NaN}', "NaN is no number"),
    "infinite": ("[-Infinity]", "-Infinity is no number"),
    "overflowing": ("[1e999]", "1e999 is no finite number"),
    "no UTF-8": (b"\xff\xfe\x00", "utf"),
    "cut off": ('{"a": ', "Expecting value"),
    "empty": ("", "Expecting value"),
}


@pytest.mark.parametrize(("text", "reason"), WRONG.values(), ids=WRONG)
def test_what_is_refused(text: str | bytes, reason: str) -> None:
    with pytest.raises(ConfigError, match=reason) as caught:
        parse_json(text)
    assert len(str(caught.value)) < 200
    assert "\n" not in str(caught.value)


def test_what_is_taken() -> None:
    content = {"a": [1, -2.5, True, None, "ä"], "b": {"a": {"a": []}}}
    assert parse_json(json.dumps(content)) == content
    assert parse_json("[" * 39 + "]" * 39)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("mode: paper\nlimits: {a: 1}\nmode: live\n", "key 'mode' occurs twice"),
        ("limits: {a: 1, b: 2, a: 3}\n", "key 'a' occurs twice"),
        ("- a: 1\n  a: 2\n", "key 'a' occurs twice"),
        ("a: " + "[" * 5_000, "nested too deeply|expected"),
        ("a: " + "7" * 5_000, "thousands of digits"),
    ],
)
def test_yaml_is_as_strict(tmp_path: Path, text: str, reason: str) -> None:
    path = tmp_path / "live.yml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=reason) as caught:
        read_yaml(path)
    assert str(path) in str(caught.value)


def test_yaml_anchors_stay(tmp_path: Path) -> None:
    path = tmp_path / "live.yml"
    path.write_text("a: &a {x: 1}\nb: {<<: *a, y: 2}\n")
    assert read_yaml(path)["b"] == {"x": 1, "y": 2}


def manifest(path: Path) -> object:
    return ModelStore(path.parent).manifest()


def certificate(path: Path) -> object:
    content = read_json(path)
    content.pop("passed", None)
    return validated(Certificate, content, where=str(path))


def sealed(path: Path) -> object:
    return read_sealed(path, kind="paper", schema=1)


def command(path: Path) -> object:
    (event,) = Mailbox(path.parent, set()).read()
    raise ConfigError(str(event.error)) if event.kind == "bad_command" else AssertionError


READERS: dict[str, Callable[[Path], object]] = {
    "manifest.json": manifest,
    "certificate.json": certificate,
    "paper.json": sealed,
    "status.json": read_status,
    "command.json": command,
}


@pytest.mark.parametrize("name", READERS)
@pytest.mark.parametrize("wrong", WRONG)
def test_every_reader_refuses_in_one_line(tmp_path: Path, name: str, wrong: str) -> None:
    text, _ = WRONG[wrong]
    path = tmp_path / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(LockstepError) as caught:
        READERS[name](path)
    assert len(str(caught.value)) < 400
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("version", ["true", "1.0", '"1"', "0", "-1", "null", "[1]"])
def test_a_schema_version_is_a_whole_number(tmp_path: Path, version: str) -> None:
    store = Path(shutil.copytree(FIRST / "store", tmp_path / "store"))
    path = store / "manifest.json"
    assert ModelStore(store).manifest()
    path.write_text(path.read_text().replace('"schema_version": 1', f'"schema_version": {version}'))
    with pytest.raises(LockstepError, match="schema_version"):
        ModelStore(store).manifest()
    (report,) = (store / "reports").glob("*.json")
    assert certificate(report)
    report.write_text(report.read_text().replace('"schema_version": 1', f'"schema_version": {version}'))
    with pytest.raises(LockstepError, match="schema_version"):
        certificate(report)

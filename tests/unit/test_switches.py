from __future__ import annotations

from pathlib import Path

import pytest

from lockstep.errors import ConfigError
from lockstep.live.risk.switches import Switches
from lockstep.settings import validated


@pytest.fixture
def switches(tmp_path: Path) -> Switches:
    return Switches(kill_file=tmp_path / "KILL", halt_file=tmp_path / "HALT")


def test_no_file_means_off(switches: Switches) -> None:
    assert switches.kill_switch() is None
    assert switches.halt() is None


@pytest.mark.parametrize("content", ["", "off", "false", "0"])
def test_a_file_means_on_whatever_is_in_it(switches: Switches, content: str) -> None:
    switches.kill_file.write_text(content, encoding="utf-8")
    assert switches.kill_switch() is not None
    assert switches.halt() is None


def test_the_first_line_is_the_reason(switches: Switches) -> None:
    switches.halt_file.write_text("feed shows zeros\nAB", encoding="utf-8")
    assert switches.halt() == "HALT: feed shows zeros"


def test_it_is_read_every_time(switches: Switches) -> None:
    seen = []
    for on in (False, True, False, True):
        switches.kill_file.touch() if on else switches.kill_file.unlink(missing_ok=True)
        seen.append(switches.kill_switch() is not None)
    assert seen == [False, True, False, True]


def _make_folder(path: Path) -> None:
    path.mkdir()


def _make_loop(path: Path) -> None:
    path.symlink_to(path)


def _make_dangling(path: Path) -> None:
    path.symlink_to(path.with_name("gone"))


def _make_binary(path: Path) -> None:
    path.write_bytes(b"\xff\xfe\x00")


@pytest.mark.parametrize("make", [_make_folder, _make_loop, _make_dangling, _make_binary])
def test_what_cannot_be_read_counts_as_on(switches: Switches, make: object) -> None:
    make(switches.kill_file)  # type: ignore[operator]
    assert "counts as on" in (switches.kill_switch() or "")


def test_permission_and_io_errors_count_as_on(switches: Switches, monkeypatch: pytest.MonkeyPatch) -> None:
    for error in (PermissionError, OSError):

        def refuse(*args: object, error: type[OSError] = error, **kwargs: object) -> str:
            raise error

        monkeypatch.setattr(Path, "read_text", refuse)
        assert "counts as on" in (switches.kill_switch() or "")


def test_a_missing_folder_counts_as_on(tmp_path: Path) -> None:
    folder = tmp_path / "unmounted"
    switches = Switches(kill_file=folder / "KILL", halt_file=folder / "HALT")
    assert "folder unmounted" in (switches.kill_switch() or "")
    assert "folder unmounted" in (switches.halt() or "")


@pytest.mark.parametrize("value", ["true", "TRUE", "1", "yes", "on", " true ", "perhaps"])
def test_the_environment_forces_the_kill_switch_on(switches: Switches, value: str) -> None:
    forced = switches.forced_by({"POLICY_KILLSWITCH": value})
    assert "forced" in (forced.kill_switch() or "")
    assert forced.halt() is None


@pytest.mark.parametrize(
    "environment", [{}, *({"POLICY_KILLSWITCH": v} for v in ("", "false", "No", "0", "off"))]
)
def test_a_clear_no_in_the_environment_leaves_it_to_the_file(
    switches: Switches, environment: dict[str, str]
) -> None:
    assert switches.forced_by(environment).kill_switch() is None
    forced = switches.model_copy(update={"forced": True})
    assert forced.forced_by(environment).kill_switch() is not None


def test_unknown_keys_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="did you mean 'flatten'"):
        validated(Switches, {"kill_file": "a", "halt_file": "b", "flaten": True}, where="live.yml: switches")

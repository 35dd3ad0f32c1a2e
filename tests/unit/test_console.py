from __future__ import annotations

import pytest

from lockstep.console import run
from lockstep.errors import ConfigError, EngineFault, JournalFault


def test_a_refusal_is_one_line_and_exit_code_2(capsys: pytest.CaptureFixture[str]) -> None:
    def app() -> None:
        raise ConfigError("first\n  second")

    with pytest.raises(SystemExit) as stopped:
        run(app)
    assert stopped.value.code == 2
    assert capsys.readouterr().err == "error: first second\n"


@pytest.mark.parametrize("kind", [EngineFault, JournalFault])
def test_a_fault_may_be_over_a_moment_later(
    kind: type[Exception], capsys: pytest.CaptureFixture[str]
) -> None:
    def app() -> None:
        raise kind("the disk refused")

    with pytest.raises(SystemExit) as stopped:
        run(app)
    assert stopped.value.code == 75
    assert capsys.readouterr().err == "error: the disk refused\n"


def test_a_mistake_of_the_program_keeps_its_traceback() -> None:
    def app() -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run(app)


def test_success_is_silent(capsys: pytest.CaptureFixture[str]) -> None:
    run(lambda: None)
    assert capsys.readouterr() == ("", "")

"""Where pieces of work run."""

from __future__ import annotations

import threading

import joblib
import pytest

from lockstep.errors import ConfigError
from research.sweep.run import workers


def test_results_come_in_order_from_several_threads() -> None:
    meeting = threading.Barrier(2)

    def together(number: int) -> int:
        if number < 2:
            meeting.wait(timeout=30)
        return number * number

    with workers(2) as hands:
        assert hands.count == 2
        assert list(hands.run(joblib.delayed(together)(number) for number in range(6))) == [
            0, 1, 4, 9, 16, 25,
        ]  # fmt: skip


def test_an_error_of_a_piece_is_raised_here() -> None:
    def failing() -> None:
        raise ConfigError("no")

    with workers(1) as hands, pytest.raises(ConfigError, match="no"):
        list(hands.run([joblib.delayed(failing)()]))

"""The garbage collector beside a search: off or blind for as long as it was asked, and no longer."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager

import pytest

from research.experiments.collector import frozen, paused


@pytest.fixture(autouse=True)
def thawed() -> Iterator[None]:
    """Nothing is frozen before: the simulation of desks, in the same process, keeps what it froze."""
    gc.unfreeze()
    yield
    gc.unfreeze()


def test_it_is_off_within_the_block_alone() -> None:
    assert gc.isenabled()
    with paused():
        with paused():
            assert not gc.isenabled()
        assert not gc.isenabled(), "the inner block leaves what it found"
    assert gc.isenabled()


@pytest.mark.parametrize("block", [paused, frozen])
def test_an_error_ends_it_too(block: Callable[[], AbstractContextManager[None]]) -> None:
    with pytest.raises(ZeroDivisionError), block():
        raise ZeroDivisionError
    assert gc.isenabled()
    assert not gc.get_freeze_count()


def test_what_was_there_before_is_not_looked_at() -> None:
    class Mine:
        pass

    before = Mine()
    with frozen():
        now = Mine()
        seen = {id(each) for each in gc.get_objects()}
        assert id(now.__dict__) in seen or id(now) in seen
        assert id(before) not in seen
        with frozen():
            pass
        assert gc.get_freeze_count()
    assert not gc.get_freeze_count()
    assert any(each is before for each in gc.get_objects())

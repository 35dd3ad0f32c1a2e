"""A small language model as an adversary, where it is installed: ten proposals, and never a crash."""

from __future__ import annotations

from pathlib import Path

import pytest

from support import small_model


@pytest.mark.no_cover
@pytest.mark.skipif(bool(small_model.missing()), reason=small_model.missing())
def test_ten_proposals_of_a_small_model_are_refused_or_evaluated(tmp_path: Path) -> None:
    found = small_model.adversary(tmp_path, small_model.PROPOSALS)
    assert small_model.is_orderly(found), found


def test_what_is_not_orderly_is_noticed() -> None:
    good = {
        "proposals": 2,
        "trials": 2,
        "ended": "",
        "evaluated": 1,
        "status": {"evaluated": 1, "refused": 1},
    }
    assert small_model.is_orderly(good)
    assert small_model.is_orderly({**good, "trials": 1, "ended": "the server did not answer"})
    assert not small_model.is_orderly({**good, "trials": 1})
    assert not small_model.is_orderly({**good, "evaluated": 2})

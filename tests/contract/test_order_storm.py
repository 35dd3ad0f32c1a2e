"""Orders through servers and networks that fail in every way: none doubled, none lost, none told wrongly.

`support/order_storm.py` runs thousands; here are enough of them to meet nearly every fault once.
"""

from __future__ import annotations

import pytest

from lockstep.live.brokers import send_queue
from lockstep.live.brokers import sender as delivery
from lockstep.live.messages import SendResult
from support.order_storm import DOUBTS, OBSTACLES, REFUSALS, storm


def test_no_order_is_doubled_lost_or_told_wrongly() -> None:
    found = storm(seed=8, orders=200)
    assert found.wrong == []
    assert sum(found.outcomes.values()) == 200
    assert min(found.outcomes.values()) > 20
    assert len(found.faults) > 0.8 * len((*OBSTACLES, *REFUSALS, *DOUBTS))


def test_an_order_that_is_sent_again_in_doubt_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Negative control: what got no answer is tried again, as if nothing had left."""
    monkeypatch.setattr(delivery, "_placed_nothing", lambda attempt: attempt.kind != "answered")
    found = storm(seed=8, orders=60)
    assert any("doubled" in each for each in found.wrong)


def test_an_order_that_is_told_wrongly_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Negative control: doubt is told as a refusal."""
    done = send_queue.SendQueue.done

    def too_sure(self: send_queue.SendQueue, result: SendResult) -> None:
        done(self, result._replace(outcome="rejected") if result.outcome == "unknown" else result)

    monkeypatch.setattr(send_queue.SendQueue, "done", too_sure)
    found = storm(seed=8, orders=60)
    assert any("rejected, but it arrived" in each for each in found.wrong)

"""The clock's offset: asked of an NTP server on loopback, of the kernel, and judged."""

from __future__ import annotations

import errno
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from lockstep.errors import LiveError
from lockstep.live.clock_check import (
    HOUR,
    SECOND,
    ClockCheck,
    ClockSettings,
    ClockVerdict,
    Measured,
    _adjtimex,
    _measured,
    _Timex,
    kernel,
    sntp,
)

_SINCE_1900 = 2_208_988_800
NTP = ClockSettings(ntp="time.example.org", max_offset_seconds=1.0, every_hours=6)


def words(moment: int) -> bytes:
    """Return UTC nanoseconds as an NTP timestamp."""
    seconds, rest = divmod(moment, SECOND)
    return struct.pack("!II", (seconds + _SINCE_1900) % 2**32, (rest << 32) // SECOND)


def answer(
    request: bytes, *, skew: float = 0.0, first: int = 0x24, stratum: int = 2, nonce: bytes = b""
) -> bytes:
    """Return what a server answers whose clock differs from ours by `skew` seconds."""
    now = words(time.time_ns() + int(skew * SECOND))
    head = struct.pack("!BBbb", first, stratum, 0, -20) + b"\0" * 20
    return head + (nonce or request[40:48]) + now + now


@contextmanager
def server(reply: Callable[[bytes], bytes | None]) -> Iterator[str]:
    """Answer on loopback until the block ends."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as listening:
        listening.bind(("127.0.0.1", 0))
        listening.settimeout(0.05)
        ended = threading.Event()

        def serve() -> None:
            while not ended.is_set():
                try:
                    request, client = listening.recvfrom(512)
                except TimeoutError:
                    continue
                sent = reply(request)
                if sent is not None:
                    listening.sendto(sent, client)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"127.0.0.1:{listening.getsockname()[1]}"
        ended.set()
        thread.join()


@pytest.mark.parametrize("skew", [0.0, 2.5, -40.0])
def test_a_skewed_server_is_measured(skew: float) -> None:
    with server(lambda request: answer(request, skew=skew)) as address:
        found = sntp(address, time.time_ns)
    assert found.error < 0.5
    assert found.ahead == pytest.approx(-skew, abs=found.error + 0.01)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"first": 0xE4}, "is not synchronised itself"),
        ({"stratum": 16}, "is not synchronised itself"),
        ({"stratum": 0}, "is not synchronised itself"),
        ({"first": 0x23}, "is not synchronised itself"),
        ({"nonce": b"x" * 8}, "answers something else"),
    ],
)
def test_an_answer_that_says_nothing_is_refused(changes: dict[str, Any], message: str) -> None:
    with server(lambda request: answer(request, **changes)) as address:
        with pytest.raises(LiveError, match=message):
            sntp(address, time.time_ns)


def test_garbage_silence_and_nobody_are_refused() -> None:
    with (
        server(lambda request: b"what?") as address,
        pytest.raises(LiveError, match="answers something else"),
    ):
        sntp(address, time.time_ns)
    with server(lambda request: None) as address, pytest.raises(LiveError, match="timed out"):
        sntp(address, time.time_ns, timeout=0.1)
    with pytest.raises(LiveError, match="check the network"):
        sntp("127.0.0.1:1", time.time_ns, timeout=0.5)


def test_the_count_of_seconds_starts_anew_in_2036() -> None:
    moment = 2_100_000_000 * SECOND
    packet = struct.pack("!BBbb", 0x24, 1, 0, 0) + b"\0" * 20 + b"12345678" + words(moment) * 2
    found = _measured("server", packet, b"12345678", moment - SECOND, moment + SECOND)
    assert found == Measured(pytest.approx(0.0, abs=1e-6), pytest.approx(1.0, abs=1e-6))


def test_the_kernel_says_whether_a_time_service_keeps_it() -> None:
    def state(status: int, returned: int = 0, **fields: int) -> Callable[[Any], int]:
        def read(found: Any) -> int:
            for name, value in {"status": status, **fields}.items():
                setattr(found, name, value)
            return returned

        return read

    def denied(found: Any) -> int:
        raise OSError(errno.EPERM, "Operation not permitted")

    assert kernel(state(0x2001, offset=-2_000_000, esterror=500)) == Measured(0.002, 0.0005)
    assert kernel(state(0x0001, offset=2_000)) == Measured(-0.002, 0.0)
    for broken in (state(0x40), state(0x01, returned=5)):
        with pytest.raises(LiveError, match="not synchronised; start a time service"):
            kernel(broken)
    with pytest.raises(LiveError, match="Operation not permitted; deploy/README"):
        kernel(denied)


def test_the_kernel_of_this_machine_answers() -> None:
    """Whatever it says, it says it in one of two ways; where no time service runs, the second."""
    found = _Timex()
    state = _adjtimex(found)
    if state == 5 or found.status & 0x40:
        with pytest.raises(LiveError, match="the kernel's clock is not synchronised"):
            kernel()
    else:
        assert abs(kernel().ahead) < 1.0


@pytest.mark.parametrize(
    ("measured", "good"),
    [
        (Measured(0.0, 0.1), True),
        (Measured(0.9, 0.1), True),
        (Measured(0.95, 0.1), False),
        (Measured(-1.5, 0.0), False),
        (Measured(0.0, 3.0), False),
    ],
)
def test_the_uncertainty_counts_against_the_clock(measured: Measured, good: bool) -> None:
    check = ClockCheck(NTP, lambda: 0, lambda: measured)
    assert check.verdict(0) == ClockVerdict(None, "is not measured yet")
    assert check.check()
    assert check.verdict(0).good == good


def test_a_measurement_grows_old_and_a_failure_is_told() -> None:
    results: list[Any] = [
        LiveError("no answer"),
        Measured(0.2, 0.0),
        LiveError("no answer"),
        Measured(0.3, 0.0),
    ]

    def measure() -> Measured:
        found = results.pop(0)
        if isinstance(found, Exception):
            raise found
        return found

    check = ClockCheck(NTP, lambda: 0, measure)
    assert not check.check()
    assert check.verdict(0) == ClockVerdict(False, "no answer")
    assert check.check()
    assert check.verdict(0) == ClockVerdict(True, "is 0.200 s ahead, give or take 0.000 s; allowed are 1 s")
    assert not check.check()
    assert check.verdict(12 * HOUR).good
    assert check.verdict(12 * HOUR + 1) == ClockVerdict(False, "no answer")
    assert check.check()
    assert check.verdict(12 * HOUR).good


def test_the_thread_measures_at_once_and_ends() -> None:
    with server(lambda request: answer(request, skew=5.0)) as address:
        check = ClockCheck(ClockSettings(ntp=address), time.time_ns)
        check.start()
        deadline = time.monotonic() + 10
        while check.verdict(time.time_ns()).good is None and time.monotonic() < deadline:
            time.sleep(0.01)
        verdict = check.verdict(time.time_ns())
        check.stop()
        check._thread.join(5)
    assert verdict.good is False
    assert verdict.detail.startswith("is 5.0")
    assert not check._thread.is_alive()


def test_a_clock_that_nobody_checks_says_why() -> None:
    check = ClockCheck(ClockSettings(unchecked="PTP of the house, AB"), time.time_ns)
    check.start()
    assert check.verdict(0) == ClockVerdict(True, "is not checked: PTP of the house, AB")
    check._thread.join(5)

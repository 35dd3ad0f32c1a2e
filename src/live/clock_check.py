"""The clock's offset, measured before the first order and again every few hours (mode live).

Sources: an NTP server, asked by SNTP (RFC 4330); or the kernel, which knows whether a time service keeps it.
"""

from __future__ import annotations

import ctypes
import logging
import os
import socket
import struct
import threading
from collections.abc import Callable
from typing import Annotated, NamedTuple, Self

from pydantic import Field, StringConstraints, model_validator

from lockstep.errors import LiveError
from lockstep.settings import Settings

_LOGGER = logging.getLogger("lockstep.live")

SECOND = 1_000_000_000
HOUR = 3_600 * SECOND
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Reason = Annotated[str, StringConstraints(strip_whitespace=True, min_length=8)]
Clock = Callable[[], int]

_NTP_PORT = 123
_SINCE_1900 = 2_208_988_800  # seconds from 1900, where NTP counts from, to 1970
_ANSWER = struct.Struct("!BBbb11I")
_RETRY_SECONDS = 60.0
_TIMEOUT = 3.0


class ClockSettings(Settings):
    """How the clock is checked in mode live: by one of `ntp`, `system`, `unchecked`.

    max_offset_seconds   beyond it, the uncertainty of the measurement included, nothing is opened
    every_hours          between two checks; a check that failed is tried again every minute
    ntp                  server, `host` or `host:port`; system   ask the kernel whether it is synchronised
    unchecked            reason why nobody checks
    """

    max_offset_seconds: Positive = 1.0
    every_hours: Annotated[float, Field(gt=0, le=24)] = 6.0
    ntp: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9.\-]+(:[0-9]{1,5})?$")] | None = None
    system: bool = False
    unchecked: Reason | None = None

    @model_validator(mode="after")
    def _one_of_three(self) -> Self:
        if (self.ntp is not None) + self.system + (self.unchecked is not None) != 1:
            raise ValueError("clock: give one of ntp, system: true, or unchecked with a reason")
        return self


class Measured(NamedTuple):
    """Seconds that our clock is ahead (negative: behind), give or take `error` seconds."""

    ahead: float
    error: float


class ClockVerdict(NamedTuple):
    """Whether entries may go as far as the clock is concerned (None: not measured yet), and why."""

    good: bool | None
    detail: str


def sntp(server: str, clock: Clock, *, timeout: float = _TIMEOUT) -> Measured:
    """Ask an NTP server; LiveError where it does not answer, or says that it knows no better."""
    host, _, port = server.partition(":")
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, int(port or _NTP_PORT), type=socket.SOCK_DGRAM
        )[0]
        with socket.socket(family, kind, protocol) as asking:
            asking.settimeout(timeout)
            asking.connect(address)
            nonce = os.urandom(8)
            sent = clock()
            asking.send(struct.pack("!B39x8s", 0x23, nonce))
            answer = asking.recv(512)
            received = clock()
    except OSError as error:
        raise LiveError(f"NTP server {server}: {error.strerror or error}; check the network") from error
    return _measured(server, answer, nonce, sent, received)


def _measured(server: str, answer: bytes, nonce: bytes, sent: int, received: int) -> Measured:
    if len(answer) < _ANSWER.size or answer[24:32] != nonce:
        raise LiveError(f"NTP server {server}: answers something else; name an NTP server")
    first, stratum, _, _, *words = _ANSWER.unpack(answer[: _ANSWER.size])
    leap, mode = first >> 6, first & 7
    if mode != 4 or leap == 3 or not 1 <= stratum <= 15:
        raise LiveError(f"NTP server {server}: is not synchronised itself (stratum {stratum}); name another")
    arrived, left = (_nanoseconds(words[place], words[place + 1]) for place in (7, 9))
    ahead = ((sent - arrived) + (received - left)) / 2 / SECOND
    return Measured(ahead, max((received - sent) - (left - arrived), 0) / 2 / SECOND)


def _nanoseconds(seconds: int, fraction: int) -> int:
    # The count of seconds starts anew in 2036.
    era = 0 if seconds >> 31 else 1 << 32
    return (seconds + era - _SINCE_1900) * SECOND + (fraction * SECOND >> 32)


class _Timex(ctypes.Structure):
    """The kernel's `struct timex` on 64-bit Linux."""

    _fields_ = (
        ("modes", ctypes.c_uint), ("offset", ctypes.c_long), ("freq", ctypes.c_long),
        ("maxerror", ctypes.c_long), ("esterror", ctypes.c_long), ("status", ctypes.c_int),
        ("rest", ctypes.c_char * 160),
    )  # fmt: skip


_UNSYNCHRONISED, _NANOSECONDS, _ERROR = 0x40, 0x2000, 5


def kernel(read: Callable[[_Timex], int] | None = None) -> Measured:
    """Return what the kernel knows; LiveError where nothing keeps its clock, or it may not be asked."""
    found = _Timex()
    try:
        state = (read or _adjtimex)(found)
    except OSError as error:
        raise LiveError(
            f"the kernel's clock: {error.strerror}; deploy/README.md says what a hardened unit has to allow, "
            "or name an NTP server"
        ) from error
    if state == _ERROR or found.status & _UNSYNCHRONISED:
        raise LiveError("the kernel's clock is not synchronised; start a time service (timedatectl)")
    unit = 1e-9 if found.status & _NANOSECONDS else 1e-6
    return Measured(-found.offset * unit, found.esterror * 1e-6)


def _adjtimex(found: _Timex) -> int:
    state = ctypes.CDLL(None, use_errno=True).adjtimex(ctypes.byref(found))
    if state < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return int(state)


class ClockCheck:
    """Measures from a thread of its own, so that no answer of the network is waited for.

    measure   returns the offset now, or raises LiveError; clock   UTC ns
    """

    def __init__(self, settings: ClockSettings, clock: Clock, measure: Callable[[], Measured] | None = None):
        self._settings = settings
        self._clock = clock
        self._measure = measure or self._measurement()
        self._known: tuple[int, Measured] | None = None
        self._failure = ""
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="clock", daemon=True)

    def start(self) -> None:
        """Begin; the first measurement comes at once."""
        self._thread.start()

    def stop(self) -> None:
        """End, without waiting for an answer."""
        self._stopping.set()

    def verdict(self, now: int) -> ClockVerdict:
        """Return what is known at `now`; a measurement counts until two checks after it have failed."""
        settings = self._settings
        if settings.unchecked is not None:
            return ClockVerdict(True, f"is not checked: {settings.unchecked}")
        if self._known is None:
            return ClockVerdict(False if self._failure else None, self._failure or "is not measured yet")
        measured_at, (ahead, error) = self._known
        if now - measured_at > 2 * settings.every_hours * HOUR:
            return ClockVerdict(False, self._failure or "was not measured for too long")
        limit = settings.max_offset_seconds
        told = f"is {abs(ahead):.3f} s {'ahead' if ahead > 0 else 'behind'}, give or take {error:.3f} s"
        return ClockVerdict(abs(ahead) + error <= limit, f"{told}; allowed are {limit:g} s")

    def check(self) -> bool:
        """Measure once; return whether that succeeded."""
        try:
            self._known = (self._clock(), self._measure())
        except LiveError as error:
            self._failure = str(error)
            return False
        except Exception as error:
            _LOGGER.exception("clock: an unexpected error")
            self._failure = f"an unexpected {type(error).__name__}; see the log"
            return False
        self._failure = ""
        return True

    def _measurement(self) -> Callable[[], Measured]:
        server = self._settings.ntp
        return kernel if server is None else lambda: sntp(server, self._clock)

    def _run(self) -> None:
        if self._settings.unchecked is not None:
            return
        while True:
            seconds = self._settings.every_hours * 3_600.0 if self.check() else _RETRY_SECONDS
            if self._stopping.wait(seconds):
                return

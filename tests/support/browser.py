"""A real browser: Debian's chromium without a window, led over the DevTools protocol."""

from __future__ import annotations

import base64
import itertools
import json
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from websockets.sync.client import ClientConnection, connect

CHROMIUM = Path("/usr/bin/chromium")
LONGEST = 60.0
needs_browser = pytest.mark.skipif(not CHROMIUM.is_file(), reason=f"no browser at {CHROMIUM}")

_ERRORS = ("Runtime.exceptionThrown", "Log.entryAdded", "Runtime.consoleAPICalled")


class Tab:
    """One tab, with all that it asked for and complained about."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket
        self._numbers = itertools.count(1)
        self._events: list[dict[str, Any]] = []
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Return the answer to a command of the protocol."""
        number = next(self._numbers)
        self._socket.send(json.dumps({"id": number, "method": method, "params": parameters}))
        while True:
            message = json.loads(self._socket.recv(timeout=LONGEST))
            if message.get("id") == number:
                assert "error" not in message, message
                return dict(message["result"])
            self._events.append(message)

    def ask(self, script: str) -> Any:
        """Return the value of a JavaScript expression; of a promise, what it leads to."""
        found = self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    def wait(self, script: str, seconds: float = LONGEST) -> Any:
        """Return the first value of an expression that is true."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            try:
                found = self.ask(script)
            except AssertionError:  # The page is being replaced.
                found = None
            if found:
                return found
            time.sleep(0.02)
        raise AssertionError(f"never true within {seconds:g} s: {script}")

    def open(self, address: str) -> None:
        """Open an address and wait until the page is there."""
        self.ask("window.isOld = true")
        self.call("Page.navigate", url=address)
        self.wait("!window.isOld && document.readyState === 'complete'")

    def press(self, key: str) -> None:
        """Press and release a key: Tab, Enter, or a character."""
        codes = {"Tab": 9, "Enter": 13}
        text = {"Enter": "\r"}.get(key, key if len(key) == 1 else "")
        named: dict[str, Any] = {"key": key, "windowsVirtualKeyCode": codes.get(key, 0), "text": text}
        self.call("Input.dispatchKeyEvent", type="keyDown" if text else "rawKeyDown", **named)
        self.call("Input.dispatchKeyEvent", type="keyUp", key=key, windowsVirtualKeyCode=codes.get(key, 0))

    def write(self, text: str) -> None:
        """Write into what has the focus."""
        self.call("Input.insertText", text=text)

    def look_like(self, *, width: int, height: int = 900, dark: bool = False, phone: bool = False) -> None:
        """Be a window of a size, light or dark."""
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": phone}
        self.call("Emulation.setDeviceMetricsOverride", **size)
        feature = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[feature])

    def picture(self, path: Path, *, whole: bool = False) -> None:
        """Save what is seen as PNG, or the whole page."""
        found = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        path.write_bytes(base64.b64decode(found["data"]))

    @property
    def text(self) -> str:
        """The text of the page as it is shown."""
        return str(self.ask("document.body.innerText"))

    @property
    def hosts(self) -> set[str]:
        """All hosts that were asked for anything; data within the page is of none."""
        self.ask("1")
        addresses = [
            urlsplit(each["params"]["request"]["url"])
            for each in self._events
            if each["method"] == "Network.requestWillBeSent"
        ]
        return {each.netloc for each in addresses if each.scheme not in ("data", "blob", "about")}

    @property
    def errors(self) -> list[str]:
        """All that the page complained about, refused scripts and failed requests included."""
        self.ask("1")
        return [json.dumps(each["params"]) for each in self._events if _is_error(each)]

    def forget(self) -> None:
        """Forget requests and errors so far."""
        self.ask("1")
        self._events.clear()


def _is_error(event: dict[str, Any]) -> bool:
    if event["method"] not in _ERRORS:
        return False
    told = event["params"]
    level = told.get("entry", {}).get("level") or told.get("type") or "error"
    return level in ("error", "assert")


class Browser:
    """A chromium with an empty profile; each tab is closed with it."""

    def __init__(self, profile: Path, process: subprocess.Popen[bytes]) -> None:
        self._profile = profile
        self._process = process
        self._sockets: list[ClientConnection] = []
        self._address = f"http://127.0.0.1:{self._port()}"

    def _port(self) -> int:
        found = self._profile / "DevToolsActivePort"
        deadline = time.monotonic() + LONGEST
        while time.monotonic() < deadline:
            lines = found.read_text().splitlines() if found.is_file() else []
            if len(lines) > 1:
                return int(lines[0])
            assert self._process.poll() is None, "the browser ended"
            time.sleep(0.02)
        raise AssertionError("the browser does not start")

    def tab(self) -> Tab:
        """Return a new tab."""
        asked = urllib.request.Request(f"{self._address}/json/new?about:blank", method="PUT")
        with urllib.request.urlopen(asked, timeout=LONGEST) as answer:
            return self._led(json.load(answer))

    def window(self) -> Tab:
        """Return the tab of a new window, which counts as seen also where another one covers it."""
        made = self.tab().call("Target.createTarget", url="about:blank", newWindow=True)
        with urllib.request.urlopen(f"{self._address}/json/list", timeout=LONGEST) as answer:
            found = self._led(next(each for each in json.load(answer) if each["id"] == made["targetId"]))
        found.call("Emulation.setFocusEmulationEnabled", enabled=True)
        return found

    def _led(self, told: dict[str, Any]) -> Tab:
        # Answers wait behind events that nobody has read yet, so that a ping may wait for long.
        socket = connect(told["webSocketDebuggerUrl"], max_size=None, proxy=None, ping_interval=None)
        self._sockets.append(socket)
        return Tab(socket)

    def close(self) -> None:
        """End the browser."""
        for each in self._sockets:
            each.close()
        self._process.terminate()
        self._process.wait(LONGEST)


@contextmanager
def browser(folder: Path) -> Iterator[Browser]:
    """Run a browser whose profile is in a new folder."""
    profile = folder / "profile"
    command = [
        str(CHROMIUM), "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
        "--no-first-run", "--disable-background-networking", "--disable-component-update",
        "--hide-scrollbars", "--remote-debugging-port=0", f"--user-data-dir={profile}", "about:blank",
    ]  # fmt: skip
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    found = None
    try:
        found = Browser(profile, process)
        yield found
    finally:
        if found is not None:
            found.close()
        elif process.poll() is None:
            process.kill()

"""A report page in a real browser: no console message, no request, fits a phone, drawings on demand.

    python benchmarks/report_browser.py [PAGE] [--screenshot FILE.png] [--dark] [--width 1100] [--height 1400]

PAGE is reports/index.html unless given. The browser is Debian's `chromium-headless-shell` or any Chromium:
`apt-get install chromium-headless-shell` (86 MB), or CHROMIUM=/path/to/it. Ends with 0 if all is well, else 1; 2 where
there is no browser.
"""

from __future__ import annotations

import argparse
import base64
import itertools
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from websockets.sync.client import ClientConnection, connect

NAMES = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
WIDTHS = (360, 768, 1280)
START_S = 60.0


class Tab:
    """One page of the browser, spoken to in the DevTools protocol; what it says by itself is kept in `events`."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket, self._ids, self.events = socket, itertools.count(1), list[dict[str, Any]]()
        self._session: str | None = None
        target = self.ask("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.ask(f"{domain}.enable")

    def ask(self, method: str, **params: Any) -> dict[str, Any]:
        """The answer to one command."""
        number = next(self._ids)
        message = {"id": number, "method": method, "params": params}
        self._socket.send(json.dumps(message | ({"sessionId": self._session} if self._session else {})))
        while True:
            answer = json.loads(self._socket.recv(timeout=START_S))
            if answer.get("id") == number:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']['message']}")
                return dict(answer["result"])
            self.events.append(answer)

    def value(self, expression: str) -> Any:
        """What an expression of JavaScript gives."""
        return self.ask("Runtime.evaluate", expression=expression, returnByValue=True)["result"].get("value")

    def open(self, page: Path) -> None:
        """Load the page and wait until it is there."""
        self.ask("Page.navigate", url=page.as_uri())
        end = time.monotonic() + START_S
        while self.value("document.readyState + location.protocol") != "completefile:" and time.monotonic() < end:
            time.sleep(0.05)

    def size(self, width: int, height: int = 800) -> None:
        """The window, in CSS pixels."""
        self.ask("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1,
                 mobile=width < 600)


@contextmanager
def tab(browser: str) -> Iterator[Tab]:
    """A browser of its own, for as long as the block lasts."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        command = [browser, "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-dev-shm-usage",
                   "--disable-background-networking", f"--user-data-dir={folder}", "--remote-debugging-port=0",
                   "about:blank"]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            with connect(_address(Path(folder) / "DevToolsActivePort", process), max_size=None) as socket:
                yield Tab(socket)
        finally:
            process.terminate()
            process.wait(30)


def _address(file: Path, process: subprocess.Popen[bytes]) -> str:
    end = time.monotonic() + START_S
    while time.monotonic() < end and process.poll() is None:
        lines = file.read_text().split() if file.exists() else []
        if len(lines) == 2:
            return f"ws://127.0.0.1:{lines[0]}{lines[1]}"
        time.sleep(0.05)
    raise RuntimeError(f"the browser did not start (status {process.poll()})")


def complaints(page: Path, browser: str) -> list[str]:
    """Everything that is wrong with the page, in words."""
    wrong = []
    with tab(browser) as shown:
        for width in WIDTHS:
            shown.size(width)
            shown.open(page)
            wide = shown.value("document.documentElement.scrollWidth")
            if wide > width:
                wrong.append(f"at {width} pixels the page is {wide} wide")
        if shown.value("document.querySelectorAll('.mark[data-key]').length"):
            before = shown.value("document.getElementById('panel').textContent")
            shown.value("document.querySelector('.mark[data-key]').focus()")
            if shown.value("document.getElementById('panel').textContent") == before:
                wrong.append("a candidate under the pointer is not shown")
        shown.value("document.getElementById('theme').click()")
        wrong += [line for event in shown.events if (line := _complaint(event, page))]
    return wrong


def _complaint(event: dict[str, Any], page: Path) -> str:
    params = event.get("params", {})
    match event.get("method"):
        case "Network.requestWillBeSent":
            url = params["request"]["url"]
            return "" if url.startswith(("data:", page.as_uri())) else f"request: {url}"
        case "Runtime.exceptionThrown":
            return f"exception: {params['exceptionDetails'].get('exception', {}).get('description', 'unknown')}"
        case "Runtime.consoleAPICalled":
            return f"console: {[item.get('value') for item in params['args']]}"
        case "Log.entryAdded":
            return f"log: {params['entry']['text']}"
    return ""


def screenshot(page: Path, browser: str, out: Path, *, dark: bool, width: int, height: int) -> None:
    """A PNG of the top of the page."""
    with tab(browser) as shown:
        shown.ask("Emulation.setEmulatedMedia",
                  features=[{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}])
        shown.size(width, height)
        shown.open(page)
        out.write_bytes(base64.b64decode(shown.ask("Page.captureScreenshot", format="png")["data"]))


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("page", nargs="?", type=Path, default=Path("reports/index.html"))
    parser.add_argument("--screenshot", type=Path)
    parser.add_argument("--dark", action="store_true")
    parser.add_argument("--width", type=int, default=1100)
    parser.add_argument("--height", type=int, default=1400)
    given = parser.parse_args()
    browser = os.environ.get("CHROMIUM") or next((path for name in NAMES if (path := shutil.which(name))), None)
    if browser is None:
        print("no browser: apt-get install chromium-headless-shell, or set CHROMIUM to a Chromium", file=sys.stderr)
        return 2
    page = given.page.resolve(strict=True)
    if given.screenshot:
        screenshot(page, browser, given.screenshot, dark=given.dark, width=given.width, height=given.height)
    wrong = complaints(page, browser)
    print("\n".join(wrong) or f"{page}: no message, no request, fits {', '.join(map(str, WIDTHS))} pixels")
    return bool(wrong)


if __name__ == "__main__":
    raise SystemExit(main())

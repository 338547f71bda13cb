"""A headless Chromium, controlled over its debugging pipe, for the tests of the drawn page."""

from __future__ import annotations

import base64
import contextlib
import fcntl
import json
import os
import select
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None)
OPTIONS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --disable-dev-shm-usage --hide-scrollbars --remote-debugging-pipe"
).split()


class Browser:
    """One tab, controlled over Chromium's debugging pipe (file descriptors 3 and 4), which needs no library."""

    def __init__(self, profile: Path) -> None:
        browser_read, self._write = os.pipe()
        self._read, browser_write = os.pipe()
        descriptors = [fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, 64) for end in (browser_read, browser_write)]

        def connect() -> None:
            os.dup2(descriptors[0], 3)
            os.dup2(descriptors[1], 4)

        command = [str(BROWSER), *OPTIONS, f"--user-data-dir={profile}", "about:blank"]
        quiet = subprocess.DEVNULL
        self._process = subprocess.Popen(
            command,
            stdin=quiet,
            stdout=quiet,
            stderr=quiet,
            pass_fds=(3, 4),
            preexec_fn=connect,
            start_new_session=True,
        )
        for end in (browser_read, browser_write, *descriptors):
            os.close(end)
        self._buffer, self._count, self.events = b"", 0, []
        self._session: str | None = None
        target = self.send("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.send("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.send(f"{domain}.enable")

    def send(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Send one command and return its result; events received meanwhile are appended to `events`."""
        self._count += 1
        message: dict[str, Any] = {"id": self._count, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._write, json.dumps(message).encode() + b"\0")
        deadline = time.monotonic() + 60
        while True:
            while b"\0" not in self._buffer:
                readable, _, _ = select.select([self._read], [], [], deadline - time.monotonic())
                assert readable, f"{method}: no answer from the browser within 60 s"
                part = os.read(self._read, 1 << 20)
                assert part, "the browser stopped"
                self._buffer += part
            raw, self._buffer = self._buffer.split(b"\0", 1)
            answer = json.loads(raw)
            if answer.get("id") == self._count:
                assert "error" not in answer, answer
                return answer["result"]
            self.events.append(answer)

    def run(self, script: str) -> Any:
        """Return the value of a JavaScript expression in the page, awaited."""
        result = self.send("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in result, result["exceptionDetails"]
        return result["result"].get("value")

    def act(self, script: str) -> None:
        """Run a script that changes the page, and wait until the page is drawn again."""
        self.run(script)
        self.run("detente.drawn()")

    def open(self, page: Path, width: int, height: int = 900, scheme: str = "light") -> None:
        """Open a page in a window of this size and wait until it is drawn."""
        self.events.clear()
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
        self.send("Emulation.setDeviceMetricsOverride", **size)
        self.send("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
        self.send("Page.navigate", url=page.as_uri())
        loaded = (
            "new Promise(done => document.readyState === 'complete' ? done() : addEventListener('load', () => done()))"
        )
        self.run(loaded)
        ready = "document.documentElement.dataset.ready"
        look = f"const look = (left) => {ready} || !left ? done() : setTimeout(look, 20, left - 1); look(1500)"
        self.run(f"new Promise(done => {{ {look} }})")
        assert self.run(ready) == "yes", self.messages()
        self.run("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(() => done())))")

    def messages(self) -> list[str]:
        """Return messages of the console and the browser's log, and uncaught exceptions."""
        kinds = ("Runtime.consoleAPICalled", "Runtime.exceptionThrown", "Log.entryAdded")
        return [json.dumps(event["params"])[:600] for event in self.events if event.get("method") in kinds]

    def requests(self) -> list[str]:
        """Return the URLs requested since the page was opened."""
        sent = [event for event in self.events if event.get("method") == "Network.requestWillBeSent"]
        return [event["params"]["request"]["url"] for event in sent]

    def inner_html(self, selector: str) -> str:
        """Return the markup inside an element."""
        return self.run(f"document.querySelector({json.dumps(selector)}).innerHTML")

    def screenshot(self, file: Path) -> None:
        """Write the whole page as a PNG file."""
        shot = self.send("Page.captureScreenshot", captureBeyondViewport=True)
        file.write_bytes(base64.b64decode(shot["data"]))

    def close(self) -> None:
        """Stop the browser and its processes."""
        for end in (self._read, self._write):
            os.close(end)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGTERM)
        try:
            self._process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()

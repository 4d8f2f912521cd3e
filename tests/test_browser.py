"""A report in a browser: it opens, filters and sorts without a request, and nothing is cut off.

Runs if Chromium or Chrome is installed. The tests speak its DevTools protocol over pipes.
"""

import json
import os
import select
import shutil
import time

import matplotlib
import numpy as np
import pytest
import shapsketch as ss

matplotlib.use("Agg")
fcntl = pytest.importorskip("fcntl", reason="run it on Linux or macOS, whose pipes a browser can inherit")

NAMES = ("google-chrome", "google-chrome-stable", "chrome", "chromium", "chromium-browser")
CHROMIUM = next(filter(None, map(shutil.which, NAMES)), None)
OPTIONS = ("--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking")
# How long the browser may take for an answer, in seconds.
PATIENCE = 60.0
pytestmark = pytest.mark.skipif(
    CHROMIUM is None,
    reason="install Chromium or Chrome, so that `chromium` or `google-chrome` is on the PATH",
)


class Browser:
    """A page of a headless Chromium."""

    def __init__(self, processes, folder):
        (commands, self._write), (self._read, answers) = os.pipe(), os.pipe()
        # Above 3 and 4, the numbers that Chromium reads from and writes to.
        inherited = [fcntl.fcntl(end, fcntl.F_DUPFD, 10) for end in (commands, answers)]

        def connect():
            for number, end in zip((3, 4), inherited, strict=True):
                os.dup2(end, number)

        command = [CHROMIUM, *OPTIONS, "--remote-debugging-pipe", f"--user-data-dir={folder}", "about:blank"]
        with open(os.devnull, "w") as nothing:
            processes.start(command, preexec_fn=connect, pass_fds=(3, 4), stdout=nothing, stderr=nothing)
        for end in (commands, answers, *inherited):
            os.close(end)
        self._received, self._count, self._session, self.events = b"", 0, {}, []
        try:
            pages = [t for t in self.call("Target.getTargets")["targetInfos"] if t["type"] == "page"]
        except (AssertionError, BrokenPipeError):
            # Such as a package that is not completely installed.
            pytest.skip(f"{CHROMIUM} does not start; install all that it needs")
        attached = self.call("Target.attachToTarget", targetId=pages[0]["targetId"], flatten=True)
        self._session = {"sessionId": attached["sessionId"]}
        for domain in ("Page", "Network", "Runtime", "Log"):
            self.call(f"{domain}.enable")

    def close(self):
        os.close(self._write)
        os.close(self._read)

    def _next(self):
        until = time.monotonic() + PATIENCE
        while b"\0" not in self._received:
            ready, _, _ = select.select([self._read], [], [], max(until - time.monotonic(), 0.0))
            part = os.read(self._read, 1 << 20) if ready else b""
            assert part, "the browser does not answer"
            self._received += part
        message, _, self._received = self._received.partition(b"\0")
        return json.loads(message)

    def call(self, method, **parameters):
        """Return the result of a command."""
        self._count += 1
        message = {"id": self._count, "method": method, "params": parameters, **self._session}
        os.write(self._write, json.dumps(message).encode() + b"\0")
        while (answer := self._next()).get("id") != self._count:
            self.events.append(answer)
        return answer["result"]

    def open(self, path):
        """Open a file, and wait until it is complete."""
        self.call("Page.navigate", url=path.as_uri())
        while not any(event["method"] == "Page.loadEventFired" for event in self.events):
            self.events.append(self._next())

    def run(self, script):
        """Return the value of an expression."""
        result = self.call("Runtime.evaluate", expression=script, returnByValue=True)
        assert "exceptionDetails" not in result, result
        return result["result"].get("value")

    def events_of(self, *methods):
        """Return the parameters of events."""
        return [event["params"] for event in self.events if event["method"] in methods]


def filtered(browser, words):
    """Type words into the filter; return what it says, and the names of the rows that are shown."""
    return browser.run(f"""(() => {{
      const input = document.querySelector(".filter input");
      input.value = {json.dumps(words)};
      input.dispatchEvent(new Event("input"));
      const rows = [...document.querySelectorAll("#sequences tbody tr")].filter((row) => row.offsetHeight);
      const names = rows.map((row) => row.cells[0].textContent);
      return [document.querySelector(".filter output").textContent, names];
    }})()""")


def sorted_by(browser, column):
    """Click on the head of a column; return the texts of that column."""
    return browser.run(f"""(() => {{
      document.querySelectorAll("#sequences th button")[{column}].click();
      const rows = [...document.querySelectorAll("#sequences tbody tr")];
      return rows.map((row) => row.cells[{column}].textContent);
    }})()""")


def test_a_report_opens_filters_and_sorts_without_a_request(tmp_path, processes):
    rng, space = np.random.default_rng(0), ss.SequenceSpace(ss.DNA, 50)
    frequencies = np.zeros((50, 50), dtype=int)
    for i in range(50):
        frequencies[i, [i, (i + 3) % 50]] = 1
    spectrum = ss.Spectrum(space, frequencies, rng.normal(size=50), real_part=True)
    names = [f"s{i}" for i in range(1_000)]
    codes = rng.integers(0, 4, (1_000, 50))
    ss.report(ss.Sketch(spectrum), tmp_path / "report.html", sequences=codes, names=names, figures=1)
    browser = Browser(processes, tmp_path / "profile")
    browser.open(tmp_path / "report.html")

    sequences = space.decode(codes)
    assert filtered(browser, "") == ["1,000 of 1,000 sequences", names]
    with_motif = [name for name, text in zip(names, sequences, strict=True) if "GATT" in text]
    assert filtered(browser, "gatt") == [f"{len(with_motif)} of 1,000 sequences", with_motif]
    strongest = np.argsort(-np.abs(ss.Explainer(spectrum)(codes).values), axis=1, kind="stable")[:, :5]
    third = [n for n, c, top in zip(names, codes, strongest, strict=True) if 3 in top and c[3] == 2]
    # Neither names nor sequences contain "g3"; "g30" is another position.
    assert filtered(browser, "G3")[1] == third
    assert filtered(browser, "s77 nothing")[1] == []
    filtered(browser, "")
    scores = ss.Sketch(spectrum).predict(codes)
    expected = [f"{score:.4g}" for score in np.sort(scores)]
    assert sorted_by(browser, 2) == expected[::-1]
    assert sorted_by(browser, 2) == expected
    assert sorted_by(browser, 0) == names

    # Only tables and figures scroll sideways, and on paper nothing does.
    for media, width in [("screen", 400), ("screen", 1400), ("print", 700)]:
        browser.call("Emulation.setEmulatedMedia", media=media)
        browser.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=False
        )
        assert browser.run("document.documentElement.scrollWidth") <= width
        if media == "print":
            parts = "[...document.querySelectorAll('img, table')]"
            assert max(browser.run(f"{parts}.map((part) => part.getBoundingClientRect().right)")) <= width

    urls = [event["request"]["url"] for event in browser.events_of("Network.requestWillBeSent")]
    assert [url for url in urls if not url.startswith("data:")] == [(tmp_path / "report.html").as_uri()]
    assert not browser.events_of("Runtime.exceptionThrown", "Runtime.consoleAPICalled", "Log.entryAdded")
    browser.close()

"""Opens the page of `edge-rcnn run --preview` in a real Chromium and looks whether it shows what it should.

    python3 tests/browser.py target/release/edge-rcnn                       checks; exit code 77: there is no Chromium
    python3 tests/browser.py target/release/edge-rcnn --save page.png -- --source synthetic --budget 100ms

Checks: the picture is there, has the frames' size, and changes; every figure is filled in; nothing was asked of anybody but
the program; the console is empty; the page fits a narrow screen; and it says so when the program has ended. `--save` keeps
screenshots (PNG-narrow.png and PNG-ended.png beside the first). Arguments after `--` replace those of the run.
Speaks with the browser through a pipe (Chrome DevTools Protocol), so Python alone is enough.
"""

import argparse
import base64
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time

RUN = "--source synthetic --size 640x480 --fps 10 --scale 64 --proposals 20 --threads 1 --min-score 0.02 --budget 200ms --track".split()
FIGURES = ["source", "fps", "size", "p50", "p95", "p99", "limit", "why", "captured", "seen", "about"]
NAMES = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome-headless-shell"]


class Browser:
    """A headless Chromium with one page."""

    def __init__(self, program, home):
        to_browser, from_us = os.pipe()
        from_browser, to_us = os.pipe()

        def descriptors():
            # The browser reads its third descriptor and writes its fourth.
            a, b = os.dup(to_browser), os.dup(to_us)
            os.dup2(a, 3)
            os.dup2(b, 4)

        flags = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--remote-debugging-pipe", "--no-first-run",
                 "--disable-background-networking", "--hide-scrollbars", f"--user-data-dir={home}", "about:blank"]
        self.process = subprocess.Popen([program, *flags], preexec_fn=descriptors, close_fds=False,
                                        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
        os.close(to_browser)
        os.close(to_us)
        self.out, self.into = os.fdopen(from_us, "wb", 0), os.fdopen(from_browser, "rb")
        self.number, self.rest, self.session = 0, b"", None
        self.asked, self.complaints = [], []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.call(f"{domain}.enable")

    def call(self, method, **params):
        self.number += 1
        message = {"id": self.number, "method": method, "params": params}
        if self.session:
            message["sessionId"] = self.session
        self.out.write(json.dumps(message).encode() + b"\0")
        while True:
            answer = self.read()
            if answer.get("id") == self.number:
                assert "error" not in answer, f"{method}: {answer['error']}"
                return answer["result"]

    def read(self):
        while b"\0" not in self.rest:
            chunk = self.into.read1(1 << 20)
            assert chunk, "the browser has gone"
            self.rest += chunk
        message, self.rest = self.rest.split(b"\0", 1)
        message = json.loads(message)
        params = message.get("params", {})
        if message.get("method") == "Network.requestWillBeSent":
            self.asked.append(params["request"]["url"])
        if message.get("method") == "Runtime.exceptionThrown":
            self.complaints.append(params["exceptionDetails"].get("exception", params["exceptionDetails"]))
        if message.get("method") == "Log.entryAdded" and params["entry"]["level"] in ("error", "warning"):
            self.complaints.append(params["entry"]["text"])
        return message

    def value(self, script):
        result = self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in result, result
        return result["result"].get("value")

    def until(self, script, what, seconds=60):
        end = time.monotonic() + seconds
        while not self.value(script):
            assert time.monotonic() < end, f"{what}: not within {seconds} s; the page says {self.value('document.body.innerText')!r}"
            time.sleep(0.1)

    def size(self, width, height):
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)

    def save(self, path):
        if path:
            with open(path, "wb") as file:
                file.write(base64.b64decode(self.call("Page.captureScreenshot", format="png")["data"]))

    def close(self):
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


def pixels(browser):
    """A few pixels of the picture, so that two can be compared."""
    return browser.value("""(() => {
        const canvas = document.createElement("canvas"), picture = document.getElementById("picture");
        canvas.width = 32, canvas.height = 24;
        const context = canvas.getContext("2d");
        context.drawImage(picture, 0, 0, 32, 24);
        return Array.from(context.getImageData(0, 0, 32, 24).data).join();
    })()""")


def look(browser, url, run, save):
    browser.size(1280, 800)
    browser.call("Page.navigate", url=url)
    browser.until("!!document.getElementById('picture')?.naturalWidth", "a picture")
    browser.until("document.getElementById('state').textContent.startsWith('live')", "the state")
    browser.until("document.getElementById('curve50').points.length > 3", "the curve of latencies")
    shown = browser.value(f"Object.fromEntries({FIGURES}.map((id) => [id, document.getElementById(id).innerText.trim()]))")
    empty = [name for name, text in shown.items() if text in ("", "–")]
    assert not empty, f"empty figures: {empty} of {shown}"
    assert "NaN" not in str(shown) and "undefined" not in str(shown), shown
    assert float(shown["fps"]) > 0 and "step" in shown["why"], shown
    first = pixels(browser)
    browser.until(f"({json.dumps(first)}) !== ''", "pixels")
    end = time.monotonic() + 20
    while pixels(browser) == first:
        assert time.monotonic() < end, "the picture does not change"
        time.sleep(0.1)
    browser.save(save)
    browser.size(390, 844)
    browser.until("document.documentElement.scrollWidth <= 390", "a page that fits a narrow screen", 5)
    browser.save(save and save.replace(".png", "-narrow.png"))
    foreign = [asked for asked in browser.asked if not asked.startswith((url, "data:", "about:"))]
    assert not foreign, f"asked elsewhere: {foreign}"
    assert not browser.complaints, f"the console is not empty: {browser.complaints}"
    browser.size(1280, 800)
    run.send_signal(signal.SIGTERM)
    browser.until("document.getElementById('state').textContent === 'not running'", "that the program has ended", 20)
    browser.save(save and save.replace(".png", "-ended.png"))
    return shown


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("program")
    arguments.add_argument("--save", metavar="PNG")
    split = sys.argv.index("--") if "--" in sys.argv else len(sys.argv)
    args, of_the_run = arguments.parse_args(sys.argv[1:split]), sys.argv[split + 1 :]
    chromium = next(filter(None, map(shutil.which, NAMES)), None)
    if not chromium:
        print("there is no Chromium (Debian package chromium)")
        sys.exit(77)
    command = [args.program, "run", *(of_the_run or RUN), "--preview", "127.0.0.1:0"]
    run = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
    browser = None
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as home:
        try:
            hello = json.loads(run.stdout.readline())
            # Lines that nobody reads would be dropped; the frames are not.
            reader = subprocess.Popen(["cat"], stdin=run.stdout, stdout=subprocess.DEVNULL)
            browser = Browser(chromium, home)
            print(json.dumps(look(browser, hello["preview"], run, args.save), indent=2, ensure_ascii=False))
            assert run.wait(5) == 0, f"exit code {run.returncode}"
            reader.wait(5)
        finally:
            if browser:
                browser.close()
            if run.poll() is None:
                run.kill()


if __name__ == "__main__":
    main()

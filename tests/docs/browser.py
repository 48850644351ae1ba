"""docs/explained.html in headless Chromium: a question in JavaScript, its answer as JSON."""

from __future__ import annotations

import html
import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

PAGE = Path(__file__).resolve().parents[2] / "docs" / "explained.html"
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")

#: What runs before the page: keeps errors, so that none passes unseen.
TRAP = """<script>
const problems = [];
addEventListener("error", (event) => problems.push(String(event.message)));
addEventListener("unhandledrejection", (event) => problems.push(String(event.reason)));
for (const kind of ["error", "warn"]) console[kind] = (...words) => problems.push(words.join(" "));
</script>"""

#: What runs after it: the question, an async function's body; the answer takes the place of the page.
ASK = """<script>
const wait = (ms) => new Promise((done) => setTimeout(done, ms));
(async () => {
  let answer = null;
  try { answer = await (async () => { %s })(); } catch (error) { problems.push(String(error.stack)); }
  const pre = document.createElement("pre");
  pre.id = "answer";
  pre.textContent = JSON.stringify({ answer, problems });
  document.body.replaceChildren(pre);
})();
</script>"""


def browser() -> str:
    """Return the browser's path; skip, or fail where TURBOQUANT_REQUIRE_BROWSER is set, if there is none."""
    found = next((path for name in NAMES if (path := shutil.which(name))), None)
    if found is None:
        message = "no Chromium here, so the page was not run (Debian: apt install chromium; then make test-page)"
        if os.environ.get("TURBOQUANT_REQUIRE_BROWSER"):
            pytest.fail(message)
        pytest.skip(message)
    return found


def ask(question: str, folder: Path, *, width: int = 1000, figures: bool = True) -> Any:
    """Return what ``question``, the body of an async function, returns in the page; any error of the page fails.

    Without ``figures`` nothing is drawn, which takes less time.
    """
    program = browser()
    text = PAGE.read_text(encoding="utf-8")
    text = text.replace("<head>", "<head>" + TRAP, 1).replace("</body>", ASK.replace("%s", question) + "</body>", 1)
    if not figures:
        text = text.replace(" data-figure=", " data-undrawn=")
    page = folder / "asked.html"
    page.write_text(text, encoding="utf-8")
    # Virtual time: timers fire at once, and the page is read when nothing is left to run. No sandbox, for containers.
    line = [program, "--headless", "--no-sandbox", "--disable-gpu", f"--window-size={width},900"]
    line += [f"--user-data-dir={folder / 'profile'}", "--virtual-time-budget=60000", "--dump-dom", page.as_uri()]
    done = subprocess.run(line, capture_output=True, text=True, timeout=120, check=False)
    found = re.search(r'<pre id="answer">(.*?)</pre>', done.stdout, re.DOTALL)
    assert found, f"the page did not answer: {done.stdout[-500:]} {done.stderr[-500:]}"
    reply = json.loads(html.unescape(found[1]))
    assert reply["problems"] == [], reply["problems"]
    return reply["answer"]

"""Makes a virtual environment with pip in it: make_venv.py FOLDER.

`python3 -m venv` does that, except where the system keeps `ensurepip` in a package of its own that is not installed
(Debian, Ubuntu). There pip's wheel is taken from the package index and installs itself; nothing is added to the system.
"""

import hashlib
import importlib.util
import json
import os
import ssl
import subprocess
import sys
import tempfile
import urllib.request
import venv
from pathlib import Path

OLDEST = (3, 10)


def latest_pip(folder: Path) -> Path:
    """Downloads the newest pip wheel into `folder`, its SHA-256 checked against the index."""
    index = os.environ.get("PIP_INDEX_URL", "https://pypi.org/simple").rstrip("/")
    context = ssl.create_default_context(cafile=os.environ.get("PIP_CERT"))

    def get(url: str) -> bytes:
        request = urllib.request.Request(url, headers={"Accept": "application/vnd.pypi.simple.v1+json"})
        with urllib.request.urlopen(request, context=context, timeout=60) as response:
            data: bytes = response.read()
        return data

    files = json.loads(get(f"{index}/pip/"))["files"]

    def version(file: dict[str, str]) -> tuple[int, ...]:
        text = file["filename"].split("-")[1]
        return tuple(int(part) for part in text.split(".")) if text.replace(".", "").isdigit() else ()

    wheel = max((f for f in files if f["filename"].endswith(".whl") and not f.get("yanked")), key=version)
    data = get(urllib.request.urljoin(f"{index}/pip/", wheel["url"]))
    if hashlib.sha256(data).hexdigest() != wheel["hashes"]["sha256"]:
        raise SystemExit(f"{wheel['filename']}: the hash differs from the index's")
    path = folder / wheel["filename"]
    path.write_bytes(data)
    return path


def main() -> None:
    """Makes the environment that the command line names."""
    if sys.version_info < OLDEST:
        raise SystemExit(
            f"Python {'.'.join(map(str, OLDEST))} or newer is needed; {sys.executable} is {sys.version.split()[0]}. "
            "Name another with `make PYTHON=…`."
        )
    folder = Path(sys.argv[1])
    if importlib.util.find_spec("ensurepip") is not None:
        venv.create(folder, with_pip=True, symlinks=True)
        return
    print(f"{sys.executable} has no ensurepip: taking pip from the package index")
    venv.create(folder, with_pip=False, symlinks=True)
    with tempfile.TemporaryDirectory() as temporary:
        pip = latest_pip(Path(temporary))
        subprocess.run([folder / "bin" / "python", pip / "pip", "install", "--quiet", "--no-index", pip], check=True)


if __name__ == "__main__":
    main()

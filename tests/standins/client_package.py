"""A package with a console script, as a source archive that builds itself: a load client to install, offline."""

from __future__ import annotations

import io
import os
import tarfile
from pathlib import Path

from autotune.benchmark.environments import ClientPackage

STARTED = "STANDIN_CLIENT_STARTED"
"""A file that gets a line, the builder's process id, whenever the package is built."""

GO = "STANDIN_CLIENT_GO"
"""A file without which a build does not go on."""

PACKAGE = ClientPackage(
    name="standin", requirement="standin-client==1.0", program="standin-client", size_gib=0.01, minutes="1"
)

PYPROJECT = '[build-system]\nrequires = []\nbuild-backend = "builds"\nbackend-path = ["."]\n'

BACKEND = """
import os, time, zipfile
INFO = "standin_client-1.0.dist-info"
FILES = {
    "standin_client.py": PROGRAM,
    INFO + "/METADATA": "Metadata-Version: 2.1\\nName: standin-client\\nVersion: 1.0\\n",
    INFO + "/WHEEL": "Wheel-Version: 1.0\\nGenerator: standin\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n",
    INFO + "/entry_points.txt": "[console_scripts]\\nstandin-client = standin_client:main\\n",
    INFO + "/RECORD": "",
}

def build_wheel(folder, config_settings=None, metadata_directory=None):
    started, go = os.environ.get("STANDIN_CLIENT_STARTED"), os.environ.get("STANDIN_CLIENT_GO")
    if started:
        with open(started, "a") as file:
            file.write(f"{os.getpid()}\\n")
    deadline = time.monotonic() + 60
    while go and not os.path.exists(go) and time.monotonic() < deadline:
        time.sleep(0.02)
    name = "standin_client-1.0-py3-none-any.whl"
    with zipfile.ZipFile(os.path.join(folder, name), "w") as wheel:
        for path, text in FILES.items():
            wheel.writestr(path, text)
    return name
"""

PROGRAM = "def main():\n    print('usage: standin-client')\n"


def make_archive(folder: Path, program: str = PROGRAM) -> None:
    """Put `standin-client` 1.0 into a folder that pip is to look in."""
    files = {
        "PKG-INFO": "Metadata-Version: 2.1\nName: standin-client\nVersion: 1.0\n",
        "pyproject.toml": PYPROJECT,
        "builds.py": f"PROGRAM = {program!r}\n{BACKEND}",
    }
    folder.mkdir(parents=True, exist_ok=True)
    with tarfile.open(folder / "standin_client-1.0.tar.gz", "w:gz") as archive:
        for name, text in files.items():
            content = text.encode()
            info = tarfile.TarInfo(f"standin_client-1.0/{name}")
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))


def offline(folder: Path, cache: Path) -> dict[str, str]:
    """Return the environment in which pip finds that package and no other, and autotune has that cache."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("PIP_")}
    pip = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(folder), "PIP_NO_CACHE_DIR": "1"}
    return {**env, **pip, "AUTOTUNE_CACHE": str(cache)}

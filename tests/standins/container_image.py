"""A container image with stand-in engines, made in seconds from the running Python; no registry is asked.

`vllm` and `sglang` inside are the simulated engine with facts of a small model, or, where STANDIN is in
the environment, the stand-in program that misbehaves as told. The image says of itself that it is a
stand-in.
"""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import sysconfig
import tarfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import yaml
from docker import DockerClient

from autotune.deploy.simulated.deployer import FACTS
from autotune.records import GpuSpec

ROOT = Path(__file__).parents[2]
FLAG_LISTS = ROOT / "autotune/plan/runtimes/flag_lists"
NAME = "autotune/stand-in"
LABEL = "autotune.simulated=true"
CODE = "/autotune-standin"  # of the packages inside
ENTRIES = "import autotune.deploy.simulated.__main__, autotune.deploy.simulated.server, uvicorn.main, uvloop, httptools"
LOADED = f"""
import sys
{ENTRIES}
import uvicorn.loops.uvloop, uvicorn.protocols.http.httptools_impl, uvicorn.lifespan.on
print(*sorted({{m.__file__ for m in sys.modules.values() if getattr(m, '__file__', None)}}), sep='\\n')
"""
PROGRAM = f"""#!{sys.executable} -IS
import json, os, sys
words = ["vllm" if "vllm" in sys.argv[0] else "sglang", *sys.argv[1:]]
os.environ["PYTHONPATH"] = "{CODE}"
if "STANDIN" in os.environ:
    os.environ.setdefault("STANDIN_PIDS", os.devnull)
    os.execv(sys.executable, [sys.executable, "{CODE}/standin.py", *words[1:]])
seen = os.environ.get("NVIDIA_VISIBLE_DEVICES", "")
print("INFO NVIDIA_VISIBLE_DEVICES=" + seen, "CUDA_VISIBLE_DEVICES=" + os.environ.get("CUDA_VISIBLE_DEVICES", ""), flush=True)
print("INFO HF_TOKEN=" + os.environ.get("HF_TOKEN", ""), flush=True)
facts = json.load(open("{CODE}/facts.json"))
facts.update(engine=words[0], version=os.environ.get("STANDIN_VERSION", facts["version"][words[0]]),
             gpus_visible=len([g for g in seen.split(",") if g and g not in ("void", "none")]),
             startup_s=float(os.environ.get("STANDIN_STARTUP_S", "0.2")))
json.dump(facts, open("/tmp/facts.json", "w"))
wrapper = [sys.executable, "-m", "autotune.deploy.simulated", "--spec", "/tmp/facts.json", "--", *words]
os.execv(sys.executable, wrapper)
"""


def facts() -> dict[str, object]:
    """Return what the engines inside believe of hardware and model: those of presets."""
    gpus = yaml.safe_load((ROOT / "conf/gpus/h100_8x.yaml").read_text())
    model = yaml.safe_load((ROOT / "conf/model/llama3_1_8b.yaml").read_text())
    return {
        "version": {"vllm": "0.33.0", "sglang": "0.5.23"},
        "gpu": asdict(GpuSpec(**gpus["spec"])),
        "gpu_model": gpus["model"],
        "model": {name: model[name] for name in FACTS},
    }


def archive() -> bytes:
    """Return the file system of the image, packed."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        _python(tar)
        for file in _modules():
            _add(tar, file, f"{CODE}/{file.relative_to(_base(file))}")
        for file in sorted(FLAG_LISTS.glob("*.json")):
            _add(tar, file, f"{CODE}/{file.relative_to(ROOT)}")
        _add(tar, ROOT / "tests/standins/vllm", f"{CODE}/standin.py")
        _text(tar, f"{CODE}/facts.json", json.dumps(facts()))
        for name in ("vllm", "sglang"):
            _text(tar, f"/usr/local/bin/{name}", PROGRAM, mode=0o755)
        for folder in ("/tmp", "/root"):  # noqa: S108  (inside the image)
            member = tarfile.TarInfo(folder.lstrip("/"))
            member.type, member.mode = tarfile.DIRTYPE, 0o1777
            tar.addfile(member)
    return packed.getvalue()


def make(host: str, names: Sequence[str]) -> None:
    """Import the image into the daemon at `host`, under these names."""
    client = DockerClient(base_url=host)
    try:
        changes = [f"LABEL {LABEL}", "ENV PATH=/usr/local/bin:/usr/bin:/bin", "ENV PYTHONDONTWRITEBYTECODE=1"]
        client.api.import_image_from_data(archive(), repository=NAME, tag="test", changes=changes)
        made = client.images.get(f"{NAME}:test")
        for name in names:
            repository, _, tag = name.rpartition(":")
            made.tag(repository, tag=tag)
    finally:
        client.close()


def _python(tar: tarfile.TarFile) -> None:
    """The interpreter where it is here, its library without tests, and the shared libraries of both."""
    interpreter = Path(sys.executable)
    _add(tar, interpreter.resolve(), str(interpreter))
    if interpreter.resolve() != interpreter:
        _add(tar, interpreter.resolve(), str(interpreter.resolve()))
    library = Path(sysconfig.get_path("stdlib"))
    binaries = [interpreter.resolve()]
    for file in sorted(library.rglob("*")):
        parts = set(file.relative_to(library).parts)
        if file.is_dir() or parts & {
            "site-packages",
            "dist-packages",
            "test",
            "tests",
            "__pycache__",
            "idlelib",
        }:
            continue
        _add(tar, file, str(file))
        if file.suffix == ".so":
            binaries.append(file)
    binaries += [file for file in _modules() if file.suffix == ".so"]
    for path in _shared(binaries):
        _add(tar, path.resolve(), str(path))


def _modules() -> list[Path]:
    """The files of everything that the simulated engine imports, beside the library of Python."""
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    told = subprocess.run([sys.executable, "-c", LOADED], env=env, check=True, capture_output=True, text=True)
    files = [Path(line) for line in told.stdout.splitlines()]
    return [file for file in files if file.is_relative_to(ROOT / "autotune") or "site-packages" in file.parts]


def _base(file: Path) -> Path:
    if file.is_relative_to(ROOT / "autotune"):
        return ROOT
    return Path(*file.parts[: file.parts.index("site-packages") + 1])


def _shared(binaries: list[Path]) -> list[Path]:
    """The shared libraries that these need, by where the loader looks for them."""
    told = subprocess.run(["ldd", *map(str, binaries)], check=False, capture_output=True, text=True).stdout
    words = (word for line in told.splitlines() for word in line.split())
    return sorted({Path(word) for word in words if word.startswith("/") and not word.endswith(":")})


def _add(tar: tarfile.TarFile, source: Path, place: str) -> None:
    member = tar.gettarinfo(str(source), arcname=place.lstrip("/"))
    member.uid = member.gid = 0
    with source.open("rb") as file:
        tar.addfile(member, file if member.isreg() else None)


def _text(tar: tarfile.TarFile, place: str, text: str, mode: int = 0o644) -> None:
    content = text.encode()
    member = tarfile.TarInfo(place.lstrip("/"))
    member.size, member.mode = len(content), mode
    tar.addfile(member, io.BytesIO(content))

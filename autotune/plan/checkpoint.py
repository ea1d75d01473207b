"""What a checkpoint on this machine says of itself; nothing is asked of a network.

A model's path is a folder, a GGUF file, or a hub name, which is looked up in the hub's cache.
Source: huggingface_hub 0.36, constants.py (where the cache is) and file_download.py (how it is laid out).
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from autotune.plan.architecture import shape_of, text_of
from autotune.plan.facts import Found, ModelFacts
from autotune.plan.gguf import SHARD, model_of, read_gguf, shards_of
from autotune.plan.quantization import stored_of

JSON_LIMIT = 64 * 2**20  # bytes; the index of the largest checkpoints has about 10 MiB
LARGEST = 2**60
HUB_NAME = re.compile(r"(?:\w[\w.-]*/)?\w[\w.-]*")
SHARD_OF = re.compile(r"-of-(\d{5})\.")
COMMIT = re.compile(r"\w[\w.-]{0,100}")
MEND = "mend it, or download the checkpoint again"
WEIGHTS = (  # index of shards, and their names; the first kind that is there is loaded
    ("model.safetensors.index.json", ("model*.safetensors", "*.safetensors")),
    ("pytorch_model.bin.index.json", ("pytorch_model*.bin",)),
)


def read_checkpoint(path: str, env: Mapping[str, str]) -> Found | None:
    """Return what the checkpoint says; None where none can be read.

    `env` says where the hub's cache is. What is wrong with a checkpoint is a problem, never an exception.
    """
    try:
        place = place_of(path, env)
        return None if place is None else _read(place)
    except OSError as error:
        why = f"model.path={path}: cannot be read: {error.strerror or error}"
        facts = ModelFacts(source="the checkpoint")
        return Found(facts=facts, problems=(f"{why}: give read permission, or another model.path",))


def place_of(path: str, env: Mapping[str, str]) -> Path | None:
    """Return the file or folder that is meant: what is there by that name, else what the hub's cache has."""
    local = _expanded(path, env)
    if path and local.exists():
        return local
    return _cached(path, env) if HUB_NAME.fullmatch(path) else None


def _expanded(path: str, env: Mapping[str, str]) -> Path:
    """The path with `~` as the user's home."""
    home = env.get("HOME")
    return Path(home + path[1:]) if home and (path == "~" or path.startswith("~/")) else Path(path)


def _cached(name: str, env: Mapping[str, str]) -> Path | None:
    """The snapshot of a model in the hub's cache: of its main branch, else the newest."""
    caches = env.get("XDG_CACHE_HOME") or "~/.cache"
    home = env.get("HF_HOME") or f"{caches}/huggingface"
    cache = env.get("HF_HUB_CACHE") or env.get("HUGGINGFACE_HUB_CACHE") or f"{home}/hub"
    folder = _expanded(cache, env) / f"models--{name.replace('/', '--')}"
    main = folder / "refs" / "main"
    if main.is_file():
        commit = main.read_bytes()[:256].decode(errors="replace").strip()
        if COMMIT.fullmatch(commit) and (folder / "snapshots" / commit).is_dir():
            return folder / "snapshots" / commit
    snapshots = [entry for entry in (folder / "snapshots").glob("*") if entry.is_dir()]
    return max(snapshots, key=lambda entry: entry.stat().st_mtime, default=None)


def _read(place: Path) -> Found | None:
    if place.is_file():
        if place.suffix.lower() != ".gguf":
            return None
        shards = shards_of(list(place.parent.glob("*.[gG][gG][uU][fF]"))) if SHARD.search(place.name) else {}
        return _noted(read_gguf(shards.get(model_of(place.name), [place])), place)
    if (place / "config.json").exists():
        return _noted(_described(place), place / "config.json")
    models = shards_of(list(place.glob("*.[gG][gG][uU][fF]")))
    if len(models) > 1:
        names = ", ".join(files[0].name for files in list(models.values())[:4])
        names += ", ..." if len(models) > 4 else ""
        problem = f"{place} has several GGUF models: give one of them as model.path: {names}"
        return Found(facts=ModelFacts(source="the checkpoint"), problems=(problem,))
    return next((_noted(read_gguf(files), files[0]) for files in models.values()), None)


def _noted(found: Found, file: Path) -> Found:
    """Say where the facts are from."""
    return found if found.problems else replace(found, notes=(f"model facts are from {file}", *found.notes))


def _described(folder: Path) -> Found:
    """What config.json says, and the files beside it."""
    config, problems = _object(folder / "config.json")
    if problems:
        return Found(facts=ModelFacts(source="config.json"), problems=tuple(problems))
    facts, wrong = shape_of(config, "config.json")
    separate, more = _object(folder / "hf_quant_config.json")
    text = text_of(config)
    said = text.get("quantization_config") or config.get("compression_config") or {}
    if not isinstance(said, dict):
        wrong.append("quantization_config is no object")
        said = {}
    experts = text.get("expert_dtype") or ("fp4" if text.get("model_type") == "deepseek_v4" else None)
    stored, notes = stored_of({**said, "expert_dtype": experts} if said else {}, separate, facts)
    size, params, worse = _weights(folder)
    formats = {stored.gemm_dtype, stored.moe_dtype if facts.experts else stored.gemm_dtype}
    # 4-bit weights are packed, several to an element.
    counted = stored.method == "none" or formats <= {"bf16", "fp16", "fp32", "fp8"}
    return Found(
        facts=replace(facts, stored=stored, weights_bytes=size, params=params if counted else None),
        problems=(*(f"{folder / 'config.json'}: {what}: {MEND}" for what in wrong), *more, *worse),
        notes=notes,
    )


def _object(file: Path) -> tuple[dict[str, Any], list[str]]:
    """The content of a JSON file, and what is wrong with it; nothing where there is no such file."""
    if not file.exists():
        return {}, []
    try:
        with file.open("rb") as opened:
            text = opened.read(JSON_LIMIT + 1)
    except OSError as error:
        return {}, [f"{file}: cannot be read: {error.strerror or error}: give read permission"]
    if len(text) > JSON_LIMIT:
        return {}, [f"{file}: is larger than {JSON_LIMIT // 2**20} MiB: {MEND}"]
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        return {}, [f"{file}: is no JSON ({error}): {MEND}"]
    if not isinstance(content, dict):
        return {}, [f"{file}: holds a {type(content).__name__}, must hold an object: {MEND}"]
    return content, []


def _weights(folder: Path) -> tuple[int | None, int | None, list[str]]:
    """Bytes of the weights and number of parameters, where they are told, and what is wrong."""
    for index, patterns in WEIGHTS:
        content, problems = _object(folder / index)
        metadata = content.get("metadata")
        metadata = metadata if isinstance(metadata, dict) else {}
        files = next((found for pattern in patterns if (found := list(folder.glob(pattern)))), [])
        if content or problems or files:
            size = _amount(metadata.get("total_size")) or _size(files)
            return size, _amount(metadata.get("total_parameters")), problems
    return None, None, []


def _amount(value: Any) -> int | None:
    """A count that was written as a whole number, or as a float of one."""
    number = not isinstance(value, bool) and isinstance(value, int | float)
    return int(value) if number and 1 <= value <= LARGEST and value == int(value) else None


def _size(files: Sequence[Path]) -> int | None:
    """Bytes of the files together; None where shards are missing."""
    shards = {file.name: int(found[1]) for file in files if (found := SHARD_OF.search(file.name))}
    if not all(file.exists() for file in files) or len(shards) < max(shards.values(), default=0):
        return None
    counted = [file for file in files if file.name in shards] if shards else files
    return sum(file.stat().st_size for file in counted) or None

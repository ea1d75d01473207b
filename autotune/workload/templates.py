"""The chat template of a model's folder, rendered as engines do.

Source: transformers 4.57 utils/chat_template_utils.py (the sandbox, its two whitespace options, the names a
template may use). A template is a stranger's program: it runs in Jinja's sandbox, which has no files.
"""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

SPECIAL = ("bos_token", "eos_token", "pad_token", "unk_token")

Message = tuple[str, str]
Render = Callable[[Sequence[Message]], str]


def template_of(folder: Path) -> Render:
    """Return what renders messages, with the beginning of an answer.

    Raises: ValueError where the folder has no template, or one that cannot be rendered here.
    """
    config = _object(folder / "tokenizer_config.json")
    text = _text(folder, config)
    if text is None:
        raise ValueError(f"{folder} has none")
    try:
        sandbox = importlib.import_module("jinja2.sandbox")
    except ImportError as error:
        raise ValueError("Jinja2 is not installed: pip install 'autotune-serving[tokenizers]'") from error
    failures: tuple[type[Exception], ...] = (importlib.import_module("jinja2").TemplateError, TypeError)
    special = {name: _token(config.get(name)) for name in SPECIAL}

    def render(messages: Sequence[Message]) -> str:
        said = [{"role": role, "content": content} for role, content in messages]
        known = {name: token for name, token in special.items() if token is not None}
        try:
            return str(compiled.render(messages=said, add_generation_prompt=True, **known))
        except failures as error:
            raise ValueError(f"it cannot be rendered here ({error})") from error

    environment = sandbox.ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"]
    )
    environment.filters["tojson"] = _as_json
    environment.globals["raise_exception"] = _refuse
    environment.globals["strftime_now"] = lambda form: datetime.now().astimezone().strftime(form)
    try:
        compiled = environment.from_string(text)
    except failures as error:
        raise ValueError(f"it cannot be read here ({error})") from error
    return render


def _text(folder: Path, config: dict[str, Any]) -> str | None:
    """The default template: a file of its own, else what the tokenizer's configuration holds."""
    file = folder / "chat_template.jinja"
    if file.is_file():
        return file.read_text("utf-8", errors="replace")
    given = config.get("chat_template") or _object(folder / "chat_template.json").get("chat_template")
    if isinstance(given, list):
        named = {each.get("name"): each.get("template") for each in given if isinstance(each, dict)}
        given = named.get("default")
    return given if isinstance(given, str) else None


def _token(value: Any) -> str | None:
    """A special token is written as text, or as an object with its content."""
    content = value.get("content") if isinstance(value, dict) else value
    return content if isinstance(content, str) else None


def _object(file: Path) -> dict[str, Any]:
    try:
        content = json.loads(file.read_bytes())
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _as_json(value: Any, indent: int | None = None, **_: Any) -> str:
    return json.dumps(value, ensure_ascii=False, indent=indent)


def _refuse(message: str) -> None:
    raise TypeError(message)

"""Print the flag list of an engine from its own parser, in the form of `autotune/plan/runtimes/flag_lists`.

Run with the engine's own Python; needs nothing but the engine:

    ENGINE_PYTHON scripts/dump_flags.py vllm > autotune/plan/runtimes/flag_lists/vllm-VERSION.json
    ENGINE_PYTHON scripts/dump_flags.py vllm --check autotune/plan/runtimes/flag_lists/vllm-VERSION.json

With --check: exit status 1 and a diff if FILE is not what the parser says. --note tells in the list
what was unusual about the run.
"""

from __future__ import annotations

import argparse
import contextlib
import difflib
import importlib
import json
import sys
from collections.abc import Callable, Iterable
from importlib.metadata import version as installed_version
from pathlib import Path
from typing import Any

# Their choices name the devices of the machine that was asked, not what the engine knows.
DEVICE_CHOICES = {"--mm-processor-device"}

# What a parser converts with, by the name of its converter. Source: vLLM 0.32.0 engine/arg_utils.py.
TYPES = {
    "int": "int",
    "float": "float",
    "str": "str",
    "union_dict_and_str": "str",
    "loads": "json",
    "parse_dataclass": "json",
    "human_readable_int": "human_int",
    "human_readable_int_or_auto": "human_int",
}


def main() -> int:
    """Print or check the list; return the exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("engine", choices=sorted(DUMPS))
    parser.add_argument("--note", default="", help="what was unusual about this run")
    parser.add_argument("--check", metavar="FILE", type=Path, help="compare with FILE instead of printing")
    args = parser.parse_args()
    with contextlib.redirect_stdout(sys.stderr):  # the engines log to standard output
        content = DUMPS[args.engine]()
    if args.check is None:
        sys.stdout.write(canonical({**content, "note": args.note}))
        return 0
    return _compare(args.check, content)


def canonical(content: dict[str, Any]) -> str:
    """Return the one text of a flag list: a flag a line, so that a diff shows whole flags."""
    keys = [key for key in ("engine", "version", "how", "note", "options_flag") if key in content]
    head = [f"{json.dumps(key)}: {json.dumps(content[key])},\n" for key in keys]
    tables = [(name, content[name]) for name in ("flags", "options") if name in content]
    bodies = (f'"{name}": [\n' + ",\n".join(map(json.dumps, rows)) + "\n]" for name, rows in tables)
    return "{\n" + "".join(head) + ",\n".join(bodies) + "\n}\n"


def rows(parser: argparse.ArgumentParser) -> list[dict[str, Any]]:
    """Return every option of `parser` but --help, with the spellings that it hides from its help.

    vLLM 0.33 accepts `--no-enable-x`, shows `--disable-x` and lists the former nowhere in public.
    """
    spellings: dict[argparse.Action, list[str]] = {}
    for action in parser._actions:  # noqa: SLF001 - argparse has no public list of its actions
        if action.option_strings and action.dest != "help":
            spellings[action] = list(action.option_strings)
    for name, action in parser._option_string_actions.items():  # noqa: SLF001 - nor of its spellings
        if action in spellings and name not in spellings[action]:
            spellings[action].append(name)
    return [_row(action, names) for action, names in spellings.items()]


def _row(action: argparse.Action, names: list[str]) -> dict[str, Any]:
    free = action.choices is None or DEVICE_CHOICES.intersection(names)
    return {
        "names": sorted(names, key=lambda name: not name.startswith("--")),
        "takes": _takes(action.nargs),
        "choices": None if free else _sorted(action.choices or ()),
        "type": _type_name(action.type),
    }


def _takes(nargs: int | str | None) -> str:
    if nargs == 0:
        return "none"
    return "value" if nargs in {None, "?", 1} else "list"


def _sorted(choices: Iterable[Any]) -> list[str]:
    """Some parsers hold their choices in a set: numbers by size, words by the alphabet."""
    words = {str(choice) for choice in choices}
    numbers = all(word.isdecimal() for word in words)
    return sorted(words, key=lambda word: (int(word) if numbers else 0, word))


def _type_name(convert: Any) -> str | None:
    """Look through vLLM's `optional_type(int)` and `parse_type(int)`: closures over `return_type`."""
    while (inner := _closure(convert).get("return_type")) is not None:
        convert = inner
    return TYPES.get(getattr(convert, "__name__", ""))


def _closure(function: Any) -> dict[str, Any]:
    cells = getattr(function, "__closure__", None) or ()
    names = function.__code__.co_freevars if cells else ()
    return {name: cell.cell_contents for name, cell in zip(names, cells, strict=True)}


def _vllm() -> dict[str, Any]:
    parser = _first("vllm.utils.argparse_utils", "vllm.utils").FlexibleArgumentParser()
    arguments = _first(  # 0.33, 0.32, older
        "vllm.entrypoints.common.cli_args",
        "vllm.entrypoints.launchers.cli_args",
        "vllm.entrypoints.openai.cli_args",
    )
    version = importlib.import_module("vllm").__version__
    return _content("vllm", version, "make_arg_parser", arguments.make_arg_parser(parser))


def _sglang() -> dict[str, Any]:
    parser = argparse.ArgumentParser()
    importlib.import_module("sglang.srt.server_args").ServerArgs.add_cli_args(parser)
    return _content("sglang", installed_version("sglang"), "ServerArgs.add_cli_args", parser)


def _content(engine: str, version: str, source: str, parser: argparse.ArgumentParser) -> dict[str, Any]:
    """A local part of the version, such as `+cpu`, tells the build and not the flags."""
    version = version.partition("+")[0]
    how = f"scripts/dump_flags.py from {source} of {engine} {version}"
    return {"engine": engine, "version": version, "how": how, "flags": rows(parser)}


def _first(name: str, *others: str) -> Any:
    """Import the first module that exists: vLLM moves its parser between versions."""
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as missing:
        if not others or not name.startswith(missing.name or "-"):
            raise
    return _first(*others)


def _compare(path: Path, content: dict[str, Any]) -> int:
    shipped = path.read_text("utf-8")
    text = canonical({**content, "note": json.loads(shipped)["note"]})
    if shipped == text:
        print(f"{path}: equal to the engine's parser, {len(content['flags'])} flags")
        return 0
    lines = difflib.unified_diff(
        shipped.splitlines(), text.splitlines(), str(path), "the engine's parser", lineterm="", n=0
    )
    print("\n".join(lines))
    return 1


DUMPS: dict[str, Callable[[], dict[str, Any]]] = {"vllm": _vllm, "sglang": _sglang}

if __name__ == "__main__":
    sys.exit(main())

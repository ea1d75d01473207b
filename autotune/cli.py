"""The command line: takes the subcommand off, checks everything, then hands over to Hydra.

Exit status: 0 the sweep finished; 1 no trial succeeded, or the sweep could not go on; 2 the
configuration is wrong and nothing was started; 130 interrupted.
"""

from __future__ import annotations

import argparse
import difflib
import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

PASSED_ON = (
    "--cfg",
    "-c",
    "--info",
    "-i",
    "--hydra-help",
    "--shell-completion",
    "-sc",
    "--version",
)
"""Flags that Hydra answers by itself."""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise SystemExit(complain([message]))


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return the exit status."""
    words = list(sys.argv[1:] if argv is None else argv)
    try:
        return _dispatch(words)
    except BrokenPipeError:  # who read the help or a table has seen enough
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115, PTH123  (Python flushes it at the end)
        return 0
    except KeyboardInterrupt:
        print("interrupted before anything was started", file=sys.stderr)  # noqa: T201
        return 130


def _dispatch(words: list[str]) -> int:
    if any(word in {"-h", "--help"} for word in words):
        from autotune.usage import help_text

        print(help_text())  # noqa: T201
        return 0
    if words and words[0] in COMMANDS:
        return COMMANDS[words[0]](words[1:])
    if words and not words[0].startswith("-") and "=" not in words[0]:
        return _unknown_command(words[0])
    if any(word.split("=")[0] in PASSED_ON for word in words):
        return _hydra_alone(words)
    return _experiment(words)


def complain(problems: Sequence[str]) -> int:
    """Print what is wrong on standard error and return exit status 2."""
    lines = [f"error: {problems[0]}", *(f"       {problem}" for problem in problems[1:])]
    print("\n".join(lines), file=sys.stderr)  # noqa: T201
    return 2


def _experiment_parser() -> _Parser:
    parser = _Parser(add_help=False, allow_abbrev=False)
    parser.add_argument("-m", "--multirun", action="store_true")
    parser.add_argument("--config-dir", "-cd")
    parser.add_argument("--config-name", "-cn", default="config")
    return parser


def _split(parser: _Parser, words: list[str]) -> tuple[argparse.Namespace, list[str]]:
    """Options and overrides; an unknown option ends the program."""
    known, rest = parser.parse_known_args(words)
    flags = [word for word in rest if word.startswith("-")]
    if flags:
        raise SystemExit(complain([f"{flag}: no such option; python -m autotune --help" for flag in flags]))
    return known, rest


def _plan(words: list[str]) -> int:
    parser = _experiment_parser()
    for name in ("all", "diff", "json"):
        parser.add_argument(f"--{name}", action="store_true")
    known, rest = _split(parser, words)
    from autotune.preview import run_preview

    return run_preview(
        rest,
        multirun=known.multirun,
        config_dir=known.config_dir,
        config_name=known.config_name,
        every=known.all,
        differences=known.diff,
        as_json=known.json,
    )


def _experiment(words: list[str]) -> int:
    known, rest = _split(_experiment_parser(), words)
    from autotune.session import run_session

    return run_session(
        rest,
        multirun=known.multirun,
        config_dir=known.config_dir,
        config_name=known.config_name,
        command=("python", "-m", "autotune", *words),
    )


def _hydra_alone(words: list[str]) -> int:
    from autotune.session import hydra_alone

    hydra_alone(words)
    return 0


def _ui(words: list[str]) -> int:
    from autotune.track.ui import open_ui

    parser = _Parser(prog="python -m autotune ui", add_help=False)
    parser.add_argument("--port", type=int, default=5000)
    known, rest = parser.parse_known_args(words)
    wrong = [word for word in rest if not word.startswith("tracking.uri=")]
    if wrong:
        return complain([f"ui takes --port and tracking.uri=URI, not {shlex.join(wrong)}"])
    problem = open_ui(known.port, [word.partition("=")[2] for word in rest])
    return 0 if problem is None else complain([problem])


def _doctor(words: list[str]) -> int:
    parser = _experiment_parser()
    parser.add_argument("--interference", action="store_true")
    parser.add_argument("--pairs", type=int)
    parser.add_argument("--install", nargs="?", const="")
    parser.add_argument("--compare-clients", action="store_true")
    parser.add_argument("--rounds", type=int)
    known, rest = _split(parser, words)
    if problem := _doctor_problem(known, words):
        return complain([problem])
    if known.install is not None:
        from autotune.doctor.install import run_install

        return run_install(known.install)
    where = {"config_dir": known.config_dir, "config_name": known.config_name}
    command = ("python", "-m", "autotune", "doctor", *words)
    if known.interference:
        from autotune.doctor.interference import run_interference

        pairs = 5 if known.pairs is None else known.pairs
        return run_interference(rest, pairs=pairs, command=command, **where)
    if known.compare_clients:
        from autotune.doctor.comparison import run_comparison

        rounds = 3 if known.rounds is None else known.rounds
        return run_comparison(rest, rounds=rounds, command=command, **where)
    from autotune.doctor.look import run_doctor

    return run_doctor(rest, **where)


def _doctor_problem(known: argparse.Namespace, words: Sequence[str]) -> str | None:
    """Options of `doctor` that do not go together."""
    if known.install is not None:
        alone = len(words) == 2 if words[0] == "--install" and known.install else len(words) == 1
        told = f"doctor --install takes one client and nothing else, not {shlex.join(words)}"
        return None if alone else told
    if known.multirun:
        return "doctor looks at one configuration: leave out -m"
    if known.interference and known.compare_clients:
        return "--interference and --compare-clients: one at a time"
    if known.pairs is not None and not known.interference:
        return "--pairs goes with doctor --interference"
    if known.rounds is not None and not known.compare_clients:
        return "--rounds goes with doctor --compare-clients"
    return None


def _reap(words: list[str]) -> int:
    from autotune.reap import run_reap

    parser = _Parser(prog="python -m autotune reap", add_help=False, allow_abbrev=False)
    parser.add_argument("--yes", action="store_true")
    known, folders = _split(parser, words)
    return run_reap([Path(name) for name in folders], end=known.yes)


def _logs(words: list[str]) -> int:
    from autotune.logs import LINES, run_logs

    parser = _Parser(prog="python -m autotune logs", add_help=False, allow_abbrev=False)
    parser.add_argument("--trial", type=_count)
    parser.add_argument("--lines", type=_count, default=LINES)
    parser.add_argument("--follow", action="store_true")
    known, sweeps = _split(parser, words)
    if len(sweeps) > 1:
        return complain([f"logs takes one sweep, not {shlex.join(sweeps)}"])
    sweep = sweeps[0] if sweeps else None
    return run_logs(sweep, trial=known.trial, lines=known.lines, follow=known.follow)


def _count(text: str) -> int:
    """Return a whole number from 0 on. Raises: argparse.ArgumentTypeError."""
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text}: must be a whole number from 0 on")
    return int(text)


COMMANDS = {"plan": _plan, "doctor": _doctor, "ui": _ui, "logs": _logs, "reap": _reap}


def _unknown_command(word: str) -> int:
    near = difflib.get_close_matches(word, COMMANDS, n=1)
    hint = f"; did you mean {near[0]}?" if near else ""
    known = ", ".join(COMMANDS)
    return complain([f"{word}: neither a command ({known}) nor an override GROUP=PRESET or KEY=VALUE{hint}"])

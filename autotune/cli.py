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

HELP = """\
usage: python -m autotune [-m] [--config-dir DIR] [OVERRIDE ...]
       python -m autotune plan [-m] [--all] [--diff] [--json] [OVERRIDE ...]
       python -m autotune doctor [--interference [--pairs N]] [OVERRIDE ...]
       python -m autotune ui [--port N] [tracking.uri=URI]
       python -m autotune reap [--yes] [outputs/SWEEP ...]

autotune finds the inference-engine configuration that serves best, and proves it.

  python -m autotune OVERRIDE...         one trial
  python -m autotune -m OVERRIDE...      a sweep: comma-separated values span the grid
  python -m autotune plan [-m] ...       what would run, and why the rest would not; starts nothing
  python -m autotune doctor              what is found here, and the fix for each thing missing
  python -m autotune ui                  the MLflow UI on the right store
  python -m autotune reap                what sweeps that were killed left running, listed

options:
  -m, --multirun      sweep
  --config-dir DIR    a folder with your own presets, laid out like the groups below
  --config-name NAME  another root configuration than `config`
  --all, --diff       plan: every candidate; only the arguments that differ between them
  --json              plan: JSON on standard output
  --interference      doctor: measure one configuration alone and beside copies of itself: what
                      neighbours cost, and whether launcher.exclusive=true is worth its time
  --pairs N           doctor: so many measurements alone and beside (5; at least 3)
  --yes               reap: end what is listed
  --cfg job           show the composed configuration instead of running
  --hydra-help        Hydra's own options
  -h, --help          this text

Without a GPU, Docker, a model or an account:
  python -m autotune -m runtime=vllm,sglang parallel=tp2,tp4 deploy=simulated gpus=h100_8x \\
      model=llama3_1_8b workload=demo

An OVERRIDE is GROUP=PRESET or KEY=VALUE:
{groups}

Often used keys: runtime.version, runtime.args.NAME (an engine argument, with underscores),
runtime.env.NAME, model.path, workload.loads, workload.input_tokens, workload.output_tokens,
deploy.url (measure a running engine), measure.repeats, launcher.max_parallel, sweep.name,
sweep.resume=true (continue the sweep of that name, also after a kill -9), tracking.uri.

exit status: 0 finished (failed trials are results), 1 no trial succeeded, 2 wrong configuration and
nothing started, 130 interrupted."""


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


def help_text() -> str:
    """Return the help, with the presets that are there; without importing Hydra."""
    from autotune.places import conf_dir

    folders = sorted(path for path in conf_dir().iterdir() if path.is_dir())
    inner = [path for folder in folders for path in sorted(folder.iterdir()) if path.is_dir()]
    groups = [
        f"  {folder.relative_to(conf_dir())!s:<12} "
        + ", ".join(sorted(preset.stem for preset in folder.glob("*.yaml")))
        for folder in (*folders, *inner)
    ]
    return HELP.format(groups="\n".join(groups))


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
    known, rest = _split(parser, words)
    if known.multirun:
        return complain(["doctor looks at one configuration: leave out -m"])
    if not known.interference:
        if known.pairs is not None:
            return complain(["--pairs goes with doctor --interference"])
        from autotune.doctor.look import run_doctor

        return run_doctor(rest, config_dir=known.config_dir, config_name=known.config_name)
    from autotune.doctor.interference import run_interference

    return run_interference(
        rest,
        pairs=5 if known.pairs is None else known.pairs,
        config_dir=known.config_dir,
        config_name=known.config_name,
        command=("python", "-m", "autotune", "doctor", *words),
    )


def _reap(words: list[str]) -> int:
    from autotune.reap import run_reap

    parser = _Parser(prog="python -m autotune reap", add_help=False, allow_abbrev=False)
    parser.add_argument("--yes", action="store_true")
    known, folders = _split(parser, words)
    return run_reap([Path(name) for name in folders], end=known.yes)


COMMANDS = {"plan": _plan, "doctor": _doctor, "ui": _ui, "reap": _reap}


def _unknown_command(word: str) -> int:
    near = difflib.get_close_matches(word, COMMANDS, n=1)
    hint = f"; did you mean {near[0]}?" if near else ""
    known = ", ".join(COMMANDS)
    return complain([f"{word}: neither a command ({known}) nor an override GROUP=PRESET or KEY=VALUE{hint}"])

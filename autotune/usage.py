"""What `--help` prints; imports nothing heavy."""

from __future__ import annotations

from autotune.places import conf_dir

HELP = """\
usage: python -m autotune [-m] [--config-dir DIR] [OVERRIDE ...]
       python -m autotune plan [-m] [--all] [--diff] [--json] [OVERRIDE ...]
       python -m autotune doctor [--interference [--pairs N]] [OVERRIDE ...]
       python -m autotune doctor --install aiperf|guidellm|genai_bench
       python -m autotune doctor --compare-clients [--rounds N] [OVERRIDE ...]
       python -m autotune ui [--port N] [tracking.uri=URI]
       python -m autotune logs [SWEEP] [--trial N] [--lines N] [--follow]
       python -m autotune reap [--yes] [outputs/SWEEP ...]

autotune finds the inference-engine configuration that serves best, and proves it.

  python -m autotune OVERRIDE...         one trial
  python -m autotune -m OVERRIDE...      a sweep: comma-separated values span the grid
  python -m autotune plan [-m] ...       what would run, and why the rest would not; starts nothing
  python -m autotune doctor              what is found here, and the fix for each thing missing
  python -m autotune ui                  the MLflow UI on the right store
  python -m autotune logs                what engines say: of the newest sweep, of its running trials
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
  --install CLIENT    doctor: make an environment for a load client of others, in the user's cache
  --compare-clients   doctor: run all load clients that are here against one engine, in turn: where
                      they differ, and why
  --rounds N          doctor: so many measurements with each client (3; at least 2)
  --trial N           logs: of this trial, also when it has ended
  --lines N           logs: so many of the last lines of each (20)
  --follow            logs: keep printing until the trial ends
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
workload.file (of workload=sharegpt and jsonl), workload.sampling.temperature,
deploy.url (measure a running engine), measure.repeats, measure.until=0.02 (repeat until the score is
known to 2 %), launcher.max_parallel, slo.ttft_ms_p95=800 (bounds), workload.loads=search (the
highest load within them), sweep.name, sweep.resume=true (continue the sweep of that name,
also after a kill -9), tracking.uri.

exit status: 0 finished (failed trials are results), 1 no trial succeeded, 2 wrong configuration and
nothing started, 130 interrupted."""


def help_text() -> str:
    """Return the help, with the presets that are there; without importing Hydra."""
    folders = sorted(path for path in conf_dir().iterdir() if path.is_dir())
    inner = [path for folder in folders for path in sorted(folder.iterdir()) if path.is_dir()]
    groups = [
        f"  {folder.relative_to(conf_dir())!s:<12} "
        + ", ".join(sorted(preset.stem for preset in folder.glob("*.yaml")))
        for folder in (*folders, *inner)
    ]
    return HELP.format(groups="\n".join(groups))

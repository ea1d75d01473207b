"""The command of every preset on every engine, as text. `python -m tests.plan.golden_plans` writes it anew."""

from __future__ import annotations

import shlex
from pathlib import Path

from autotune import compose
from autotune.candidates import Composer
from autotune.gpus.inventory import take_inventory
from autotune.plan.resolve import resolve
from autotune.plan.runtimes import RUNTIMES
from autotune.plan.runtimes.flags import known_versions
from autotune.records import Plan
from autotune.schema import config_from

FOLDER = Path(__file__).parent / "golden"
GROUPS = ("quant", "parallel", "serving")
MODELS = ("llama3_1_8b", "qwen3_30b_a3b", "deepseek_v3", "gpt_oss_120b")
ENGINES = [(engine, version) for engine in RUNTIMES for version in known_versions(engine)]
OWN = ("--host", "--port", "--served-model-name", "--served_model_name")


def golden_plans(engine: str, version: str) -> dict[str, str]:
    """Return a text for each group of presets: dense, MoE, MLA and MXFP4 models on eight H200."""
    fixed = [f"runtime={engine}", f"runtime.version={version}", "gpus=h200_8x"]
    with compose.hydra_on(None) as app:
        composer = Composer(app, fixed)
        presets = compose.presets(app)
        return {
            group: "\n".join(
                _entry(composer, [*fixed, f"model={model}", f"{group}={preset}"])
                for model in MODELS
                for preset in presets[group]
            )
            for group in GROUPS
        }


def _entry(composer: Composer, point: list[str]) -> str:
    config = config_from(composer.candidate(point).config)
    plan = resolve(config, take_inventory(config.gpus, {}))
    lines = [" ".join(point[3:]), f"  {_command(plan)}"]
    for name, text in plan.files.items():
        lines += [f"  {name}: {line}" for line in text.splitlines()]
    lines.append(f"  {plan.gpus} GPUs, {plan.world_size} ranks in a replica")
    lines += [f"  refused: {reason}" for reason in plan.reasons]
    lines += [f"  note: {note}" for note in plan.notes]
    return "\n".join(lines) + "\n"


def _command(plan: Plan) -> str:
    """The command without what is autotune's own in each."""
    words = list(plan.argv)
    for option in OWN:
        if option in words:
            at = words.index(option)
            del words[at : at + 2]
    return shlex.join(words)


if __name__ == "__main__":
    for engine, version in ENGINES:
        folder = FOLDER / f"{engine}-{version}"
        folder.mkdir(parents=True, exist_ok=True)
        for group, text in golden_plans(engine, version).items():
            (folder / f"{group}.txt").write_text(text)

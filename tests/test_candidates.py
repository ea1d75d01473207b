"""Candidates put together from presets are the ones that Hydra composes."""

from __future__ import annotations

import itertools
import random
from pathlib import Path

import pytest

from autotune import compose
from autotune.candidates import Composer
from autotune.errors import ConfigError
from autotune.schema import config_from

CHOICES = {
    "runtime": ["runtime=vllm", "runtime=sglang"],
    "parallel": ["parallel=tp1", "parallel=tp2", "parallel=tp4"],
    "model": ["model=llama3_1_8b", "model=tiny"],
    "workload": ["workload=chat", "workload=demo"],
    "parallel.pp": ["parallel.pp=1", "parallel.pp=2"],
    "quant": ["quant.kvcache_dtype=auto", "quant.kvcache_dtype=fp8_e4m3"],
    "version": ["runtime.version=0.33.0", "runtime.version=0.32.0"],
    "args": ["++runtime.args.max_num_seqs=16", "++runtime.args.max_num_seqs='32'"],
    "nested": ["++runtime.args.kv_cache_config.dtype=fp8", "++runtime.args.kv_cache_config.dtype=null"],
    "env": ["++runtime.env.A=1", "++runtime.env.A=b"],
    "loads": ["workload.loads=[1,2.5]", "workload.loads=[4]"],
    "reference": ["serving.max_model_len=${workload.input_tokens}", "serving.max_model_len=512"],
}
FIXED = ["gpus=h100_8x", "seed=7", "++runtime.args.block_size=16", "search/space=none", "serving=default"]
POINTS = [[*FIXED, *point] for point in itertools.product(*CHOICES.values())]


def test_candidates_are_those_that_hydra_composes() -> None:
    """Values, choices and overrides, for points drawn from every kind of override."""
    with compose.hydra_on(None) as app:
        composer = Composer(app, FIXED)
        for point in random.Random(1).sample(POINTS, 24):  # noqa: S311 (not for secrets)
            whole = compose.candidate_from(compose.compose(app, point))
            candidate = composer.candidate(point)
            assert candidate.overrides == whole.overrides
            assert candidate == whole
            assert config_from(candidate.config) == config_from(whole.config)


def test_none_of_them_is_composed_whole() -> None:
    """That would take 70 ms each."""
    with compose.hydra_on(None) as app:
        composer = Composer(app, FIXED)
        for point in POINTS[::37]:
            composer.candidate(point)
    assert composer.whole == 0


def test_a_value_that_a_point_writes_otherwise_is_still_the_same_for_all() -> None:
    """A point escapes the colons of a URL; that costs no composition."""
    with compose.hydra_on(None) as app:
        composer = Composer(app, ["tracking.uri=http://127.0.0.1:9"])
        candidate = composer.candidate([r"tracking.uri=http\://127.0.0.1\:9", "parallel=tp2"])
    assert composer.whole == 0
    assert candidate.config["tracking"]["uri"] == "http://127.0.0.1:9"


def test_candidates_do_not_change_each_other() -> None:
    """They share nodes; a value set for one is not there in the next."""
    with compose.hydra_on(None) as app:
        composer = Composer(app, [])
        composer.candidate(["++runtime.args.max_num_seqs=16", "parallel.pp=2"])
        plain = composer.candidate([])
    assert plain.config["runtime"]["args"] == {}
    assert plain.config["parallel"]["pp"] == 1


def test_what_an_experiment_says_of_a_node_counts_for_its_other_presets(tmp_path: Path) -> None:
    """It is chosen beside them, and wins over each, though it agrees with the one that is the default."""
    (tmp_path / "experiment").mkdir()
    text = "# @package _global_\nruntime:\n  version: 0.33.0\n"
    (tmp_path / "experiment" / "newest.yaml").write_text(text)
    fixed = ["gpus=h100_8x", "+experiment=newest"]
    with compose.hydra_on(str(tmp_path)) as app:
        composer = Composer(app, fixed)
        for runtime in ("runtime=vllm", "runtime=sglang"):
            point = [*fixed, runtime]
            whole = compose.candidate_from(compose.compose(app, point))
            assert composer.candidate(point) == whole
            assert whole.config["runtime"]["version"] == "0.33.0"


@pytest.mark.parametrize(
    ("files", "root", "fixed", "words"),
    [
        pytest.param({"runtime/args/fast": "max_num_seqs: 77\n"}, "config", ["+runtime/args=fast"], ["runtime=vllm", "runtime=sglang"], id="a group inside the node"),
        pytest.param({"mine": "defaults: [config, base, _self_]\n", "base": "runtime:\n  version: 0.32.0\n"}, "mine", [], ["runtime=vllm", "runtime=sglang"], id="another root"),
    ],
)  # fmt: skip
def test_what_is_chosen_beside_a_swept_preset_counts(
    tmp_path: Path, files: dict[str, str], root: str, fixed: list[str], words: list[str]
) -> None:
    """Groups inside its node, and roots of the user's own that write into it."""
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / f"{name}.yaml").write_text(text)
    fixed = ["gpus=h100_8x", *fixed]
    with compose.hydra_on(str(tmp_path)) as app:
        composer = Composer(app, fixed, config_name=root)
        for word in words:
            whole = compose.candidate_from(compose.compose(app, [*fixed, word], config_name=root))
            assert composer.candidate([*fixed, word]) == whole


def test_a_preset_that_reaches_further_is_composed_whole(tmp_path: Path) -> None:
    """`--config-dir` may bring a preset that sets more than its own node."""
    for group, text in {
        "parallel/far": "# @package _global_\nparallel:\n  tp: 2\nserving:\n  max_model_len: 99\n",
        "serving/bare": "prefix_caching: true\n",
    }.items():
        (tmp_path / group).parent.mkdir()
        (tmp_path / f"{group}.yaml").write_text(text)
    point = ["parallel=far", "serving=bare", "serving.max_batched_tokens=64"]
    with compose.hydra_on(str(tmp_path)) as app:
        whole = compose.candidate_from(compose.compose(app, point))
        composed = Composer(app, []).candidate(point)
    assert composed == whole
    assert composed.config["serving"]["max_model_len"] == 99


def test_a_value_given_for_all_and_one_inside_it_are_set_in_their_order() -> None:
    """A map for all candidates, a key of it for each: only Hydra knows what that means."""
    point = ["++runtime.args={block_size: 32}", "++runtime.args.block_size=16"]
    with compose.hydra_on(None) as app:
        whole = compose.candidate_from(compose.compose(app, point))
        assert Composer(app, point[:1]).candidate(point) == whole


def test_a_missing_value_is_named() -> None:
    """A mandatory value that no preset gives."""
    with compose.hydra_on(None) as app:
        composer = Composer(app, [])
        with pytest.raises(ConfigError, match=r"model\.path: must be given"):
            composer.candidate(["model.path=???"])

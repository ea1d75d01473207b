"""What a candidate's requests are made of: the model's tokens, a file, or what is wrong with it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from autotune.benchmark.body import body_of
from autotune.benchmark.traffic import conversations
from autotune.benchmark.workload import loads_of, traffic_of
from autotune.cli import main
from autotune.plan.resolve import resolve
from autotune.plan.traffic import problems
from autotune.plan.wordings import Wordings
from autotune.records import Inventory, InventoryKind, Lengths, Plan, Wording
from autotune.schema import (
    ApiEndpoint,
    Arrival,
    Config,
    DeployConfig,
    LoadMode,
    ModelConfig,
    RuntimeConfig,
    ServingConfig,
    WorkloadConfig,
    WorkloadKind,
)
from autotune.workload.templates import template_of
from tests.tokenizers_made import tokenizer_made

NOWHERE = Inventory(kind=InventoryKind.UNKNOWN, gpus=())


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUTOTUNE_CACHE", str(tmp_path / "cache"))


def config(
    path: Path | str = "none", *, kind: str = "process", url: str | None = None, **workload: Any
) -> Config:
    """A candidate on vLLM."""
    fields: dict[str, Any] = {"loads": [2], "input_tokens": 90, "output_tokens": 20, "seed": 5, **workload}
    return Config(
        runtime=RuntimeConfig(kind="vllm", version="0.33.0"),
        model=ModelConfig(path=str(path), max_model_len=400),
        deploy=DeployConfig(kind=kind, url=url),
        workload=WorkloadConfig(**fields),
    )


def filed(file: Path, **more: Any) -> Config:
    """A candidate that is sent the lines of a file."""
    asked = config("none", file=str(file), input_tokens=None, output_tokens=None, **more)
    asked.workload.kind = WorkloadKind.jsonl
    return asked


def planned(asked: Config) -> tuple[Plan, Wording]:
    """The plan with its wording."""
    described, wording = Wordings({})(asked)
    return resolve(described, NOWHERE, None, wording), wording


@pytest.mark.parametrize("endpoint", list(ApiEndpoint))
def test_prompts_have_exactly_the_tokens_asked_for(tmp_path: Path, endpoint: ApiEndpoint) -> None:
    """As the engine counts them: a completion with BOS, a chat by its template, each turn with its history."""
    tokenizer = tokenizer_made(tmp_path / "m")
    asked = config(
        tmp_path / "m", endpoint=endpoint, turns=3, prefix_tokens=40, input_spread=0.3, output_spread=0.3
    )
    described, wording = Wordings({})(asked)
    assert wording.lengths is Lengths.EXACT
    assert wording.notes == ("lengths of prompts are exact, by the model's own tokenizer",)
    traffic, (load,) = traffic_of(described.workload, wording), loads_of(described.workload)
    render = template_of(tmp_path / "m")
    for conversation, _ in zip(
        conversations(traffic, load, repeat=0, phase="measure"), range(20), strict=False
    ):
        for plan in conversation:
            content = json.loads(body_of(plan, traffic, "m"))
            if endpoint is ApiEndpoint.completions:
                counted = len(tokenizer.encode(content["prompt"]).ids)
            else:
                said = [(each["role"], each["content"]) for each in content["messages"]]
                counted = len(tokenizer.encode(render(said), add_special_tokens=False).ids)
            assert counted == plan.input_tokens


def test_a_hub_model_is_found_in_the_cache(tmp_path: Path) -> None:
    """By its name, without a network."""
    folder = tmp_path / "hub" / "models--org--name"
    tokenizer_made(folder / "snapshots" / "abc")
    (folder / "refs").mkdir()
    (folder / "refs" / "main").write_text("abc")
    _, wording = Wordings({"HF_HUB_CACHE": str(tmp_path / "hub")})(config("org/name"))
    assert wording.lengths is Lengths.EXACT


def test_why_lengths_are_approximate_is_said(tmp_path: Path) -> None:
    """No tokenizer; an engine that someone else runs; an argument that changes tokens; a stand-in has words."""
    tokenizer_made(tmp_path / "m")
    other = config(tmp_path / "m")
    other.runtime.args["tokenizer"] = "elsewhere"
    cases = [
        (config("org/none"), "no tokenizer.json of org/none is on this machine"),
        (config(tmp_path / "m", url="http://h:1"), "whatever http://h:1 serves"),
        (other, "runtime.args.tokenizer is not looked into"),
    ]
    for asked, why in cases:
        _, wording = Wordings({})(asked)
        assert wording.lengths is Lengths.APPROXIMATE
        assert why in wording.notes[0]
    _, wording = Wordings({})(config(tmp_path / "m", kind="simulated"))
    assert (wording.lengths, wording.words, wording.notes) == (Lengths.STAND_IN, (), ())


def test_another_tokenizer_makes_another_signature(tmp_path: Path) -> None:
    """Its words are other requests; what was found is kept and found again."""
    tokenizer_made(tmp_path / "a" / "m")
    tokenizer_made(tmp_path / "b" / "m", bos=False)
    one, two = planned(config(tmp_path / "a" / "m")), planned(config(tmp_path / "b" / "m"))
    assert one[0].signature != two[0].signature
    assert planned(config(tmp_path / "a" / "m")) == one
    assert len(list((tmp_path / "cache" / "workloads").glob("*.json"))) == 2


def test_a_files_requests_are_its_traffic(tmp_path: Path) -> None:
    """Means for memory, the hash for the signature: a changed file is other traffic, a moved one is not."""
    lines = [json.dumps({"prompt": "a b c d " * n, "output_tokens": 10 * n}) for n in range(1, 41)]
    for name in ("one", "moved"):
        (tmp_path / name).write_text("\n".join(lines))
    (tmp_path / "changed").write_text("\n".join(lines[1:]))
    plans = {name: planned(filed(tmp_path / name)) for name in ("one", "moved", "changed")}
    signatures = {name: plan.signature for name, (plan, _) in plans.items()}
    assert signatures["one"] == signatures["moved"] != signatures["changed"]
    described, wording = Wordings({})(filed(tmp_path / "one"))
    assert (wording.problems, described.workload.output_tokens) == ((), 170)
    assert len(str(described.workload.file_sha256)) == 64
    assert "33 of 40 conversations are used; of 40 looked at: 7 of more than 400 tokens" in wording.notes[1]
    assert any("are needed, of 33 each is sent up to about" in note for note in wording.notes)


def test_a_large_file_is_read_once(tmp_path: Path) -> None:
    """What was drawn is found again by the file's content, also without its conversations being read."""
    file = tmp_path / "f"
    file.write_text(json.dumps({"prompt": "a b c d", "output_tokens": 4}))
    asked = filed(file)
    _, first = Wordings({})(asked)
    assert first.pool is not None
    Path(first.pool).write_text("[]")
    _, second = Wordings({})(asked)
    assert second == first
    assert Path(first.pool).read_text() == "[]"


def test_requests_beyond_the_context_are_told(tmp_path: Path) -> None:
    """A share of those that are spread; all of a file's that the model cannot take are left out."""
    spread = config("none", input_tokens=200, output_tokens=100, input_spread=0.5)
    (note,) = [note for note in planned(spread)[0].notes if "longer than the context" in note]
    assert note.startswith("about ")
    assert "of the requests are longer than the context of 400 tokens" in note
    assert any(
        "below a mean request" in reason for reason in planned(config("none", input_tokens=390))[0].reasons
    )
    turns = planned(config("none", turns=4))[0].reasons
    assert any("440 tokens with its answer and history" in reason for reason in turns)
    file = tmp_path / "f"
    file.write_text("\n".join(json.dumps({"input_tokens": n, "output_tokens": 100}) for n in (200, 500)))
    asked = filed(file)
    assert "1 of more than 400 tokens" in planned(asked)[1].notes[1]
    asked.serving = ServingConfig(max_model_len=250)
    assert any("about 100.0% of the requests" in note for note in planned(asked)[0].notes)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (None, "cannot be read: No such file"),
        (b"", "holds no request"),
        (b"{]", "line 1: is no JSON"),
        (b'{"prompt": "p"}', 'line 1: has no "output_tokens"'),
        (
            b'{"input_tokens": 399, "output_tokens": 9}',
            "none of its 1 conversations is left: 1 of more than 400 tokens",
        ),
    ],
)
def test_a_wrong_file_is_told(tmp_path: Path, content: bytes | None, problem: str) -> None:
    """By its name; the plan is rejected with the same words."""
    if content is not None:
        (tmp_path / "f").write_bytes(content)
    plan, wording = planned(filed(tmp_path / "f"))
    assert wording.problems[0].startswith(f"workload.file={tmp_path / 'f'}: {problem}")
    assert set(wording.problems) <= set(plan.reasons)


def test_a_file_that_changed_is_told(tmp_path: Path) -> None:
    """Where its hash is given."""
    (tmp_path / "f").write_text('{"prompt": "p", "output_tokens": 1}')
    asked = filed(tmp_path / "f", file_sha256="0" * 64)
    assert "it has changed" in planned(asked)[1].problems[0]


def test_wrong_values_and_wrong_files_are_listed_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit status 2, and nothing was started."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "f.json").write_text("[{}]")
    words = [
        "deploy=simulated",
        "gpus=h100_8x",
        "workload=sharegpt",
        "workload.file=f.json",
        "workload.turns=0",
    ]
    assert main([*words, "workload.extra_body.stream=false", "workload.sampling.top_k=0"]) == 2
    said = capsys.readouterr().err
    for problem in ("entry 1", "workload.turns=0", "workload.extra_body.stream", "workload.sampling.top_k=0"):
        assert problem in said
    assert main(["deploy=simulated", "gpus=h100_8x", "workload=jsonl"]) == 2
    assert "workload.file: must be given with workload.kind=jsonl" in capsys.readouterr().err
    assert not (tmp_path / "outputs").exists()


def test_what_contradicts_a_workload_is_a_problem() -> None:
    """Lengths that are not given, prefixes longer than prompts, files that nobody reads."""
    assert problems(config()) == []
    found = problems(config("none", input_tokens=None, output_tokens=None, file="f"))
    assert [problem.split(":")[0] for problem in found] == [
        "workload.input_tokens",
        "workload.output_tokens",
        "workload.file=f",
    ]
    assert "must be below workload.input_tokens=90" in problems(config("none", prefix_tokens=90))[0]
    assert "set workload.sampling.top_p" in problems(config("none", extra_body={"top_p": 1}))[0]
    steady = problems(config("none", arrival=Arrival.constant))
    assert steady[0].startswith("workload.arrival=constant: is for arrivals at a rate")
    assert len(problems(config("none", arrival=Arrival.trace))) == 2
    assert problems(config("none", arrival=Arrival.gamma, mode=LoadMode.rate)) == []


def test_how_a_trace_is_replayed_as_it_was_is_told(tmp_path: Path) -> None:
    """By its own rate; without times there is no trace."""
    file = tmp_path / "f"
    lines = [{"input_tokens": 5, "output_tokens": 1, "time": 0.5 * n} for n in range(4)]
    file.write_text("\n".join(json.dumps(line) for line in lines))
    assert any("workload.loads=[2] replays it as it was" in note for note in planned(filed(file))[1].notes)
    as_trace = {"arrival": Arrival.trace, "mode": LoadMode.rate}
    assert any("stretched to the rates" in note for note in planned(filed(file, **as_trace))[1].notes)
    file.write_text(json.dumps({"input_tokens": 5, "output_tokens": 1}))
    assert "its lines have no time" in planned(filed(file, **as_trace))[1].problems[0]

"""The page of the simulated engine, read as a real one's is."""

from __future__ import annotations

import pytest

from autotune.deploy.simulated.batching import Sequence
from autotune.deploy.simulated.engine import create_engine
from autotune.deploy.simulated.metrics_page import metrics_page
from autotune.observe.page import FOUND, LOOKED_UP, PREEMPTIONS, gauge, read_page
from tests.deploy.simulated.facts import command, specification
from tests.deploy.simulated.test_batching import replica, request

PROMPT = tuple(f"word{number}" for number in range(40))


@pytest.mark.parametrize(
    ("engine", "more", "replicas"),
    [
        ("vllm", (), ["0,"]),
        ("vllm", ("--data-parallel-size", "2"), ["0,", "1,"]),
        ("sglang", (), [","]),
        ("sglang", ("--dp-size", "2"), [",0", ",1"]),
    ],
    ids=str,
)
def test_each_replica_tells_of_itself(engine: str, more: tuple[str, ...], replicas: list[str]) -> None:
    """Requests, the share of the cache that they hold, and hits of the second prompt on the first one's."""
    made = create_engine(command(engine, *more), specification(engine))
    busy = made.replicas[0]
    for number in range(2):
        busy.add(Sequence(number=number, prompt=PROMPT, output_tokens=3))
        busy.step()
    busy.waiting.append(Sequence(number=9, prompt=PROMPT, output_tokens=3))
    page = read_page(metrics_page(made))
    assert {name: sorted(values) for name, values in page.items()} == dict.fromkeys(page, replicas)
    first = replicas[0]
    assert gauge(page, "running") == 2
    assert gauge(page, "waiting") == 1
    assert page["kv_cache_usage"][first] == busy.used_tokens / made.kv_tokens > 0
    assert (page[LOOKED_UP][first], page[FOUND][first], page[PREEMPTIONS][first]) == (80, 32, 0)


def test_who_is_computed_again_is_not_looked_up_again() -> None:
    """As in vLLM, whose hits are of requests that come in; preempted ones are counted as such."""
    one = replica(kv_tokens=64)
    for number in range(2):
        one.add(request(number, prompt=20, output=20))
    while one.step() is not None:
        pass
    assert one.preemptions > 0
    assert one.looked_up_tokens == 40


def test_without_prefix_caching_nothing_is_looked_up() -> None:
    """There is no rate then, not one of 0."""
    made = create_engine(command("vllm", "--no-enable-prefix-caching"), specification("vllm"))
    made.replicas[0].add(Sequence(number=0, prompt=PROMPT, output_tokens=3))
    made.replicas[0].step()
    assert read_page(metrics_page(made))[LOOKED_UP] == {"0,": 0}

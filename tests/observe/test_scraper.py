"""Questions to an engine's metrics page over real HTTP."""

from __future__ import annotations

import socket
import threading
import time
from contextlib import closing

import pytest

from autotune.observe.scraper import NoMetrics, Scraper
from tests.observe.pages import serving, vllm_page

PAGE = vllm_page(num_requests_running=3)


def test_an_engine_that_can_is_asked_for_what_is_wanted_alone() -> None:
    """The question that brought something is the only one from then on, over one connection."""
    with serving(lambda path: (200, PAGE) if path.startswith("/metrics/?") else (404, "")) as pages:
        scraper = Scraper(pages.url, "vllm")
        looks = [scraper.look() for _ in range(3)]
        scraper.close()
    assert looks == [{"running": {"0,": 3.0}}] * 3
    [question] = set(pages.asked)
    assert "name%5B%5D=vllm%3Anum_requests_running" in question
    assert "sglang" not in question
    assert pages.connections == 1


@pytest.mark.parametrize("status", [200, 307, 404], ids=["empty", "redirected", "unknown"])
def test_an_engine_that_cannot_is_asked_for_the_whole_page(status: int) -> None:
    """A page put together from several processes is empty when it is restricted."""
    with serving(lambda path: (200, PAGE) if path == "/metrics" else (status, "")) as pages:
        scraper = Scraper(pages.url, "vllm")
        assert [scraper.look(), scraper.look()] == [{"running": {"0,": 3.0}}] * 2
        scraper.close()
    assert pages.asked[1:] == ["/metrics", "/metrics"]


def test_tensorrt_llm_tells_at_another_path_or_as_json() -> None:
    """Prometheus first, because reading the iterations takes them away."""
    prometheus = "trtllm_num_requests_running 2\n"
    with serving(lambda path: (200, prometheus) if path == "/prometheus/metrics" else (404, "")) as pages:
        with closing(Scraper(pages.url, "tensorrt_llm")) as scraper:
            assert scraper.look() == {"running": {",": 2.0}}
        assert not any(path.startswith("/metrics") for path in pages.asked)
    answers = iter(['[{"numActiveRequests": 5}]', "[]", '[{"numActiveRequests": 6}]'])
    with serving(lambda path: (200, next(answers)) if path == "/metrics" else (404, "")) as pages:
        scraper = Scraper(pages.url, "tensorrt_llm")
        assert scraper.look() == {"running": {"": 5.0}}
        assert scraper.look() is None  # nothing has happened since
        assert scraper.look() == {"running": {"": 6.0}}
        assert scraper.failures == []
        scraper.close()


def test_an_engine_of_unknown_kind_is_found_by_its_page() -> None:
    """`deploy.url` may be any engine, below any path."""
    page = "sglang:num_queue_reqs 4\n"
    with serving(lambda path: (200, page) if path == "/prefix/metrics" else (404, "")) as pages:
        scraper = Scraper(f"{pages.url}/prefix/", None)
        assert scraper.look() == {"waiting": {",": 4.0}}
        scraper.close()


@pytest.mark.parametrize(
    ("runtime", "status", "text", "words"),
    [
        ("vllm", 404, "", "^/metrics answers with status 404$"),
        ("vllm", 200, "process_cpu_seconds_total 1\n", "^/metrics has none$"),
        ("sglang", 404, "", "status 404: set runtime.args.enable_metrics=true$"),
        ("tensorrt_llm", 200, "[]", "has none: set runtime.args.return_perf_metrics=true and"),
        (None, 404, "", "status 404$"),
    ],
    ids=str,
)
def test_an_engine_without_metrics(runtime: str | None, status: int, text: str, words: str) -> None:
    """The reason is told, and what to set."""
    with serving(lambda _path: (status, text)) as pages, pytest.raises(NoMetrics, match=words):
        Scraper(pages.url, runtime).look()


def test_an_engine_that_does_not_answer_for_a_while() -> None:
    """A look without an answer is counted and the next one connects anew; a page that is gone is not final."""
    with serving(lambda _path: (200, PAGE)) as pages:
        scraper = Scraper(pages.url, "vllm")
        assert scraper.look()
        pages.answer = lambda _path: (503, "")
        assert scraper.look() is None
        pages.answer = lambda _path: (200, "vllm:num_requests_running many\n")
        assert scraper.look() is None
        pages.answer = lambda _path: (200, PAGE)
        assert scraper.look() == {"running": {"0,": 3.0}}
        scraper.close()
    assert (scraper.looks, len(scraper.failures)) == (4, 2)
    assert "status 503" in scraper.failures[0]


def test_nobody_listens() -> None:
    """Refused connections are failures of the moment."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        scraper = Scraper(f"http://127.0.0.1:{free.getsockname()[1]}", "vllm")
        assert scraper.look() is None
    assert (scraper.looks, len(scraper.failures)) == (1, 1)


def test_a_look_in_progress_can_be_ended() -> None:
    """An engine that hangs holds nobody up, and what is aborted is no failure."""
    asked, release = threading.Event(), threading.Event()

    def hang(_path: str) -> tuple[int, str]:
        asked.set()
        release.wait(30)
        return 200, ""

    with serving(hang) as pages:
        scraper = Scraper(pages.url, "vllm", timeout_s=30)
        looking = threading.Thread(target=scraper.look)
        looking.start()
        assert asked.wait(10)
        began = time.monotonic()
        scraper.abort()
        looking.join(10)
        assert not looking.is_alive()
        assert time.monotonic() - began < 5
        release.set()
    assert (scraper.looks, scraper.failures) == (0, [])


def test_an_engine_that_hangs_is_waited_for_no_longer_than_told() -> None:
    """The time-out of the socket ends it."""
    release = threading.Event()
    with serving(lambda _path: (200, "") if release.wait(30) else (500, "")) as pages:
        scraper = Scraper(pages.url, "vllm", timeout_s=0.1)
        assert scraper.look() is None
        release.set()
    assert "timed out" in scraper.failures[0]

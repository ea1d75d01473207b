"""What is drawn from a file: by the seed, counted, filtered, and told."""

from __future__ import annotations

from autotune.workload.files import Ask, Reading, Recorded
from autotune.workload.pool import Draw, pool_of


def words(text: str) -> int:
    """A token is a word."""
    return len(text.split())


def conversation(*lengths: int) -> Recorded:
    """Texts of so many words, by turns."""
    texts = tuple((("user", "assistant")[n % 2], "w " * length) for n, length in enumerate(lengths))
    return Recorded(texts=texts, asks=tuple(Ask(position=n) for n in range(0, len(texts), 2)))


def test_prompts_have_their_history_and_answers_are_as_long_as_recorded() -> None:
    """Counted by what counts."""
    reading = Reading(conversations=(conversation(10, 20, 30, 40),))
    summary, (drawn,) = pool_of(reading, Draw(seed=0, needed=5), words)
    assert [(ask["input_tokens"], ask["output_tokens"]) for ask in drawn["asks"]] == [(10, 20), (60, 40)]
    assert (summary.input_tokens, summary.output_tokens, summary.totals) == (35, 30, (30, 100))


def test_short_and_long_ones_are_left_out_and_counted() -> None:
    """A conversation ends before its first turn that is too long."""
    reading = Reading(
        conversations=(conversation(3, 9), conversation(9, 9, 50, 50), conversation(99, 9)), unusable=2
    )
    summary, drawn = pool_of(reading, Draw(seed=0, needed=9, limit=100, shortest=4), words)
    assert [len(each["asks"]) for each in drawn] == [1]
    found = (summary.drawn, summary.of, summary.looked_at, summary.unusable, summary.short, summary.long)
    assert found == (1, 5, 3, 2, 1, 1)


def test_the_seed_chooses_and_no_more_is_looked_at_than_needed() -> None:
    """The same seed the same ones, another seed others; a trace keeps its order."""
    reading = Reading(conversations=tuple(conversation(n, 5) for n in range(5, 205)))

    def lengths(seed: int) -> list[int]:
        summary, drawn = pool_of(reading, Draw(seed=seed, needed=20), words)
        assert summary.looked_at == 20
        return [each["asks"][0]["input_tokens"] for each in drawn]

    assert lengths(1) == lengths(1) != lengths(2)
    asks = (Ask(position=0, input_tokens=1, output_tokens=1),)
    trace = Reading(conversations=tuple(Recorded(asks=asks, at_s=float(n)) for n in range(9)))
    _, drawn = pool_of(trace, Draw(seed=1, needed=4), words)
    assert [each["at_s"] for each in drawn] == [0.0, 1.0, 2.0, 3.0]


def test_one_length_can_stand_for_all_answers() -> None:
    """`workload.output_tokens` with a file."""
    reading = Reading(conversations=(conversation(10, 20),))
    _, (drawn,) = pool_of(reading, Draw(seed=0, needed=1, output_tokens=7), words)
    assert drawn["asks"][0]["output_tokens"] == 7

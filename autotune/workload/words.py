"""Texts of so many words, made fast: a prompt of 32,000 words takes as long as one of 1,000 drawn singly."""

from __future__ import annotations

import random
from functools import lru_cache

WORDS = tuple(
    """
    the of and to in is it you that he was for on are with as his they be at one have this from or had
    by hot but some what there we can out other were all your when up use word how said an each she
    which do their time if will way about many then them would write like so these her long make thing
    see him two has look more day could go come did my sound no most number who over know water than
    call first people may down side been now find any new work part take get place made live where after
    back little only round man year came show every good me give our under name very through
    """.split()  # noqa: SIM905  (a list of quoted words would be four times as long)
)
"""Words that nearly every tokenizer has as one token, alone and after a space."""

HEAD = 24  # words drawn singly: one and a half blocks of 16, so that no two texts share their first block
PHRASE = 32  # words
PHRASES = 1024


class Writer:
    """Writes texts of words that are one token each; `seed` chooses the phrases that long texts have."""

    def __init__(self, words: tuple[str, ...], seed: int) -> None:
        self._words = words or WORDS
        self._seed = seed

    def text(self, chance: random.Random, count: int) -> str:
        """Return a text of exactly so many words: the first of them and the last ones are drawn singly."""
        whole = max(0, count - HEAD) // PHRASE
        singly = chance.choices(self._words, k=count - whole * PHRASE)
        if not whole:
            return " ".join(singly)
        between = chance.choices(_phrases(self._words, self._seed), k=whole)
        return " ".join([*singly[:HEAD], *between, *singly[HEAD:]])


@lru_cache(maxsize=4)
def _phrases(words: tuple[str, ...], seed: int) -> list[str]:
    chance = random.Random(f"{seed}/phrases")  # noqa: S311  (repeatable traffic, no secrets)
    return [" ".join(chance.choices(words, k=PHRASE)) for _ in range(PHRASES)]

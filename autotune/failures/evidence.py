"""What is known of an engine's end, and the lines of its log that show something.

Lines are counted as an editor does: only a line feed ends one. A progress bar's carriage returns do not, but
what is quoted of such a line is the last thing it showed there.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

QUOTED_CHARACTERS = 300  # of a line of the log
SIGKILL = 9

# A message below the level of an error (vLLM, uvicorn, TensorRT-LLM): it never says why an engine ended.
_CHATTER = re.compile(
    r"\b(?:DEBUG|INFO|WARNING) \d\d-\d\d \d\d:|^(?:INFO|WARNING): {2}|\[(?:DEBUG|INFO|WARNING|[IWV])\] "
)
# A line of source code in a traceback: it holds the words of a message without being one.
_SOURCE = re.compile(r"""\braise [\w.]+\(|\blogger\.\w|\bassert [^"']*["']|(?:^|\] )\s*[rbf]{0,2}["']""")

# A line of the engine's access log that `observe` causes.
_OWN_LOOK = re.compile(r'"GET \S*/metrics\S* HTTP/[\d.]+"')


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """How an engine ended that was not stopped by us.

    `exit_code` is negative for a signal, as `Popen` gives it, or 128 and the signal's number, as a container
    gives it. `oom_killed` is the kernel's or Docker's word that memory ran out. `serving`: it had been ready.
    """

    log: str
    exit_code: int | None
    oom_killed: bool = False
    runtime: str = ""
    serving: bool = False

    @property
    def signal(self) -> int | None:
        """The signal that ended it, if one did."""
        code = self.exit_code or 0
        if code < 0:
            return -code
        return code - 128 if 128 < code <= 128 + 64 else None

    @property
    def when(self) -> str:
        """Where in its life it ended, as the end of a sentence."""
        return "while serving" if self.serving else "while starting"


def places(log: str, text: str, begin: int = 0) -> Iterator[tuple[int, str]]:
    """Yield where `text` stands in a log from `begin` on, with the line, one for each line."""
    at = log.find(text, begin)
    while at >= 0:
        start = log.rfind("\n", 0, at) + 1
        end = log.find("\n", at)
        end = len(log) if end < 0 else end
        yield at, log[start:end]
        at = log.find(text, end)


def is_message(line: str, text: str) -> bool:
    """Whether a line says `text` as an error's message: not as chatter, not as a line of source code."""
    before = line[: line.find(text)]
    return not _CHATTER.search(before) and not _SOURCE.search(before)


def is_source(line: str, text: str) -> bool:
    """Whether a line is source code that holds `text`."""
    return _SOURCE.search(line[: line.find(text)]) is not None


def quote(log: str, at: int) -> str:
    """Return the line of a log around a place in it, as evidence: with its number, cut to what matters."""
    begin = max(log.rfind("\n", 0, at), log.rfind("\r", 0, at)) + 1
    ends = [end for end in (log.find("\n", at), log.find("\r", at)) if end >= 0]
    line = log[begin : min(ends, default=len(log))]
    if at - begin > QUOTED_CHARACTERS * 2 // 3:
        line = f"…{line[at - begin - QUOTED_CHARACTERS // 3 :]}"
    return f"engine.log:{log.count(chr(10), 0, at) + 1}: {line.strip()[:QUOTED_CHARACTERS]}"


def last_line(log: str) -> str:
    """Return the last line of a log that says anything, with its number.

    What the engine logs of our own looks at its metrics says nothing of it.
    """
    said = log.rstrip()
    while _OWN_LOOK.search(said, said.rfind("\n") + 1):
        said = said[: said.rfind("\n") + 1].rstrip()
    return quote(log, len(said) - 1) if said else "engine.log is empty"

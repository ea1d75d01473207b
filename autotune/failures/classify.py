"""From the evidence of an engine's end to a kind of failure, its cause in a sentence and the line that shows it.

The whole log is searched, not its tail: `Engine core initialization failed` always comes last and never says
why. What is not in the table is told by its exception or its signal: nothing is made up.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby

from autotune.errors import TrialError
from autotune.failures.evidence import SIGKILL, Evidence, is_message, is_source, last_line, places, quote
from autotune.failures.signatures import Signature, Tier
from autotune.failures.signatures_breakdown import BREAKDOWN
from autotune.failures.signatures_memory import MEMORY
from autotune.failures.signatures_setup import SETUP

SIGNATURES: tuple[Signature, ...] = tuple(sorted((*SETUP, *MEMORY, *BREAKDOWN), key=lambda each: each.tier))

TOLD_TO_STOP = (1, 2, 15)  # SIGHUP, SIGINT, SIGTERM
READ_LOG = "read engine.log of the trial"
# An exception as Python prints it, after a logger's prefix or none.
_EXCEPTION = re.compile(r"(?:^|\] |: )((?:\w+\.)*\w*(?:Error|Exception))(?:: |$)")
_WRAPPERS = ("EngineDeadError", "initialization failed", "please check the stack trace above")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Found:
    signature: Signature
    at: int
    groups: tuple[str, ...]


def classify(evidence: Evidence) -> TrialError:
    """Return why an engine ended by itself, with the line of its log that shows it.

    Only for an engine that was not stopped: one that is told to stop may log an engine error (vLLM logs
    `EngineDeadError`) or end by a signal, and nothing failed. `Server.death` knows, and asks only then.
    """
    found = _cause(evidence)
    if evidence.oom_killed and (found is None or found.signature.tier > Tier.KILLED_FOR_MEMORY):
        return TrialError(
            "host_oom",
            f"the host's memory ran out {evidence.when}, and the kernel killed a process of the engine",
            evidence=quote(evidence.log, found.at) if found else last_line(evidence.log),
            advice="give the host or the container more memory, or load less at once",
        )
    if found is None or found.signature.tier is Tier.DEATH:
        return _unknown_cause(evidence, found)
    return _told(evidence, found)


def _cause(evidence: Evidence) -> _Found | None:
    """The first line of the lowest tier that has one."""
    for _, signatures in groupby(SIGNATURES, key=lambda each: each.tier):
        lines = [found for signature in signatures for found in _first(evidence, signature)]
        if lines:
            return min(lines, key=lambda found: found.at)
    return None


def _first(evidence: Evidence, signature: Signature) -> Iterator[_Found]:
    """For each text of a signature the first line that says it."""
    if signature.runtimes and evidence.runtime and evidence.runtime not in signature.runtimes:
        return
    for text in signature.texts:
        for at, line in places(evidence.log, text):
            if is_source(line, text) or not (signature.chatter or is_message(line, text)):
                continue
            match = re.search(signature.pattern, line)
            if match:
                yield _Found(
                    signature=signature, at=at, groups=tuple(group or "" for group in match.groups())
                )
                break


def _told(evidence: Evidence, found: _Found) -> TrialError:
    signature = found.signature
    return TrialError(
        signature.kind,
        signature.cause.format(*found.groups, when=evidence.when),
        evidence=quote(evidence.log, found.at),
        advice=signature.advice,
    )


def _unknown_cause(evidence: Evidence, found: _Found | None) -> TrialError:
    """No text of the table says why: an exception or a signal does, or the last line is all there is.

    The signal comes second: SGLang's own handler kills the whole engine when one of its processes broke.
    """
    raised = _exception(evidence.log, found.at if found else None)
    if found is not None and raised is None:
        return _told(evidence, found)
    if evidence.signal in TOLD_TO_STOP and found is None:
        return TrialError(
            "infrastructure",
            f"someone else ended the engine with signal {evidence.signal} {evidence.when}",
            evidence=last_line(evidence.log),
            advice="find out who ends processes there: a batch system, a container's limit, a person",
        )
    if evidence.signal is not None and found is None:
        how, at, advice = f"was killed by signal {evidence.signal}", None, _after(evidence.signal)
    elif raised is not None:
        how, at, advice = f"broke off with {raised[1]}", raised[0], READ_LOG
    elif evidence.exit_code is None:
        how, at, advice = "ended without an exit status", None, READ_LOG
    else:
        how, at, advice = f"ended by itself with exit status {evidence.exit_code}", None, READ_LOG
    return TrialError(
        "engine_died",
        f"the engine {how} {evidence.when}",
        evidence=last_line(evidence.log) if at is None else quote(evidence.log, at),
        advice=advice,
    )


def _exception(log: str, broke_at: int | None) -> tuple[int, str] | None:
    """Where an exception stands and its name: the first after the part that broke, else the log's last."""
    ends = [found for text in ("Error", "Exception") for found in _raised(log, text, broke_at)]
    return min(ends) if broke_at is not None and ends else max(ends, default=None)


def _raised(log: str, text: str, broke_at: int | None) -> Iterator[tuple[int, str]]:
    for at, line in places(log, text, broke_at or 0):
        match = _EXCEPTION.search(line)
        if match and is_message(line, match[1]) and not any(wrapper in line for wrapper in _WRAPPERS):
            yield at, match[1].rpartition(".")[2]
            if broke_at is not None:
                return


def _after(signal: int) -> str:
    if signal == SIGKILL:
        return "look into the kernel's log (dmesg) for what killed it: memory that ran out, or a person"
    if signal == 7:
        return "look whether /dev/shm is full: a container has 64 MiB of it if nothing else is said"
    return READ_LOG

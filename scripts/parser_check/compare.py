"""Plans against the engines: what is valid is taken, what is refused is refused there too."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from hydra._internal.hydra import Hydra

from scripts.parser_check.engines import VERSIONS, Answer, ask, command_of, declared
from scripts.parser_check.refusals import REFUSALS, Rule, Shown
from scripts.parser_check.spaces import Planned, Planner, points, quant_points

MAIN_GPUS = "h100_8x"
OTHER_GPUS = ("a100_8x", "b200_8x")
"""Asked about number formats only: nothing else depends on the kind of GPU."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What an engine rightly sets otherwise than it was asked to: `holds` of the candidate, asked and got."""

    why: str
    holds: Callable[[Planned, str, str], bool]


def _shared(planned: Planned, asked: str, got: str) -> bool:
    ranks = int(planned.parallel["attn_dp"])
    return ranks > 1 and int(got) == int(asked) // ranks


def _less_cautious(planned: Planned, asked: str, got: str) -> bool:
    return int(planned.parallel["attn_dp"]) > 1 and math.isclose(float(got), 0.3 * float(asked))


CHANGES: Mapping[str, Mapping[str, Change]] = {
    "vllm": {},
    "sglang": {
        "chunked_prefill_size": Change(why="shared between the attention ranks", holds=_shared),
        "schedule_conservativeness": Change(why="× 0.3 with attention ranks", holds=_less_cautious),
    },
}

Command = tuple[str, ...]


@dataclass(slots=True)
class Examined:
    """What came out for one engine on one kind of GPU; `problems` are the disagreements."""

    engine: str
    gpus: str
    candidates: int = 0
    valid: int = 0
    asked: int = 0
    unknown: int = 0
    sizes: int = 0
    also_refused: int = 0
    changes: Counter[str] = field(default_factory=Counter)
    shown: list[tuple[Rule, str]] = field(default_factory=list)
    problems: dict[str, list[str]] = field(default_factory=dict)

    def disagree(self, kind: str, example: str) -> None:
        """Keep a disagreement with the others of its kind."""
        self.problems.setdefault(kind, []).append(example)


def examine(app: Hydra, engine: str, gpus: str, models: Path) -> Examined:
    """Return how the plans of every preset and corner, and every rule, compare with the engine."""
    planner = Planner(app, engine, VERSIONS[engine], gpus)
    found = Examined(engine=engine, gpus=gpus)
    wanted = points(app, engine) if gpus == MAIN_GPUS else quant_points(app)
    commands = _commands(found, planner.planned(wanted), models)
    shown = [(rule, show) for rule in REFUSALS[engine] for show in rule.shown if show.gpus == gpus]
    proofs = list(planner.planned(tuple(show.words.split()) for _, show in shown))
    asked = [
        *commands,
        *(
            (*command_of(planned, models), *show.add.split())
            for (_, show), planned in zip(shown, proofs, strict=True)
        ),
    ]
    answers = list(ask(engine, declared(planner.inventory), asked))
    found.asked = len(asked)
    for (command, planned), answer in zip(commands.items(), answers, strict=False):
        judge(found, command, planned, answer)
    for (rule, show), planned, answer in zip(shown, proofs, answers[len(commands) :], strict=True):
        _judge_rule(found, rule, show, planned, answer)
    return found


def _commands(found: Examined, candidates: Iterable[Planned], models: Path) -> dict[Command, Planned]:
    """What is asked: each command once, of the valid candidates, and of those that it should refuse."""
    rules = REFUSALS[found.engine]
    asked: dict[Command, Planned] = {}
    strangers: Counter[str] = Counter()
    for planned in candidates:
        found.candidates += 1
        reasons = planned.plan.reasons
        found.valid += not reasons
        matching = [_rule_of(reason, rules) for reason in reasons]
        strangers.update(reason for reason, rule in zip(reasons, matching, strict=True) if rule is None)
        if all(rule is not None and _in_command(rule) for rule in matching):
            command = command_of(planned, models)
            if not reasons or command not in asked:
                asked[command] = planned
    for reason, times in strangers.items():
        found.disagree("no rule in refusals.py is for a reason", f"{reason} ({times} times)")
    return asked


def _rule_of(reason: str, rules: Sequence[Rule]) -> Rule | None:
    return next((rule for rule in rules if re.fullmatch(rule.reason, reason, re.DOTALL)), None)


def _in_command(rule: Rule) -> bool:
    """Whether what the rule rejects stands in the command, so that the engine must refuse it."""
    return not (rule.later or rule.unsaid or rule.partly) and not any(show.add for show in rule.shown)


def judge(found: Examined, command: Command, planned: Planned, answer: Answer) -> None:
    """Count an answer, and keep it where the engine disagrees with the plan."""
    engine, plan = found.engine, planned.plan
    said = f"{' '.join(planned.words)}\n    {' '.join(command)}\n    {answer.error or plan.reasons}"
    if plan.reasons:
        found.also_refused += not answer.accepted
        if answer.accepted:
            found.disagree(f"{engine} takes what plan refuses", said)
        return
    if not answer.accepted:
        found.disagree(f"{engine} refuses what plan calls valid", said)
        return
    found.unknown += answer.stage == "unknown"
    if answer.world_size is not None:
        found.sizes += 1
        if (plan.world_size, plan.gpus) != (answer.world_size, answer.world_size_across_dp):
            sizes = f"{plan.world_size}, {plan.gpus}: {answer.world_size}, {answer.world_size_across_dp}"
            found.disagree(f"{engine} counts other ranks and GPUs", f"{sizes}: {said}")
    for name, (asked, got) in answer.changed.items():
        found.changes[name] += 1
        known = CHANGES[engine].get(name)
        if known is None or not known.holds(planned, asked, got):
            found.disagree(f"{engine} makes {name}={got} of {asked}", said)


def _judge_rule(found: Examined, rule: Rule, show: Shown, planned: Planned, answer: Answer) -> None:
    reasons, said = planned.plan.reasons, f"{show.words} {show.add}".strip()
    others = [reason for reason in reasons if not re.fullmatch(rule.reason, reason, re.DOTALL)]
    if not reasons or others:
        found.disagree(f"plan does not refuse by this rule alone: {rule.reason}", f"{said}: {reasons}")
    if rule.later and not answer.accepted:
        found.disagree(f"{found.engine} refuses it now, not later", f"{said}: {answer.error}")
    if not rule.later and answer.accepted:
        found.disagree(f"{found.engine} takes what shows a rule", f"{said}: {reasons}")
    found.shown.append((rule, answer.error))


def report(found: Examined) -> Iterator[str]:
    """Yield what was compared, in a few lines, and every rule with the engine's own words."""
    version = VERSIONS[found.engine]
    yield (
        f"{found.engine} {version} on {found.gpus}: {found.candidates:,} candidates, {found.valid:,} valid; "
        f"{found.asked:,} different commands asked; ranks and GPUs compared {found.sizes:,} times; "
        f"{found.also_refused:,} commands refused by both"
    )
    if found.unknown:
        yield f"  {found.unknown:,} taken by the parser alone: the rest needs a GPU"
    for name, times in found.changes.items():
        change = CHANGES[found.engine].get(name)
        yield f"  it sets {name} otherwise {times:,} times: {change.why if change else 'not known'}"
    for rule, error in found.shown:
        said = f"only later: {rule.later}" if rule.later else f"refused: {error[:110]}"
        yield f"  rule {rule.reason}\n    {said}"
    for rule in REFUSALS[found.engine] if found.gpus == MAIN_GPUS else ():
        if rule.unsaid:
            yield f"  rule {rule.reason}\n    not asked: {rule.unsaid}"

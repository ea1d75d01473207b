"""How load clients differ on one engine: a table, and a sentence for each difference."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from autotune.doctor.alternation import Turn
from autotune.records import Load
from autotune.report.client_reasons import Account, account_of, reasons
from autotune.report.interference import COARSE_PERCENT, SMALL_PERCENT
from autotune.score.statistics import Difference, paired_difference

COMPARED: Mapping[str, str] = {
    "output_tokens_per_s": "output tok/s",
    "ttft_ms_mean": "TTFT ms",
    "ttft_ms_p99": "TTFT p99",
    "tpot_ms_mean": "TPOT ms",
    "itl_ms_mean": "ITL ms",
    "e2e_ms_mean": "e2e ms",
}
"""What is compared, with its head in the table."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientDifference:
    """One metric of a client against native's, round by round, and why it differs."""

    client: str
    metric: str
    difference: Difference
    why: tuple[str, ...]

    @property
    def is_clear(self) -> bool:
        """Whether there is a difference that matters."""
        return self.difference.is_seen and abs(self.difference.percent) >= SMALL_PERCENT

    @property
    def bound(self) -> float:
        """The farthest that the two may be apart, in percent."""
        return max(abs(self.difference.low), abs(self.difference.high))


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """All that was measured: turns of `clients` at `load`, on so many `cores`, against the first of them."""

    label: str
    load: Load
    clients: tuple[str, ...]
    turns: tuple[Turn, ...]
    rounds: int
    simulated: bool
    cores: int
    file: Path

    def accounts(self) -> dict[str, Account]:
        """Return what each client's turns come to."""
        return {client: account_of(client, self.turns) for client in self.clients}

    def differences(self) -> list[ClientDifference]:
        """Return what can be compared: metrics that both have in at least two rounds."""
        accounts = self.accounts()
        native, *others = accounts.values()
        return [
            ClientDifference(
                client=account.client,
                metric=metric,
                difference=difference,
                why=tuple(
                    reasons(
                        metric, account, native, load=self.load, percent=difference.percent, cores=self.cores
                    )
                ),
            )
            for account in others
            for metric in COMPARED
            if (difference := self._difference(account.client, metric)) is not None
        ]

    def _difference(self, client: str, metric: str) -> Difference | None:
        own, against = self._by_round(client, metric), self._by_round(self.clients[0], metric)
        return paired_difference([(against[number], own[number]) for number in against if number in own])

    def _by_round(self, client: str, metric: str) -> dict[int, float]:
        measured = {turn.round: turn.measurement for turn in self.turns if turn.client == client}
        return {n: m.metrics[metric] for n, m in measured.items() if m is not None and metric in m.metrics}


def render_comparison(out: Console, comparison: Comparison, missing: Sequence[str]) -> None:
    """Print the table, where the clients differ and why, why others are `missing`, and the file."""
    mark = "  SIMULATED: no claim about hardware" if comparison.simulated else ""
    title = f"{comparison.label} at {comparison.load}, {comparison.rounds} rounds{mark}"
    out.print(escape(title), soft_wrap=True)
    accounts = comparison.accounts()
    out.print(_table(comparison, accounts))
    for line in _lines(comparison, accounts):
        out.print(escape(line), soft_wrap=True)
    for number, text in enumerate(missing):
        out.print(f"{'left out ' if number == 0 else '         '}{escape(text)}", soft_wrap=True)
    out.print(f"files    {comparison.file}", soft_wrap=True)


def _table(comparison: Comparison, accounts: Mapping[str, Account]) -> Table:
    table = Table()
    table.add_column("client")
    for head in (*COMPARED.values(), "in flight", "CPU s", "around s", "failed"):
        table.add_column(head, justify="right")
    for name, account in accounts.items():
        values = [account.metrics.get(metric, math.nan) for metric in COMPARED]
        failed = comparison.rounds - account.rounds
        lost = [f"{failed} of {comparison.rounds} rounds"] if failed else []
        lost += [f"{account.requests_failed} requests"] if account.requests_failed else []
        count = ", ".join(lost) or "0"
        extra = [_shown(account.in_flight), _shown(account.cpu_s, 2), _shown(account.around_s), count]
        table.add_row(name, *(_shown(value) for value in values), *extra)
    return table


def _lines(comparison: Comparison, accounts: Mapping[str, Account]) -> list[str]:
    """What there is to say of each client, native's own limits included."""
    found = comparison.differences()
    lines = []
    for name, account in accounts.items():
        own = [each for each in found if each.client == name]
        lines += [f"{name}: failed: {text}" for text in account.failures]
        for each in (each for each in own if each.is_clear):
            lines.append(f"{name}: {COMPARED[each.metric]} {_percent(each.difference)}: {_why(each)}")
        lines += _alike(name, [each for each in own if not each.is_clear])
        if account.bound:
            often = f"{len(account.bound)} of {comparison.rounds} rounds"
            lines.append(f"{name}: limited what it measured in {often}: {account.bound[0]}")
        lines += [f"{name}: {text}" for text in account.notes]
    return [*lines, *_by_their_definition(accounts)]


def _why(each: ClientDifference) -> str:
    return "; ".join(each.why) or "no reason is known here: measure more rounds (--rounds) or longer"


def _alike(name: str, rest: Sequence[ClientDifference]) -> list[str]:
    """Metrics in which no difference was seen, and those in which none could have been."""
    near = [each for each in rest if each.bound <= COARSE_PERCENT]
    far = [each for each in rest if each.bound > COARSE_PERCENT]
    lines = []
    if near:
        heads = ", ".join(COMPARED[each.metric] for each in near)
        lines.append(f"{name}: as native within {max(each.bound for each in near):.1f} %: {heads}")
    if far:
        heads = ", ".join(f"{COMPARED[each.metric]} {_percent(each.difference)}" for each in far)
        lines.append(f"{name}: too noisy to tell: {heads}: measure more rounds (--rounds) or longer")
    return lines


def _by_their_definition(accounts: Mapping[str, Account]) -> list[str]:
    """How much of a difference in throughput is definition alone."""
    native, *others = accounts.values()
    if native.drained is None or not any(account.rounds for account in others):
        return []
    return [
        f"{native.client}: counted as others do, without the requests around the measured ones, it has "
        f"{native.whole_run_tokens_per_s:.1f} output tok/s ({100 * native.drained:+.1f} %): so much is "
        "filling and draining, and not the engine"
    ]


def _percent(difference: Difference) -> str:
    return f"{difference.percent:+.1f} % ({difference.low:+.1f} to {difference.high:+.1f})"


def _shown(value: float | None, digits: int = 1) -> str:
    return "-" if value is None or math.isnan(value) else f"{value:.{digits}f}"

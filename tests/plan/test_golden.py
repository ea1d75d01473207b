"""Every preset's command on every engine is as it was read and approved."""

from __future__ import annotations

import difflib

import pytest

from tests.plan.golden_plans import ENGINES, FOLDER, GROUPS, golden_plans


@pytest.mark.parametrize(("engine", "version"), ENGINES, ids=["-".join(pair) for pair in ENGINES])
def test_golden_plans(engine: str, version: str) -> None:
    """A missing golden file is a failure; `python -m tests.plan.golden_plans` writes them for reading."""
    for group, text in golden_plans(engine, version).items():
        golden = (FOLDER / f"{engine}-{version}" / f"{group}.txt").read_text()
        assert "\n".join(difflib.unified_diff(golden.splitlines(), text.splitlines(), lineterm="", n=1)) == ""


def test_no_golden_file_is_left_over() -> None:
    """Each belongs to a version that is there."""
    wanted = {f"{engine}-{version}/{group}.txt" for engine, version in ENGINES for group in GROUPS}
    assert {str(path.relative_to(FOLDER)) for path in FOLDER.rglob("*.txt")} == wanted

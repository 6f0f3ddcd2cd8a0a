"""Drawing mutants, forks to judge them in, and comparing two judgements."""

import os
import signal

import pytest

from tests.mutants.__main__ import compare, draw
from tests.mutants.forks import run_forked
from tests.mutants.service import find_modules


def test_sample_follows_from_seed():
    modules = {name: find_modules(name) for name in ("config/", "records/")}
    drawn = draw(modules, 50, seed=3)
    assert drawn == draw(modules, 50, seed=3)
    assert {key.partition("/")[0] for key in drawn} == {"config", "records"}
    assert len(drawn) == 50
    assert len(set(drawn) & set(draw(modules, 50, seed=4))) < 25


def test_more_than_one_percent_lost_is_too_much(capsys):
    before = {f"mutant {number}": number < 200 for number in range(203)}
    after = {**before, "mutant 1": False, "mutant 2": False, "mutant 202": True}
    del after["mutant 0"]
    assert compare(before, after)
    assert not compare(before, {**after, "mutant 3": False})
    shown = capsys.readouterr().out.splitlines()
    assert shown[:4] == ["gone: mutant 0", "gained: mutant 202", "lost: mutant 1", "lost: mutant 2"]


def test_fork_that_dies_has_no_result_and_a_fault_ends_the_run():
    tasks = {"three": lambda: 3, "killed": lambda: os.kill(os.getpid(), signal.SIGKILL)}
    assert dict(run_forked(tasks, jobs=2)) == {"three": 3, "killed": None}
    with pytest.raises(RuntimeError, match="fault"):
        list(run_forked({"fault": lambda: 1 / 0}, jobs=1))

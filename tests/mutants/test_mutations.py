"""The mutations of a sample of code: their ids, what they change, and what is left alone."""

import ast

import pytest

from tests.mutants.mutations import find_mutations
from tests.mutants.service import Switch, add_switches

FUNCTION = """
def sample(values, limit=3):
    total = 0
    for value in values:
        if value is None:
            continue
        if value > limit and value != 7:
            total += value * 2
    return {"total": total}
"""
VALUES = (None, 2, 3, 4, None, 7, 9)


def find(code):
    return [mutation.id for mutation in find_mutations(ast.parse(code), "sample.py")]


def test_ids_name_no_lines():
    moved = f'"""Words."""\n\nOTHER = "text"\n\n\ndef other():\n    pass\n{FUNCTION}'
    assert find(moved) == find(FUNCTION)
    assert len(set(find(FUNCTION))) == len(find(FUNCTION))


def test_same_change_twice_is_numbered():
    first, second = find("class A:\n    def go(self):\n        self.stop()\n        self.stop()\n")
    assert (first, second) == (
        "sample.py A.go | self.stop() -> pass",
        "sample.py A.go | self.stop() -> pass #2",
    )


@pytest.mark.parametrize("mutation", find(FUNCTION))
def test_each_mutation_changes_behaviour_behind_its_switch(mutation):
    tree = ast.parse(FUNCTION)
    code = compile(add_switches(tree, "sample.py", find_mutations(tree, "sample.py")), "sample.py", "exec")
    switch = Switch()

    def result():
        names = {}
        exec(code, names)  # noqa: S102
        try:
            return names["sample"](VALUES)
        except TypeError as error:
            return str(error)

    assert result() == {"total": 26}
    assert mutation in switch.reached
    switch.active = mutation
    assert result() != {"total": 26}


def test_statements_change_by_kind():
    changes = {
        "raise ValueError('no')": {"pass"},
        "a.b = c": {"pass"},
        "a[k] = c": {"pass"},
        "call(1.5)": {"pass", "3.0"},
        "a -= -1": {"pass", "a += -1", "1", "2"},
        "x = 0 if a < 1 else {'k': b}": {"1", "0 if not a < 1 else {'k': b}", "a <= 1", "2", "'k_'"},
        "return not a or b": {"return None", "not a and b", "a"},
        "x = True": {"False"},
    }  # fmt: skip
    found = {code: {each.rpartition(" -> ")[2] for each in find(code)} for code in changes}
    assert found == changes


def test_wording_types_and_logging_are_left_alone():
    untouched = '''
"""Words."""
__all__ = ["one"]
if TYPE_CHECKING:
    import two
@dataclass(frozen=True)
class Three:
    """Words."""
    four: Annotated[int, Field(ge=0)]
    def five(self, six: Literal[6]) -> Literal[7]:
        _log.info("eight", extra={"nine": 9})
        assert six == 6
        return f"{six + 1:.2f}"
'''
    assert [each.rpartition(" | ")[2] for each in find(untouched)] == [
        "return f'{six + 1:.2f}' -> return None"
    ]

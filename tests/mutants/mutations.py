"""The mutations of a module: small changes of its code, each with an id that names no line number."""

import ast
import copy
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

_SWAPPED: Final = (
    (ast.Lt, ast.LtE),
    (ast.Gt, ast.GtE),
    (ast.Eq, ast.NotEq),
    (ast.Is, ast.IsNot),
    (ast.In, ast.NotIn),
    (ast.And, ast.Or),
    (ast.Add, ast.Sub),
    (ast.Mult, ast.Div),
    (ast.LShift, ast.RShift),
    (ast.BitAnd, ast.BitOr),
)
_OPERATORS: Final[dict[type[ast.AST], type[ast.AST]]] = {
    **dict(_SWAPPED),
    **{second: first for first, second in _SWAPPED},
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.FloorDiv,
    ast.Pow: ast.Mult,
}
_UNTOUCHED: Final = (ast.JoinedStr, ast.Assert, ast.Import, ast.ImportFrom, ast.Global, ast.Nonlocal)
_FUNCTIONS: Final = (ast.FunctionDef, ast.AsyncFunctionDef)


@dataclass(frozen=True)
class Mutation:
    """One change of a module's code.

    Attributes:
        id: Module, qualified name, statement, change; with a number where the same change occurs again.
        statement: The statement that holds the changed code.
        in_function: Whether that statement runs in calls, and not at import.
        change: Return a copy of the statement with the change.
    """

    id: str
    statement: ast.stmt
    in_function: bool
    change: Callable[[], ast.stmt]


def find_mutations(tree: ast.Module, module: str) -> list[Mutation]:
    """Return the mutations of a module, in the order of its code."""
    seen: Counter[str] = Counter()
    found = []
    for name, statement, old, new, in_function, change in _walk(tree, "", None, in_function=False):
        text = f"{_describe(old)} -> {_describe(new)}"
        where = "" if old is statement else f"{_describe(statement)} | "
        key = f"{module} {name or '<module>'} | {where}{text}"
        seen[key] += 1
        number = f" #{seen[key]}" if seen[key] > 1 else ""
        found.append(Mutation(key + number, statement, in_function, change))
    return found


def _walk(
    node: ast.AST, name: str, statement: ast.stmt | None, *, in_function: bool
) -> Iterator[tuple[str, ast.stmt, ast.AST, ast.AST, bool, Callable[[], ast.stmt]]]:
    """Yield each change below a node: where it is, the old code, the new code, and what changes a copy."""
    for field, child in _children(node):
        inside = child if isinstance(child, ast.stmt) else statement
        within = in_function or (isinstance(node, _FUNCTIONS) and field == "body")
        if inside is not None:
            for new in _changes(child, node):
                ast.fix_missing_locations(ast.copy_location(new, child))
                yield name, inside, child, new, within, _changer(inside, child, new)
        own = child.name if isinstance(child, (*_FUNCTIONS, ast.ClassDef)) else ""
        yield from _walk(child, f"{name}.{own}".strip(".") if own else name, inside, in_function=within)


def _changer(statement: ast.stmt, old: ast.AST, new: ast.AST) -> Callable[[], ast.stmt]:
    # A copy takes what its memo holds in place of the old code.
    return lambda: copy.deepcopy(statement, {id(old): copy.deepcopy(new)})


def _children(node: ast.AST) -> Iterator[tuple[str, ast.AST]]:
    """Yield a node's children that may be changed."""
    for field, value in ast.iter_fields(node):
        if field not in {"annotation", "returns", "exc", "cause"}:
            for child in value if isinstance(value, list) else [value]:
                if isinstance(child, ast.AST) and not _is_untouched(child):
                    yield field, child


def _is_untouched(node: ast.AST) -> bool:
    """Whether a node is wording, a type, an import, logging, or options of a dataclass."""
    match node:
        case ast.Expr(value=ast.Constant()) | ast.Assign(targets=[ast.Name(id="__all__")]):
            return True
        case ast.If(test=ast.Name(id="TYPE_CHECKING")) | ast.Subscript(value=ast.Name(id="Literal")):
            return True
        case ast.Expr(
            value=ast.Call(func=ast.Attribute(value=ast.Name(id="_log")) | ast.Attribute(attr="_log_event"))
        ):
            return True
        case ast.Call(func=ast.Name(id="dataclass")):
            return True
    return isinstance(node, _UNTOUCHED)


def _describe(node: ast.AST) -> str:
    """Return a node's code in one line, a compound statement without its blocks."""
    shown = copy.copy(node)
    for block in ("body", "orelse", "finalbody", "handlers", "cases"):
        if isinstance(getattr(node, block, None), list):
            setattr(shown, block, [])
    return " ".join(ast.unparse(shown).split())


def _changes(node: ast.AST, parent: ast.AST) -> Iterator[ast.AST]:
    """Yield what may stand in a node's place."""
    match node:
        case ast.Return(value=ast.expr() as value) if not isinstance(value, ast.Constant):
            yield ast.Return(ast.Constant(None))
        case ast.Break():
            yield ast.Continue()
        case ast.Continue():
            yield ast.Break()
        case (
            ast.Raise() | ast.Expr(value=ast.Call()) | ast.Assign(targets=[ast.Attribute() | ast.Subscript()])
        ):
            yield ast.Pass()
        case ast.Constant():
            yield from _constants(node, parent)
        case ast.UnaryOp(op=ast.Not() | ast.USub()):
            yield node.operand
        case ast.If() | ast.While() | ast.IfExp() if not _is_inverted_elsewhere(node.test):
            yield _with(node, test=ast.UnaryOp(ast.Not(), node.test))
        case ast.comprehension():
            for index, test in enumerate(node.ifs):
                if not _is_inverted_elsewhere(test):
                    negated = ast.UnaryOp(ast.Not(), test)
                    yield _with(node, ifs=[*node.ifs[:index], negated, *node.ifs[index + 1 :]])
        case _:
            yield from _operators(node)


def _operators(node: ast.AST) -> Iterator[ast.AST]:
    """Yield a node with another operator; an augmented assignment may also be left out."""
    match node:
        case ast.Compare():
            for index, operator in enumerate(node.ops):
                other = _OPERATORS[type(operator)]()
                yield _with(node, ops=[*node.ops[:index], other, *node.ops[index + 1 :]])
        case ast.BinOp() | ast.BoolOp() if type(node.op) in _OPERATORS:
            yield _with(node, op=_OPERATORS[type(node.op)]())
        case ast.AugAssign():
            yield ast.Pass()
            if type(node.op) in _OPERATORS:
                yield _with(node, op=_OPERATORS[type(node.op)]())


def _constants(node: ast.Constant, parent: ast.AST) -> Iterator[ast.AST]:
    """Yield another number, the other truth value, or another key."""
    match node.value:
        case bool():
            yield ast.Constant(not node.value)
        case int():
            # Larger numbers are doubled: one more is rarely a difference that somebody needs.
            yield ast.Constant(node.value + 1 if node.value < 10 else node.value * 2)
        case float():
            yield ast.Constant(node.value * 2 or 1.0)
        case str() if isinstance(parent, ast.Dict | ast.Subscript) and node not in getattr(
            parent, "values", ()
        ):
            yield ast.Constant(node.value + "_")


def _is_inverted_elsewhere(test: ast.expr) -> bool:
    """Whether changing the test's own operator already inverts it."""
    match test:
        case ast.UnaryOp(op=ast.Not()):
            return True
        case ast.Compare(ops=[ast.Eq() | ast.NotEq() | ast.Is() | ast.IsNot() | ast.In() | ast.NotIn()]):
            return True
    return False


def _with(node: ast.AST, **fields: object) -> ast.AST:
    changed = copy.copy(node)
    for field, value in fields.items():
        setattr(changed, field, value)
    return changed

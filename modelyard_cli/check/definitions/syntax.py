"""Python's syntax trees: what a scope binds, calls, changes and writes."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from functools import lru_cache

# Methods of a dictionary that leave it as it is.
READING = {"copy", "get", "items", "keys", "values"}
# What they are given is shown, not written.
_SHOWING = {"print", "debug", "info", "warning", "error", "say"}
# Functions that leave what they are given as it is.
LEAVING = _SHOWING | {"dump", "dumps", "write", "write_text", "write_bytes"}
Function = ast.FunctionDef | ast.AsyncFunctionDef
Scope = ast.Module | Function


@lru_cache(maxsize=1024)
def imports(tree: ast.Module, module: str) -> dict[str, tuple[str, str]]:
    found: dict[str, tuple[str, str]] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            package = module.split(".")[: -node.level] if node.level else []
            source = ".".join([*package, *([node.module] if node.module else [])])
            found.update({alias.asname or alias.name: (source, alias.name) for alias in node.names})
        elif isinstance(node, ast.Import):
            found.update({alias.asname or alias.name: (alias.name, "") for alias in node.names})
    return found


@lru_cache(maxsize=1024)
def own(scope: ast.AST) -> tuple[ast.AST, ...]:
    """Every node of a scope, functions and classes inside it not entered."""
    found = list(ast.iter_child_nodes(scope))
    for node in found:
        if not isinstance(node, Function | ast.ClassDef | ast.Lambda):
            found += ast.iter_child_nodes(node)
    return tuple(found)


def texts(nodes: Iterable[ast.AST]) -> Iterator[str]:
    """The texts among these nodes; a text that stands alone, as a docstring does, is none."""
    alone: set[int] = set()
    for node in nodes:
        if isinstance(node, ast.Expr):
            alone.add(id(node.value))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in alone:
            yield node.value


def dumped(scope: Scope) -> Iterator[ast.expr]:
    shown: set[int] = set()
    for node in own(scope):
        if isinstance(node, ast.Call) and node.args:
            name = called_name(node)
            if name in _SHOWING:
                shown.update(id(inner) for inner in ast.walk(node))
            elif name in ("dump", "dumps") and id(node) not in shown:
                yield node.args[0]


def called_name(node: ast.Call) -> str:
    return node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")


def bindings_of(scope: Scope, name: str) -> list[tuple[str, ast.expr, ast.expr]]:
    return _all_bindings(scope).get(name, [])


@lru_cache(maxsize=1024)
def _all_bindings(scope: Scope) -> dict[str, list[tuple[str, ast.expr, ast.expr]]]:
    """(kind, target, value) of everything that gives a name a value, by name."""
    found: dict[str, list[tuple[str, ast.expr, ast.expr]]] = {}
    for node in own(scope):
        pairs: list[tuple[str, ast.expr, ast.expr | None]] = []
        if isinstance(node, ast.Assign):
            pairs = [("value", target, node.value) for target in node.targets]
        elif isinstance(node, ast.AnnAssign | ast.NamedExpr):
            pairs = [("value", node.target, node.value)]
        elif isinstance(node, ast.For | ast.AsyncFor):
            pairs = [("loop", node.target, node.iter)]
        elif isinstance(node, ast.withitem) and node.optional_vars is not None:
            pairs = [("loop", node.optional_vars, ast.Name("", ast.Load()))]
        for kind, target, value in pairs:
            if value is not None:
                for name in names_in(target):
                    found.setdefault(name, []).append((kind, target, value))
    return found


def names_in(target: ast.expr) -> set[str]:
    if isinstance(target, ast.Name):
        return {target.id}
    if isinstance(target, ast.Tuple | ast.List):
        return set().union(*(names_in(item) for item in target.elts))
    return set()


def keys_of(target: ast.expr) -> tuple[list[ast.expr], str]:
    """The keys and the name of `name[a][b]`."""
    keys: list[ast.expr] = []
    while isinstance(target, ast.Subscript):
        keys.insert(0, target.slice)
        target = target.value
    return keys, target.id if isinstance(target, ast.Name) else ""


def base_of(target: ast.expr) -> ast.expr:
    """What the keys of a target belong to: `f(x)` of `f(x)["a"]`."""
    while isinstance(target, ast.Subscript):
        target = target.value
    return target


def binds(function: Function, name: str) -> bool:
    """Whether a function has this name for itself."""
    arguments = (*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs)
    return bool(bindings_of(function, name)) or any(a.arg == name for a in arguments)


@lru_cache(maxsize=1024)
def functions_in(scope: Scope) -> tuple[Function, ...]:
    return tuple(n for n in ast.walk(scope) if isinstance(n, Function) and n is not scope)


def part_of(value: ast.expr, name: str) -> bool:
    """Whether a value is a part of what has this name, so that a change of it changes the whole."""
    if isinstance(value, ast.Call) and isinstance(value.func, ast.Attribute):
        return value.func.attr in ("setdefault", "get") and keys_of(value.func.value)[1] == name
    return keys_of(value)[1] == name


def mutates(scope: Scope, name: str, *, passing: bool = True) -> bool:
    """Whether a scope changes what has this name; `passing`: or gives it to a function, which may."""
    for node in own(scope):
        if isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Store) and keys_of(node)[1] == name:
            return True
        if not isinstance(node, ast.Call):
            continue
        method = node.func if isinstance(node.func, ast.Attribute) else None
        if method is not None and keys_of(method.value)[1] == name and method.attr not in READING:
            return True
        given = node.args if passing and called_name(node) not in LEAVING else []
        if any(keys_of(argument)[1] == name for argument in given):
            return True
    return False

"""The JSON that a script writes, read from its text: displays, subscripts, calls of functions that are known.

What cannot be told is UNKNOWN, and never a fault.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from modelyard_cli.check.definitions.shapes import (
    UNKNOWN,
    Flag,
    Items,
    Number,
    Object,
    Shape,
    Text,
    either,
    elements,
    item_at,
    listed,
    member,
    merged,
    options_of,
    put,
)
from modelyard_cli.check.definitions.syntax import (
    LEAVING,
    READING,
    Function,
    Scope,
    base_of,
    bindings_of,
    binds,
    called_name,
    dumped,
    functions_in,
    imports,
    keys_of,
    mutates,
    own,
    part_of,
    texts,
)

_MAX_DEPTH = 60
# Functions that call each other twice would take for ever; our longest report takes 500.
_MAX_NODES = 10_000
_MAX_TEXTS = 64
_NUMBERS = {"abs", "float", "int", "len", "round", "sum"}
_NUMERIC_MODULES = {"math", "statistics"}
# Of arrays they make numbers, unless an axis is named.
_REDUCTIONS = {"average", "mean", "median", "std", "var"}
_ENDINGS = ("_error", "_loss", "_score")


@dataclass(eq=False)
class Frame:
    """One call of a function, or a module's own statements."""

    module: str
    node: Scope
    given: dict[str, Shape] = field(default_factory=dict)
    outer: Frame | None = None
    known: dict[str, Shape] = field(default_factory=dict)
    open: set[str] = field(default_factory=set)


class Reader:
    """The modules of a step's code by name, for example {"training.tabular.evaluate": source}."""

    def __init__(self, modules: Mapping[str, ast.Module]) -> None:
        self._modules = modules
        self._frames = {name: Frame(name, tree) for name, tree in modules.items()}
        self._depth = 0
        self._left = _MAX_NODES
        self._running: list[Function] = []

    def written(self, stem: str) -> Shape | None:
        """The shape of the JSON file of this name, None where no place is seen that writes it."""
        for named in (f"{stem}.json", stem):
            found: list[Shape] = []
            for name, tree in self._modules.items():
                scopes = [tree, *(n for n in ast.walk(tree) if isinstance(n, Function))]
                naming = [s for s in scopes if any(named in text for text in texts(own(s)))]
                here = [shape for scope in naming for shape in self._dumps(name, scope)]
                if naming and not here:  # the file's name is a constant, or is passed on
                    here = [shape for scope in scopes for shape in self._dumps(name, scope)]
                found += here
            if found:
                return either(found)
        return None

    def _dumps(self, module: str, scope: Scope) -> Iterator[Shape]:
        """Everything that a scope writes as JSON, by itself or through a function that it calls."""
        top = isinstance(scope, ast.Module)
        frame = self._frames[module] if top else self._frame_of(module, scope, {})
        for value in dumped(scope):
            yield self._shape(value, frame)
        for node in own(scope):
            defined = self._function(node, frame) if isinstance(node, ast.Call) else None
            if defined is not None and isinstance(node, ast.Call):
                inner = self._frame_of(*defined, self._given(defined[1], node, frame))
                for value in dumped(defined[1]):
                    yield self._shape(value, inner)

    def _frame_of(self, module: str, node: Scope, given: dict[str, Shape]) -> Frame:
        return Frame(module, node, given, outer=self._frames[module])

    def _shape(self, node: ast.expr | None, frame: Frame) -> Shape:
        if node is None or self._depth > _MAX_DEPTH or self._left <= 0:
            return UNKNOWN
        self._depth += 1
        self._left -= 1
        try:
            method = getattr(self, f"_of_{type(node).__name__.lower()}", None)
            found = method(node, frame) if method is not None else UNKNOWN
            assert isinstance(found, Shape)
            return found
        finally:
            self._depth -= 1

    def _of_constant(self, node: ast.Constant, _: Frame) -> Shape:
        if isinstance(node.value, str):
            return Text(frozenset({node.value}))
        if isinstance(node.value, bool) or node.value is None:
            return Flag()
        return Number() if isinstance(node.value, int | float) else UNKNOWN

    def _of_joinedstr(self, node: ast.JoinedStr, frame: Frame) -> Shape:
        found = {""}
        for value in node.values:
            shape = self._shape(value.value if isinstance(value, ast.FormattedValue) else value, frame)
            if not isinstance(shape, Text) or shape.values is None:
                return Text()
            if len(found) * len(shape.values) > _MAX_TEXTS:
                return Text()
            found = {start + end for start in found for end in shape.values}
        return Text(frozenset(found))

    def _of_dict(self, node: ast.Dict, frame: Frame) -> Shape:
        found: Shape = Object()
        for key, value in zip(node.keys, node.values, strict=True):
            shape = self._shape(value, frame)
            found = merged(found, shape) if key is None else put(found, [self._shape(key, frame)], shape)
        return found

    def _of_dictcomp(self, node: ast.DictComp, frame: Frame) -> Shape:
        inner = self._loops(node.generators, frame)
        return put(Object(), [self._shape(node.key, inner)], self._shape(node.value, inner))

    def _of_listcomp(self, node: ast.ListComp, frame: Frame) -> Shape:
        return Items(self._shape(node.elt, self._loops(node.generators, frame)))

    def _of_list(self, node: ast.List | ast.Tuple, frame: Frame) -> Shape:
        if any(isinstance(item, ast.Starred) for item in node.elts):
            return Items(UNKNOWN)
        return listed(self._shape(item, frame) for item in node.elts)

    _of_tuple = _of_list

    def _loops(self, generators: list[ast.comprehension], frame: Frame) -> Frame:
        inner = Frame(frame.module, frame.node, {}, outer=frame, known={})
        inner.node = ast.Module([], [])
        for generator in generators:
            found = elements(self._shape(generator.iter, inner))
            for name, shape in _unpacked(generator.target, found):
                inner.given[name] = shape
        return inner

    def _of_ifexp(self, node: ast.IfExp, frame: Frame) -> Shape:
        return either([self._shape(node.body, frame), self._shape(node.orelse, frame)])

    def _of_boolop(self, node: ast.BoolOp, frame: Frame) -> Shape:
        return either(self._shape(value, frame) for value in node.values)

    def _of_compare(self, _: ast.Compare, __: Frame) -> Shape:
        return UNKNOWN  # of arrays, an array

    def _of_unaryop(self, node: ast.UnaryOp, frame: Frame) -> Shape:
        return Flag() if isinstance(node.op, ast.Not) else self._shape(node.operand, frame)

    def _of_binop(self, node: ast.BinOp, frame: Frame) -> Shape:
        left, right = self._shape(node.left, frame), self._shape(node.right, frame)
        if isinstance(node.op, ast.BitOr) and (isinstance(left, Object) or isinstance(right, Object)):
            return merged(left, right)
        if isinstance(left, Text):
            return Text() if isinstance(node.op, ast.Add | ast.Mod) else UNKNOWN
        return Number() if isinstance(left, Number) and isinstance(right, Number) else UNKNOWN

    def _of_namedexpr(self, node: ast.NamedExpr, frame: Frame) -> Shape:
        return self._shape(node.value, frame)

    def _of_subscript(self, node: ast.Subscript, frame: Frame) -> Shape:
        if isinstance(node.slice, ast.Slice):
            found = self._shape(node.value, frame)
            return Text() if isinstance(found, Text) else UNKNOWN
        return member(self._shape(node.value, frame), self._shape(node.slice, frame))

    def _of_name(self, node: ast.Name, frame: Frame) -> Shape:
        return self._lookup(node.id, frame)

    def _lookup(self, name: str, frame: Frame) -> Shape:
        current: Frame | None = frame
        while current is not None:
            if name in current.known:
                return current.known[name]
            bindings = bindings_of(current.node, name)
            if name in current.given or bindings:
                if name in current.open:
                    return UNKNOWN  # defined by itself
                current.open.add(name)
                try:
                    bases = [current.given[name]] if name in current.given else []
                    bases += [self._bound(b, name, current) for b in bindings]
                    current.known[name] = self._changed(name, either(bases), current)
                finally:
                    current.open.discard(name)
                return current.known[name]
            current = current.outer
        imported = self._imported(name, frame.module)
        if imported and imported[1] and imported[0] in self._frames:
            return self._lookup(imported[1], self._frames[imported[0]])
        return UNKNOWN

    def _bound(self, binding: tuple[str, ast.expr, ast.expr], name: str, frame: Frame) -> Shape:
        kind, target, value = binding
        found = self._shape(value, frame)
        if kind == "loop":
            found = elements(found)
        return next((s for n, s in _unpacked(target, found) if n == name), UNKNOWN)

    def _changed(self, name: str, shape: Shape, frame: Frame) -> Shape:
        """After all assignments to members, wherever they stand; UNKNOWN where more may change it."""
        if any(mutates(f, name, passing=False) for f in functions_in(frame.node) if not binds(f, name)):
            return UNKNOWN
        for node in own(frame.node):
            if isinstance(node, ast.Assign | ast.AnnAssign | ast.AugAssign):
                targets = node.targets if isinstance(node, ast.Assign) else [node.target]
                for target in targets:
                    keys, root = keys_of(target)
                    if keys and part_of(base_of(target), name) and not root:
                        return UNKNOWN
                    if root == name and keys and node.value is not None:
                        plain = not isinstance(node, ast.AugAssign)
                        value = self._shape(node.value, frame) if plain else UNKNOWN
                        shape = put(shape, [self._shape(key, frame) for key in keys], value)
                    elif root == name and isinstance(node, ast.AugAssign) and isinstance(shape, Object):
                        shape = merged(shape, self._shape(node.value, frame))
                if isinstance(node, ast.Assign) and part_of(node.value, name) and isinstance(shape, Object):
                    names = [t.id for t in targets if isinstance(t, ast.Name)]
                    if any(mutates(frame.node, alias) for alias in names):
                        return UNKNOWN
            elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
                shape = self._after_call(node.value, name, shape, frame)
        return shape

    def _after_call(self, call: ast.Call, name: str, shape: Shape, frame: Frame) -> Shape:
        function = call.func
        if isinstance(function, ast.Attribute):
            keys, root = keys_of(function.value)
            if root == name and function.attr not in READING:
                if function.attr == "update" and not call.keywords and len(call.args) == 1 and not keys:
                    return merged(shape, self._shape(call.args[0], frame))
                return UNKNOWN
        places = [i for i, argument in enumerate(call.args) if keys_of(argument)[1] == name]
        if not places or not isinstance(shape, Object) or called_name(call) in LEAVING:
            return shape
        defined = self._function(call, frame)
        if defined is None:
            return UNKNOWN
        arguments = [a.arg for a in (*defined[1].args.posonlyargs, *defined[1].args.args)]
        changed = any(i >= len(arguments) or mutates(defined[1], arguments[i]) for i in places)
        return UNKNOWN if changed else shape

    def _of_call(self, node: ast.Call, frame: Frame) -> Shape:
        if isinstance(node.func, ast.Attribute):
            found = self._of_method_call(node.func, node, frame)
            if found is not None:
                return found
        defined = self._function(node, frame)
        if defined is not None:
            return self._called(*defined, node, frame)
        if not isinstance(node.func, ast.Name):
            return UNKNOWN
        name = node.func.id
        source = (self._imported(name, frame.module) or ("", ""))[0]
        if name in _NUMBERS or (source.startswith("sklearn.metrics") and name.endswith(_ENDINGS)):
            return Number()
        return Text() if name in ("str", "repr") else self._of_builtin(name, node, frame)

    def _of_method_call(self, function: ast.Attribute, node: ast.Call, frame: Frame) -> Shape | None:
        """None where nothing is known of the method: it may be a module's function."""
        name = function.attr
        if name in ("items", "keys", "values", "copy", "get"):
            return self._of_method(name, self._shape(function.value, frame), node, frame)
        if name in ("format", "join", "isoformat", "strftime"):
            return Text()
        base = function.value.id if isinstance(function.value, ast.Name) else ""
        whole = not any(k.arg == "axis" for k in node.keywords) and len(node.args) == 1
        if base in _NUMERIC_MODULES or (base in ("np", "numpy") and name in _REDUCTIONS and whole):
            return Number()
        return None

    def _of_builtin(self, name: str, node: ast.Call, frame: Frame) -> Shape:
        if name == "dict":
            return self._of_dict_call(node, frame)
        parts = [elements(self._shape(a, frame)) for a in node.args]
        if name in ("list", "tuple", "sorted", "reversed", "set") and parts:
            return Items(parts[0])
        if name == "enumerate" and parts:
            return Items(listed([Number(), parts[0]]))
        return Items(listed(parts)) if name == "zip" else UNKNOWN

    def _of_dict_call(self, node: ast.Call, frame: Frame) -> Shape:
        found: Shape = Object()
        for argument in node.args:
            found = merged(found, self._shape(argument, frame))
        for keyword in node.keywords:
            shape = self._shape(keyword.value, frame)
            known = keyword.arg is not None
            found = (
                put(found, [Text(frozenset({keyword.arg or ""}))], shape) if known else merged(found, shape)
            )
        return found

    def _of_method(self, name: str, target: Shape, node: ast.Call, frame: Frame) -> Shape:
        if name == "copy":
            return target
        if name == "get":
            others = [self._shape(a, frame) for a in node.args[1:]]
            key = self._shape(node.args[0], frame) if node.args else UNKNOWN
            return either([member(target, key), *others])
        keys, values = elements(target), member(target, UNKNOWN)
        if not all(isinstance(option, Object) for option in options_of(target)):
            keys = values = UNKNOWN
        return Items({"items": listed([keys, values]), "keys": keys, "values": values}[name])

    def _called(self, module: str, node: Function, call: ast.Call, frame: Frame) -> Shape:
        if any(n is node for n in self._running):
            return UNKNOWN
        inner = self._frame_of(module, node, self._given(node, call, frame))
        self._running.append(node)
        try:
            found = [n.value for n in own(node) if isinstance(n, ast.Return)]
            return either(self._shape(value, inner) for value in found) if found else UNKNOWN
        finally:
            self._running.pop()

    def _given(self, node: Function, call: ast.Call, frame: Frame) -> dict[str, Shape]:
        """What a call gives a function's parameters."""
        arguments = [a.arg for a in (*node.args.posonlyargs, *node.args.args)]
        given: dict[str, Shape] = {a.arg: UNKNOWN for a in (*node.args.args, *node.args.kwonlyargs)}
        for extra in (node.args.vararg, node.args.kwarg):
            if extra is not None:
                given[extra.arg] = UNKNOWN
        if not any(isinstance(a, ast.Starred) for a in call.args):
            for name, value in zip(arguments, call.args, strict=False):
                given[name] = self._shape(value, frame)
        given.update({k.arg: self._shape(k.value, frame) for k in call.keywords if k.arg in given})
        return given

    def _function(self, call: ast.Call, frame: Frame) -> tuple[str, Function] | None:
        """The function that is called, and its module."""
        module, name = frame.module, ""
        if isinstance(call.func, ast.Name):
            name = call.func.id
        elif isinstance(call.func, ast.Attribute) and isinstance(call.func.value, ast.Name):
            imported = self._imported(call.func.value.id, module)
            if imported is None:
                return None
            module, name = ".".join(p for p in imported if p), call.func.attr
        for _ in range(4):  # through modules that hand on a name
            tree = self._modules.get(module)
            if tree is None:
                return None
            for node in tree.body:
                if isinstance(node, Function) and node.name == name:
                    return module, node
            imported = self._imported(name, module)
            if imported is None:
                return None
            module, name = imported
        return None

    def _imported(self, name: str, module: str) -> tuple[str, str] | None:
        """(module, name in it) that an import gives; the name is empty where a module is imported."""
        return imports(self._modules[module], module).get(name)


def _unpacked(target: ast.expr, shape: Shape) -> Iterator[tuple[str, Shape]]:
    if isinstance(target, ast.Name):
        yield target.id, shape
    elif isinstance(target, ast.Tuple | ast.List):
        for index, item in enumerate(target.elts):
            yield from _unpacked(item, either(item_at(option, index) for option in options_of(shape)))

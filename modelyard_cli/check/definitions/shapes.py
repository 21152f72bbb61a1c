"""What a value that a script writes as JSON looks like, as far as the script's text tells."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Shape:
    """A value of which nothing is known; the subclasses know more."""


@dataclass(frozen=True, slots=True)
class Number(Shape):
    pass


@dataclass(frozen=True, slots=True)
class Flag(Shape):
    """A boolean, or null."""


@dataclass(frozen=True, slots=True)
class Text(Shape):
    """A text; `values` are all that it can be, None where they are not known."""

    values: frozenset[str] | None = None


@dataclass(frozen=True, slots=True)
class Object(Shape):
    """An object; `rest` is what its further keys hold, None where it has no others."""

    fields: Mapping[str, Shape] = field(default_factory=dict)
    rest: Shape | None = None


@dataclass(frozen=True, slots=True)
class Items(Shape):
    """A list; `items` are its elements one by one, None where only what they have in common is known."""

    element: Shape
    items: tuple[Shape, ...] | None = None


@dataclass(frozen=True, slots=True)
class Either(Shape):
    options: tuple[Shape, ...]


UNKNOWN = Shape()


def either(shapes: Iterable[Shape]) -> Shape:
    """Any of these; texts become one with the values of all."""
    options: list[Shape] = []
    for shape in shapes:
        options += [o for o in options_of(shape) if o not in options]
    texts = [o for o in options if isinstance(o, Text)]
    if len(texts) > 1:
        values: set[str] | None = set()
        for text in texts:
            values = None if values is None or text.values is None else values | text.values
        merged = Text(None if values is None else frozenset(values))
        options = [o for o in options if not isinstance(o, Text)] + [merged]
    return options[0] if len(options) == 1 else Either(tuple(options)) if options else UNKNOWN


def options_of(shape: Shape) -> tuple[Shape, ...]:
    return shape.options if isinstance(shape, Either) else (shape,)


def put(target: Shape, keys: Sequence[Shape], value: Shape) -> Shape:
    """What a value looks like after `target[keys...] = value`."""
    if not keys:
        return value
    found = []
    for option in options_of(target):
        if not isinstance(option, Object):
            found.append(option)
            continue
        fields, rest = dict(option.fields), option.rest
        first = keys[0]
        if isinstance(first, Text) and first.values is not None:
            for name in sorted(first.values):
                fields[name] = put(fields.get(name, Object() if rest is None else rest), keys[1:], value)
        else:
            inner = put(Object() if rest is None else rest, keys[1:], value)
            rest = inner if rest is None else either([rest, inner])
        found.append(Object(fields, rest))
    return either(found)


def merged(left: Shape, right: Shape) -> Shape:
    """What `left | right`, `{**left, **right}` and `left.update(right)` make."""
    found: list[Shape] = []
    for one in options_of(left):
        for other in options_of(right):
            a = one if isinstance(one, Object) else Object(rest=UNKNOWN)
            b = other if isinstance(other, Object) else Object(rest=UNKNOWN)
            rests = [r for r in (a.rest, b.rest) if r is not None]
            fields = {**a.fields, **b.fields}
            if b.rest is not None:  # may hold any of the left one's keys too
                fields = {n: either([s, b.rest]) if n not in b.fields else s for n, s in fields.items()}
            found.append(Object(fields, either(rests) if rests else None))
    return either(found)


def member(shape: Shape, key: Shape) -> Shape:
    """What `shape[key]` is; UNKNOWN where that cannot be told."""
    found: list[Shape] = []
    for option in options_of(shape):
        if isinstance(option, Object):
            if isinstance(key, Text) and key.values is not None:
                found += [option.fields.get(name, option.rest or UNKNOWN) for name in sorted(key.values)]
            else:
                found += [*option.fields.values(), *([option.rest] if option.rest is not None else [])]
        else:
            found.append(option.element if isinstance(option, Items) else UNKNOWN)
    return either(found)


def elements(shape: Shape) -> Shape:
    """What a loop over it gives."""
    found: list[Shape] = []
    for option in options_of(shape):
        if isinstance(option, Items):
            found.append(option.element)
        elif isinstance(option, Object):
            found.append(Text(None if option.rest is not None else frozenset(option.fields)))
        else:
            found.append(UNKNOWN)
    return either(found)


def item_at(shape: Shape, index: int) -> Shape:
    """What unpacking gives at a place."""
    if not isinstance(shape, Items):
        return UNKNOWN
    if shape.items is None:
        return shape.element
    return shape.items[index] if index < len(shape.items) else UNKNOWN


def listed(items: Iterable[Shape]) -> Items:
    every = tuple(items)
    return Items(either(every), every)


@dataclass(frozen=True, slots=True)
class Found:
    """What lies at a path: its shape, or the part that is not there and why; `guessed` were not known."""

    shape: Shape | None
    guessed: tuple[str, ...] = ()
    problem: str = ""


def reach(shape: Shape, parts: Sequence[str | int]) -> Found:
    """Follow a path."""
    missed: Found | None = None
    for option in options_of(shape):
        found = _reach(option, parts)
        if found.shape is not None:
            return found
        missed = missed or found
    return missed or Found(None)


def _reach(shape: Shape, parts: Sequence[str | int]) -> Found:
    if not parts:
        return Found(shape)
    part, rest = parts[0], parts[1:]
    if type(shape) is Shape:
        return Found(UNKNOWN, tuple(p for p in parts if isinstance(p, str)))
    if isinstance(shape, Object) and isinstance(part, str):
        return _member_at(shape, part, rest)
    if isinstance(shape, Items) and isinstance(part, int):
        return reach(shape.element, rest)
    return Found(None, problem=f"writes {noun(shape)} where the path goes on with {part!r}")


def _member_at(shape: Object, part: str, rest: Sequence[str | int]) -> Found:
    if part in shape.fields:
        return reach(shape.fields[part], rest)
    if shape.rest is None:
        have = ", ".join(shape.fields) or "nothing"
        return Found(None, problem=f"never writes {part!r} there: it writes {have}")
    found = reach(shape.rest, rest)
    # Keys that data give are not in the code; those of an object of which nothing is known should be.
    return Found(found.shape, (part, *found.guessed), found.problem) if _blank(shape.rest) else found


def _blank(shape: Shape) -> bool:
    return any(type(option) is Shape for option in options_of(shape))


def noun(shape: Shape) -> str:
    """What to call it."""
    names = {Number: "a number", Flag: "a boolean or null", Text: "a text", Object: "an object"}
    return names.get(type(shape), "a list" if isinstance(shape, Items) else "something else")

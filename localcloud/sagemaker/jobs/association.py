"""How batch transform filters records and joins answers with what they answer. No I/O.

https://docs.aws.amazon.com/sagemaker/latest/dg/batch-transform-data-processing.html
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

_STEP = re.compile(
    r"""\.(?P<name>[A-Za-z_][\w-]*)
    |\[(?P<quoted>'[^']*'(?:\s*,\s*'[^']*')*)\]
    |\[(?P<indices>-?\d+(?:\s*,\s*-?\d+)*)\]
    |\[(?P<start>-?\d*):(?P<stop>-?\d*)\]""",
    re.VERBOSE,
)
_JSON = ("application/json", "application/jsonlines")
_OUTPUT, _INPUT = "SageMakerOutput", "SageMakerInput"


class AssociationError(ValueError):
    """A filter, or a record that a filter or a join does not fit."""


@dataclass(frozen=True, slots=True)
class Path:
    """A JSONPath as batch transform takes it: members, indices, slices and unions of one level each.

    >>> Path.parse("$[1:]").of(["id", "0.5", "0.7"])
    ['0.5', '0.7']
    >>> Path.parse("$['id','SageMakerOutput']").of({"id": 7, "x": 1, "SageMakerOutput": 0.5})
    {'id': 7, 'SageMakerOutput': 0.5}
    """

    text: str
    steps: tuple[Mapping[str, str], ...]

    @classmethod
    def parse(cls, text: str) -> Path:
        """Read a path; AssociationError if it is none, or one with filters or wildcards."""
        steps, place = [], 1
        if not text.startswith("$"):
            raise AssociationError(f"{text} is not a JSONPath that begins with $")
        while place < len(text):
            found = _STEP.match(text, place)
            if found is None:
                raise AssociationError(
                    f"{text}: {text[place:]} is not supported; use .name, [0], [1:], ['a','b']"
                )
            steps.append({name: value for name, value in found.groupdict().items() if value is not None})
            place = found.end()
        return cls(text, tuple(steps))

    def of(self, value: Any) -> Any:
        """What the path selects; AssociationError if the value has no such place."""
        try:
            for step in self.steps:
                value = _select(value, step)
        except (LookupError, TypeError) as error:
            raise AssociationError(f"{self.text} selects nothing in the record: {error}") from error
        return value


def _select(value: Any, step: Mapping[str, str]) -> Any:
    if "start" in step:
        if not isinstance(value, list):
            raise TypeError("it is no list")
        return value[slice(*(int(bound) if bound else None for bound in (step["start"], step["stop"])))]
    if "indices" in step:
        indices = [int(index) for index in step["indices"].split(",")]
        if not isinstance(value, list):
            raise TypeError("it is no list")
        return value[indices[0]] if len(indices) == 1 else [value[index] for index in indices]
    if not isinstance(value, dict):
        raise TypeError("it is no object")
    if "name" in step:
        return value[step["name"]]
    names = [name.strip()[1:-1] for name in step["quoted"].split(",")]
    return value[names[0]] if len(names) == 1 else {name: value[name] for name in names}


@dataclass(frozen=True, slots=True)
class Association:
    """DataProcessing of a transform job.

    Args:
        before, after: InputFilter and OutputFilter.
        join: whether JoinSource is Input.
        is_json: whether records are JSON; else CSV.
    """

    before: Path
    after: Path
    join: bool
    is_json: bool

    @classmethod
    def of(cls, request: Mapping[str, Any]) -> Association | None:
        """That of a CreateTransformJob request; None if it changes nothing. AssociationError."""
        given = request.get("DataProcessing", {})
        before, after = (given.get(name, "$") for name in ("InputFilter", "OutputFilter"))
        join = given.get("JoinSource", "None") == "Input"
        if not join and before == after == "$":
            return None
        content_type = request["TransformInput"].get("ContentType", "").split(";")[0].strip().lower()
        accept = request["TransformOutput"].get("Accept", content_type).split(";")[0].strip().lower()
        for name, kind in (("ContentType", content_type), ("Accept", accept)):
            if kind not in (*_JSON, "text/csv"):
                raise AssociationError(f"it needs {name} text/csv, application/json or application/jsonlines")
        if (content_type == "text/csv") != (accept == "text/csv"):
            raise AssociationError("ContentType and Accept must be both CSV or both JSON")
        split = request["TransformInput"].get("SplitType", "None")
        if split != request["TransformOutput"].get("AssembleWith", "None") and join:
            raise AssociationError("JoinSource Input needs the same SplitType and AssembleWith")
        if split == "None" and content_type == "text/csv":
            raise AssociationError("CSV needs SplitType Line")
        return cls(Path.parse(before), Path.parse(after), join, content_type != "text/csv")

    def request(self, record: bytes) -> bytes:
        """What of a record is sent to the model."""
        return record if self.before.text == "$" else self._write(self.before.of(self._read(record)))

    def result(self, record: bytes, answer: bytes) -> bytes:
        """What of a record and its answer is kept."""
        output = self._read(answer)
        if self.join:
            output = self._joined(self._read(record), output)
        return self._write(self.after.of(output))

    def _joined(self, record: Any, output: Any) -> Any:
        if not self.is_json:
            return [*record, *output]
        if isinstance(record, dict):
            return {**record, _OUTPUT: output}
        return {_INPUT: record, _OUTPUT: output}

    def _read(self, record: bytes) -> Any:
        try:
            text = record.decode()
            return json.loads(text) if self.is_json else next(csv.reader([text]), [])
        except ValueError as error:
            raise AssociationError(
                f"a record or an answer is not {'JSON' if self.is_json else 'CSV'}"
            ) from error

    def _write(self, value: Any) -> bytes:
        if self.is_json:
            return json.dumps(value).encode()
        line = io.StringIO()
        csv.writer(line, lineterminator="").writerow(value if isinstance(value, list) else [value])
        return line.getvalue().encode()

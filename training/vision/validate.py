"""Step 1: is the folder what the pipeline needs? A JSON report either way, and one line on what is wrong.

Input `data`: class folders. Output `report`: data_report.json. Each image is decoded, one at a time and CPU.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from training.common.arguments import Parser
from training.common.failure import UserError, run, say
from training.common.paths import processing_input, processing_output
from training.vision.folders import Found, Prepared, find_photos, prepare
from training.vision.parallel import ordered

# The split takes a fifth of a class away from training, by chance; of fewer nothing may be left.
MIN_CLASS_IMAGES = 5
MAX_CLASSES = 10_000
MAX_REJECTED = 0.5
SHOWN = 50
NUMBER = re.compile(r"\d[\d,]*")
SIDE = 32  # decoding is what is checked, at a size that costs little


def main(arguments: Sequence[str]) -> None:
    Parser("validate").parse_args(list(arguments))
    found = find_photos(processing_input("data"))
    audit = ImageAudit(found)
    for prepared in ordered(lambda photo: prepare(photo, SIDE), found.photos):
        audit.add(prepared)
    text = json.dumps(audit.report(), indent=1, allow_nan=False) + "\n"
    (processing_output("report") / "data_report.json").write_text(text, encoding="ascii")
    problems = audit.problems()
    if problems:
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        raise UserError(problems[0] + more)
    rejected = f", {audit.rejected.total()} left out" if audit.rejected else ""
    say(f"{audit.rows} images{rejected}, {len(audit.classes)} classes: as expected")


@dataclass(slots=True)
class ImageAudit:
    """Counts images one at a time; `classes`: readable images of each."""

    found: Found
    classes: Counter[str] = field(default_factory=Counter)
    rejected: Counter[str] = field(default_factory=Counter)
    examples: list[dict[str, str]] = field(default_factory=list)
    conflicts: int = 0
    duplicates: int = 0
    _labels: dict[str, str] = field(default_factory=dict)
    _content: Any = field(default_factory=hashlib.sha256)

    @property
    def rows(self) -> int:
        return self.classes.total()

    def add(self, prepared: Prepared) -> None:
        photo = prepared.photo
        # The version of the data: every image with its class and name, those left out too.
        self._content.update(f"{photo.name!r} {prepared.digest}\n".encode())
        if prepared.problem:
            self.rejected[NUMBER.sub("N", prepared.problem.partition(":")[0])] += 1
            self._note(photo.name, prepared.problem)
            return
        self.classes[photo.label] += 1
        label = self._labels.get(prepared.digest)
        if label is None:
            self._labels[prepared.digest] = photo.label
        elif label == photo.label:
            self.duplicates += 1
        else:
            self.conflicts += 1
            self._note(photo.name, f"is also an image of class {label!r}")

    def report(self) -> dict[str, Any]:
        """What `data_report.json` holds."""
        problems = self.problems()
        return {
            "rows": self.rows,
            "valid": not problems,
            "problem_count": len(problems),
            "problems": problems[:SHOWN],
            "classes": {name: self.classes[name] for name in self.found.classes},
            "rejected": {"count": self.rejected.total(), "reasons": dict(self.rejected.most_common(SHOWN))},
            "duplicates": self.duplicates,
            "conflicting_labels": self.conflicts,
            "misplaced": len(self.found.misplaced),
            "ignored_files": self.found.ignored,
            "examples": self.examples,
            "sha256": self._content.hexdigest(),
        }

    def problems(self) -> list[str]:
        """What is wrong with the folder as a whole; single bad images are left out, and never wrong."""
        tried = self.rows + self.rejected.total()
        if self.rejected.total() > MAX_REJECTED * tried:
            first = self.examples[0]
            return [
                f"{self.rejected.total()} of {tried} images cannot be used, "
                f"the first: {first['name']!r} {first['reason']}"
            ]
        names = self.found.classes
        if len(names) < 2:
            return [f"all images lie in one class folder, {names[0]!r}: a classifier needs two or more"]
        if len(names) > MAX_CLASSES:
            return [f"{len(names)} class folders, at most {MAX_CLASSES}: are they classes?"]
        return [
            f"class {name!r} has {self.classes[name]} usable images, at least {MIN_CLASS_IMAGES} are needed"
            for name in names
            if self.classes[name] < MIN_CLASS_IMAGES
        ]

    def _note(self, name: str, reason: str) -> None:
        if len(self.examples) < SHOWN:
            self.examples.append({"name": name, "reason": reason})


if __name__ == "__main__":
    raise SystemExit(run(main))

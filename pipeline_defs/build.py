"""Build the pipeline definitions with the SageMaker SDK, or check that the committed ones are what it builds.

    python -m pipeline_defs.build            writes pipeline_defs/definitions/*.json and *.lock
    python -m pipeline_defs.build --check    exits 1 and shows the difference instead

Needs the packages of requirements-sdk.txt, no credentials and no network.
"""

from __future__ import annotations

import argparse
import difflib
import importlib
import json
import sys
from pathlib import Path

from pipeline_defs.catalog import PIPELINES, PipelineSpec, lock_record, stale_reason
from pipeline_defs.code import REPO

SHOWN_LINES = 40


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m pipeline_defs.build", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument(
        "--check", action="store_true", help="compare with the committed files, write nothing"
    )
    options = parser.parse_args(arguments)
    different = [spec.name for spec in PIPELINES if not (_check(spec) if options.check else _write(spec))]
    if different:
        sys.stderr.write(f"{', '.join(different)}: not what the code builds; run `make definitions`\n")
    return 1 if different else 0


def render(spec: PipelineSpec) -> str:
    """The definition as committed: sentinels replaced by `${Name}`, two spaces, one trailing newline.

    The SDK writes `null` for what a pipeline does without (experiment, MLflow); the schema has no such value.
    """
    from pipeline_defs.session import with_placeholders  # imports the SDK: seconds

    pipeline = importlib.import_module(spec.family.builder).build(spec)
    members = {name: value for name, value in json.loads(pipeline.definition()).items() if value is not None}
    return json.dumps(with_placeholders(members), indent=2) + "\n"


def _write(spec: PipelineSpec) -> bool:
    text = render(spec)
    spec.definition.parent.mkdir(parents=True, exist_ok=True)
    spec.definition.write_text(text, encoding="utf-8", newline="\n")
    lock = json.dumps(lock_record(spec), indent=2) + "\n"
    spec.lock.write_text(lock, encoding="utf-8", newline="\n")
    _say(f"wrote {_shown(spec.definition)}  {_summary(text)}")
    return True


def _check(spec: PipelineSpec) -> bool:
    built = render(spec)
    committed = spec.definition.read_text(encoding="utf-8") if spec.definition.is_file() else ""
    if built != committed:
        lines = difflib.unified_diff(
            committed.splitlines(), built.splitlines(), _shown(spec.definition), "built now", lineterm="", n=2
        )
        for line in list(lines)[:SHOWN_LINES]:
            _say(line)
        return False
    reason = stale_reason(spec)
    _say(f"{_shown(spec.definition)}: {reason or 'current'}  {_summary(built)}")
    return reason is None


def _summary(text: str) -> str:
    document = json.loads(text)
    names = [step["Name"] for step in document["Steps"]]
    return f"{len(document['Parameters'])} parameters, steps {' > '.join(names)}, {len(text):,} bytes"


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")


def _shown(path: Path) -> str:
    return path.relative_to(REPO).as_posix()


if __name__ == "__main__":
    sys.exit(main())

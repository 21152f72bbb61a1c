"""What an image is built from is what its Dockerfile copies."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from modelyard.build_context import BuildContext


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "context"
    for name in ("app/main.py", "app/__pycache__/main.pyc", "other/step.py", "pins.txt"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(name)
    (root / "Dockerfile").write_text("FROM python\nCOPY --chown=1 pins.txt \\\n  app/ /opt/\nRUN true\n")
    return root


def test_the_dockerfile_and_what_it_copies(folder):
    assert BuildContext(folder=folder).files() == ("Dockerfile", "app/main.py", "pins.txt")


@pytest.mark.parametrize(
    ("name", "counts"), [("app/main.py", True), ("Dockerfile", True), ("other/step.py", False)]
)
def test_only_what_is_in_the_image_changes_its_hash(folder, name, counts):
    context = BuildContext(folder=folder)
    before = context.digest()
    (folder / name).write_text((folder / name).read_text() + "\n# changed\n")
    assert (context.digest() != before) is counts


def test_a_file_that_moves_changes_the_hash(folder):
    before = BuildContext(folder=folder).digest()
    (folder / "app" / "main.py").rename(folder / "app" / "maine.py")
    assert BuildContext(folder=folder).digest() != before


def test_a_copy_is_whole_or_not_there(folder, tmp_path):
    context, target = BuildContext(folder=folder), tmp_path / "out"
    context.copy_to(target)
    context.copy_to(target)
    found = sorted(path.relative_to(target).as_posix() for path in target.rglob("*") if path.is_file())
    assert tuple(found) == context.files()
    assert [path.name for path in tmp_path.iterdir() if path != folder] == ["out"]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("ADD pins.txt /opt/", "use COPY with plain names"),
        ("COPY --from=build /x /y", "use COPY with plain names"),
        ("COPY *.txt /opt/", "use COPY with plain names"),
        ('COPY ["pins.txt", "/opt/"]', "use COPY with plain names"),
        ("COPY pins.txt", "use COPY with plain names"),
        ("COPY missing /opt/", "missing is copied, and is not in"),
        ("COPY ../outside /opt/", "../outside is copied, and is not in"),
    ],
)
def test_what_is_refused(folder, line, message):
    (folder.parent / "outside").write_text("secret")
    (folder / "Dockerfile").write_text(f"FROM python\n{line}\n")
    with pytest.raises(ValueError, match=re.escape(message)):
        BuildContext(folder=folder).files()


def test_a_missing_dockerfile_is_named(folder):
    with pytest.raises(ValueError, match=r"none\.Dockerfile cannot be read"):
        BuildContext(folder=folder, dockerfile="none.Dockerfile").files()

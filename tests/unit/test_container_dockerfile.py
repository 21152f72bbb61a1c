"""Reading Dockerfiles, and what becomes of them."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from localcloud.containers.dockerfile import DockerfileError, Recipe, evaluate, expand, parse
from localcloud.containers.image import ImageError, ImageStore
from localcloud.containers.patterns import IgnoreFile

NAMES = st.from_regex(r"[A-Z][A-Z0-9_]{0,8}", fullmatch=True)
WORDS = st.text(alphabet="abcXYZ019./:-", min_size=1, max_size=12)


def read(text: str, **build_args: str) -> Recipe:
    return evaluate(parse(text), build_args)


def test_everything_that_is_supported() -> None:
    recipe = read(
        """# syntax=docker/dockerfile:1
ARG VERSION=3.11
FROM python:${VERSION}-slim
# a comment
LABEL com.amazonaws.sagemaker.capabilities.multi-models=true \\
      maintainer="some one"
ENV A=1 B="two words" \\
    # a comment within a continuation
    C=$A-${NONE:-default}
ENV D=$A-${A:+set}
ENV OLD the old form
ENV PATH="/opt/program:${PATH}"
WORKDIR /opt
WORKDIR program
COPY --chown=1000:1000 --chmod=755 a.py b.py ./
COPY ["with space", "/data/x"]
RUN pip install numpy
USER nobody
EXPOSE 8080 8081/tcp
ENTRYPOINT ["python", "-m", "x"]
CMD ["serve"]
"""
    )
    assert recipe.base == "python:3.11-slim"
    assert recipe.labels["com.amazonaws.sagemaker.capabilities.multi-models"] == "true"
    assert recipe.labels["maintainer"] == "some one"
    assert recipe.environment["B"] == "two words"
    # Docker: an instruction sees the values from before it.
    assert recipe.environment["C"] == "-default"
    assert recipe.environment["D"] == "1-set"
    assert recipe.environment["OLD"] == "the old form"
    assert recipe.environment["PATH"].startswith("/opt/program:/usr/local/sbin:")
    assert recipe.workdir == "/opt/program"
    first, second = recipe.copies
    assert (first.sources, first.destination, first.is_folder, first.mode) == (
        ("a.py", "b.py"),
        "/opt/program",
        True,
        0o755,
    )
    assert (second.sources, second.destination, second.is_folder) == (("with space",), "/data/x", False)
    assert recipe.assumed == ["RUN pip install numpy", "USER nobody"]
    assert recipe.ports == ["8080", "8081/tcp"]
    assert recipe.entrypoint == ["python", "-m", "x"]
    assert recipe.command == ["serve"]


def test_shell_forms_and_their_cmd() -> None:
    recipe = read("FROM x\nENTRYPOINT exec python serve.py\nCMD train")
    assert recipe.entrypoint == ["/bin/sh", "-c", "exec python serve.py"]
    assert recipe.command == []


def test_build_arguments_replace_defaults_only() -> None:
    text = "ARG TAG=1\nFROM x:$TAG\nARG UNSET\nARG NAME=a\nENV N=$NAME U=$UNSET"
    assert read(text, TAG="2", NAME="b").environment == {"N": "b", "U": ""}
    assert read(text, TAG="2").base == "x:2"


def test_the_escape_directive_and_windows_lines() -> None:
    recipe = read("# escape=`\r\nFROM x\r\nENV A=1 `\r\n    B=2\r\n")
    assert recipe.environment == {"A": "1", "B": "2"}


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("FROM a\n\nHEALTHCHECK CMD true", 3, "HEALTHCHECK is not supported"),
        ("FROM a AS b\nFROM c", 2, "several stages"),
        ("FROM a\nCOPY --from=b /x /y", 2, "COPY --from"),
        ("FROM a\nCOPY --parents x /y", 2, "COPY --parents"),
        ("FROM a\nCOPY --chmod=u+x x /y", 2, "octal"),
        ("FROM a\nCOPY x", 2, "a source and a destination"),
        ("FROM a\nRUN <<EOF\necho\nEOF", 2, "here-documents"),
        ("ENV A=1\nFROM a", 1, "before FROM"),
        ("# nothing", 1, "no FROM"),
        ("FROM a\nCMD", 2, "needs an argument"),
        ("FROM a\nENV A=1 B", 2, "not NAME=value"),
        ('FROM a\nENV A="1', 2, "quotation"),
        ('FROM a\nCMD ["a", 1]', 2, "strings only"),
    ],
)
def test_what_is_refused_names_its_line(text: str, line: int, words: str) -> None:
    with pytest.raises(DockerfileError, match=words) as caught:
        read(text)
    assert caught.value.line == line


@given(st.dictionaries(NAMES.filter(lambda name: name != "PATH"), WORDS, max_size=5))
def test_variables_come_back_as_they_were_set(values: dict[str, str]) -> None:
    lines = [f'ENV {name}="{value}"' for name, value in values.items()]
    assert read("\n".join(["FROM x", *lines])).environment == values
    copies = [f"ENV COPY_{name}=${{{name}}}" for name in values]
    result = read("\n".join(["FROM x", *lines, *copies])).environment
    assert {name: result[f"COPY_{name}"] for name in values} == values


@given(st.text(max_size=80))
def test_any_text_is_read_or_refused(text: str) -> None:
    with contextlib.suppress(DockerfileError):
        assert read("FROM x\n" + text).base == "x"


def test_expansion_leaves_an_escaped_dollar() -> None:
    assert expand(r"\$A $A", {"A": "1"}) == "$A 1"


@pytest.mark.parametrize(
    ("lines", "ignored", "kept"),
    [
        (["*.md", "!README.md"], ["a.md"], ["README.md", "deep/a.md"]),
        (["**/*.pyc"], ["a.pyc", "x/y/a.pyc"], ["a.py"]),
        (["/data/", "# data", ""], ["data/x/y"], ["other/data"]),
        (["tabular/**"], ["tabular/x", "tabular/y/z"], ["serving/x"]),
        (["*", "!keep"], ["a", "b/c"], ["keep/x"]),
        (["file[0-9].txt", "te?t"], ["file1.txt", "test"], ["fileA.txt", "te/t"]),
    ],
)
def test_dockerignore(lines: list[str], ignored: list[str], kept: list[str]) -> None:
    rules = IgnoreFile(lines)
    assert [path for path in [*ignored, *kept] if rules.ignores(path)] == ignored


@pytest.fixture
def context(tmp_path: Path) -> Path:
    folder = tmp_path / "context"
    (folder / "pkg" / "inner").mkdir(parents=True)
    (folder / "pkg" / "a.py").write_text("a")
    (folder / "pkg" / "inner" / "b.py").write_text("b")
    (folder / "pkg" / "secret.txt").write_text("s")
    (folder / "train").write_text("#!/bin/sh\n")
    (folder / "train").chmod(0o755)
    (folder / ".dockerignore").write_text("**/secret.txt\n")
    return folder


def build(context: Path, dockerfile: str) -> tuple[ImageStore, set[str], tuple[str, ...]]:
    (context / "Dockerfile").write_text(dockerfile)
    store = ImageStore(context.parent / "images")
    image = store.build(context)
    files = {
        path.relative_to(image.root).as_posix()
        for path in image.root.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    return store, files, image.owned


def test_copy_places_files_as_docker_does(context: Path) -> None:
    _, files, owned = build(
        context,
        "FROM x\nWORKDIR /opt/program\nCOPY pkg ./pkg\nCOPY pkg/*.py flat/\nCOPY train /usr/local/bin/train\n"
        "COPY pkg/a.py renamed.py\nCOPY . /app",
    )
    assert files == {
        "opt/program/pkg/a.py",
        "opt/program/pkg/inner/b.py",
        "opt/program/flat/a.py",
        "opt/program/renamed.py",
        "usr/local/bin/train",
        "app/pkg/a.py",
        "app/pkg/inner/b.py",
        "app/train",
        "app/Dockerfile",
        "app/.dockerignore",
    }
    assert "/usr/local/bin/train" in owned
    assert "/usr/local/bin" not in owned
    assert "/opt/program" in owned
    assert "/opt" not in owned


def test_a_second_dockerfile_has_an_ignore_file_of_its_own(context: Path) -> None:
    """Docker reads `<Dockerfile>.dockerignore` in place of `.dockerignore`, whose lines then do not count."""
    (context / "Dockerfile").write_text("FROM x\nCOPY . /app\n")
    (context / "vision.Dockerfile").write_text("FROM y\nCOPY . /app\n")
    (context / "vision.Dockerfile.dockerignore").write_text("*\n!pkg/secret.txt\n!train\n")
    store = ImageStore(context.parent / "images")
    first, second = store.build(context), store.build(context, dockerfile="vision.Dockerfile")
    assert (first.base, second.base) == ("x", "y")
    copied = {path.relative_to(second.root).as_posix() for path in second.root.rglob("*") if path.is_file()}
    assert copied == {"app/pkg/secret.txt", "app/train"}
    assert not (first.root / "app" / "pkg" / "secret.txt").exists()


def test_the_digest_is_that_of_the_content(context: Path) -> None:
    text = "FROM x\nCOPY pkg /app\n"
    store, _, _ = build(context, text)
    (context / "Dockerfile").write_text(text)
    first = store.build(context).digest
    (context / "pkg" / "secret.txt").write_text("changed, but ignored")
    assert store.build(context).digest == first
    (context / "pkg" / "a.py").write_text("changed")
    second = store.build(context).digest
    assert second != first
    (context / "Dockerfile").write_text(text + "ENV A=1\n")
    assert store.build(context).digest not in {first, second}
    assert store.load(first).base == "x"


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("COPY nothing /x", "no such file"),
        ("COPY ../outside /x", "leaves the build context"),
        ("COPY pkg/secret.txt /x", "no such file"),
        ("COPY leak /x", "the link leaves"),
    ],
)
def test_copies_that_cannot_be_made(context: Path, line: str, words: str) -> None:
    (context / "leak").symlink_to("/etc/passwd")
    with pytest.raises(DockerfileError, match=words):
        build(context, f"FROM x\n{line}\n")
    assert list((context.parent / "images").glob("sha256-*")) == []


def test_names_point_at_digests(context: Path) -> None:
    store, _, _ = build(context, "FROM x\nCOPY pkg /app\n")
    (context / "Dockerfile").write_text("FROM x\nCOPY pkg /app\n")
    digest = store.build(context).digest
    store.tag("registry/name:1", digest)
    assert store.find("registry/name:1") == digest
    assert store.find("registry/name:2") is None
    assert store.names() == [("registry/name:1", digest)]
    with pytest.raises(ImageError, match="build and push it again"):
        store.load("sha256:" + "0" * 64)


@pytest.mark.parametrize(
    "forged", ["../../outside", "/outside", "sha256:../../outside", "sha256:" + "A" * 64]
)
def test_an_id_never_leads_out_of_the_store(tmp_path: Path, forged: str) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "image.json").write_text("{}")
    store = ImageStore(tmp_path / "state" / "images")
    with pytest.raises(ImageError, match="not the id of an image"):
        store.load(forged)
    assert store.find(forged) is None

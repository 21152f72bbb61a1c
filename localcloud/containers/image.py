"""Images: a folder with the files a Dockerfile copies, and what it says about running them.

<state>/images/sha256-<digest>/image.json    the recipe
<state>/images/sha256-<digest>/root/...      the copied files, at their absolute destinations
<state>/images/names/<hash>.json             one file per name (docker tag) that points at a digest
"""

from __future__ import annotations

import compileall
import hashlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from localcloud.containers.dockerfile import Copy, DockerfileError, Recipe, evaluate, parse
from localcloud.containers.patterns import IgnoreFile, compiled

# Folders that every machine has: a file copied into one of them does not make the folder the image's own.
_SYSTEM = """
/ /bin /dev /etc /home /lib /lib64 /opt /opt/ml /proc /root /run /sbin /srv /sys /tmp /usr /usr/bin /usr/lib
/usr/local /usr/local/bin /usr/local/lib /usr/local/sbin /usr/local/share /usr/sbin /usr/share /usr/src
/var /var/lib /var/log /var/tmp
"""
SYSTEM_FOLDERS = frozenset(_SYSTEM.split())

_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


class ImageError(ValueError):
    """An image that cannot be built or found."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """An image on disk. `owned` are the absolute paths that exist in the image and not on the machine.

    `notes` are lines for the log of whatever runs the image: what it is not.
    """

    digest: str
    folder: Path
    base: str
    environment: Mapping[str, str]
    workdir: str
    entrypoint: tuple[str, ...]
    command: tuple[str, ...]
    labels: Mapping[str, str] = field(default_factory=dict)
    owned: tuple[str, ...] = ()
    assumed: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def root(self) -> Path:
        """The copied files, as a file system tree."""
        return self.folder / "root"


class ImageStore:
    """The images of one state folder.

    Args:
        folder: `StateFolder.images`; made when the first image is built.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def build(
        self, context: Path, *, dockerfile: str = "Dockerfile", build_args: Mapping[str, str] | None = None
    ) -> Image:
        """Snapshot a build context as its Dockerfile asks. The same content gives the same digest.

        Args:
            context: the build context.
            dockerfile: path of the Dockerfile relative to the context.
            build_args: values of ARGs.

        Raises:
            ImageError, DockerfileError: with the file, the line and what to do.
        """
        source = context / dockerfile
        if not source.is_file():
            raise ImageError(f"there is no {dockerfile} in {context}")
        recipe = evaluate(parse(source.read_text()), build_args)
        files = sorted(_context_files(context, source))
        self.folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=self.folder, prefix=".build-") as scratch:
            staged = Path(scratch) / "image"
            owned = _stage(recipe, context, files, staged / "root")
            digest = _digest(recipe, staged / "root")
            final = self._path(digest)
            if not final.exists():
                compileall.compile_dir(staged / "root", quiet=2, workers=1)
                document = {**asdict(recipe), "digest": digest, "owned": owned}
                del document["copies"], document["folders"]
                (staged / "image.json").write_text(json.dumps(document, indent=2))
                try:
                    staged.rename(final)
                except OSError:
                    if not final.exists():  # else: another build of the same content was quicker
                        raise
        return self.load(digest)

    def load(self, digest: str) -> Image:
        """The image with that digest (`sha256:...`); ImageError if it is not here."""
        if not _DIGEST.fullmatch(digest):
            raise ImageError(f"{digest!r} is not the id of an image (sha256:...); build and push it again")
        folder = self._path(digest)
        try:
            document: dict[str, Any] = json.loads((folder / "image.json").read_text())
        except FileNotFoundError as error:
            raise ImageError(
                f"the image {digest} is not in {self.folder}; build and push it again"
            ) from error
        return Image(
            digest=digest,
            folder=folder,
            base=document["base"],
            environment=document["environment"],
            workdir=document["workdir"],
            entrypoint=tuple(document["entrypoint"]),
            command=tuple(document["command"]),
            labels=document["labels"],
            owned=tuple(document["owned"]),
            assumed=tuple(document["assumed"]),
        )

    def tag(self, name: str, digest: str) -> None:
        """Let `name` (repository:tag) mean that image."""
        names = self.folder / "names"
        names.mkdir(parents=True, exist_ok=True)
        target = names / f"{hashlib.sha256(name.encode()).hexdigest()}.json"
        scratch = target.with_suffix(f".{os.getpid()}")
        scratch.write_text(json.dumps({"name": name, "digest": digest}))
        scratch.replace(target)

    def find(self, name: str) -> str | None:
        """The digest that a name or a digest stands for, None if unknown."""
        if _DIGEST.fullmatch(name):
            return name if self._path(name).exists() else None
        target = self.folder / "names" / f"{hashlib.sha256(name.encode()).hexdigest()}.json"
        return str(json.loads(target.read_text())["digest"]) if target.exists() else None

    def names(self) -> list[tuple[str, str]]:
        """All (name, digest), sorted."""
        entries = (json.loads(path.read_text()) for path in (self.folder / "names").glob("*.json"))
        return sorted((str(entry["name"]), str(entry["digest"])) for entry in entries)

    def _path(self, digest: str) -> Path:
        return self.folder / digest.replace(":", "-")


def _context_files(context: Path, dockerfile: Path) -> Iterator[str]:
    own, shared = dockerfile.with_name(dockerfile.name + ".dockerignore"), context / ".dockerignore"
    ignore_file = own if own.exists() else shared
    rules = IgnoreFile(ignore_file.read_text().splitlines() if ignore_file.exists() else ())
    for folder, _, names in os.walk(context):
        for name in names:
            path = (Path(folder) / name).relative_to(context).as_posix()
            if not rules.ignores(path):
                yield path


def _stage(recipe: Recipe, context: Path, files: list[str], root: Path) -> list[str]:
    """Copy what COPY names into `root`; the sorted absolute paths that belong to the image alone."""
    root.mkdir(parents=True)
    owned = set(recipe.folders)
    for copy in recipe.copies:
        pairs = list(_pairs(copy, files, root))
        for source, destination in pairs:
            target = root / destination.lstrip("/")
            target.parent.mkdir(parents=True, exist_ok=True)
            _copy_file(context, source, target, copy)
        top = copy.destination
        owned |= {destination for _, destination in pairs} if top in SYSTEM_FOLDERS else {top}
    for folder in recipe.folders:
        (root / folder.lstrip("/")).mkdir(parents=True, exist_ok=True)
    parents = {str(parent) for path in owned for parent in PurePosixPath(path).parents}
    return sorted((owned | parents) - SYSTEM_FOLDERS)


def _pairs(copy: Copy, files: list[str], root: Path) -> Iterator[tuple[str, str]]:
    """Each file of the context that a COPY takes, with its absolute destination."""
    for source in copy.sources:
        pattern = str(PurePosixPath("/" + source)).lstrip("/")
        if ".." in PurePosixPath(pattern).parts:
            raise DockerfileError(copy.line, f"COPY {source} leaves the build context")
        found = False
        for path in files:
            tops = [str(p) for p in (*PurePosixPath(path).parents, PurePosixPath(path)) if str(p) != "."]
            top = (
                ""
                if pattern in {"", "."}
                else next((t for t in tops if compiled(pattern).fullmatch(t)), None)
            )
            if top is None:
                continue
            found = True
            inner = path[len(top) :].lstrip("/")
            into_folder = copy.is_folder or (root / copy.destination.lstrip("/")).is_dir()
            name = inner or (PurePosixPath(path).name if into_folder else "")
            yield path, f"{copy.destination.rstrip('/')}/{name}".rstrip("/")
        if not found:
            raise DockerfileError(copy.line, f"COPY {source}: no such file in the build context")


def _copy_file(context: Path, source: str, target: Path, copy: Copy) -> None:
    origin = context / source
    if origin.is_symlink() and not origin.resolve().is_relative_to(context.resolve()):
        raise DockerfileError(copy.line, f"COPY {source}: the link leaves the build context")
    if not origin.is_file():
        raise DockerfileError(copy.line, f"COPY {source}: not a regular file")
    if target.is_dir():
        raise DockerfileError(copy.line, f"COPY {source}: {copy.destination} is already a folder")
    shutil.copy2(origin, target)
    if copy.mode is not None:
        target.chmod(copy.mode)


def _digest(recipe: Recipe, root: Path) -> str:
    document = asdict(recipe)
    del document["copies"]  # what they copied is in the files; line numbers change nothing
    total = hashlib.sha256(json.dumps(document, sort_keys=True).encode())
    for path in sorted(path for path in root.rglob("*") if path.is_file()):
        executable = bool(path.stat().st_mode & 0o100)
        content = hashlib.sha256(path.read_bytes()).hexdigest()
        total.update(f"{path.relative_to(root).as_posix()}\0{executable}\0{content}\n".encode())
    return f"sha256:{total.hexdigest()}"

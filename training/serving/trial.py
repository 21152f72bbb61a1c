"""Loads a model in a process of its own first: what breaks the library that reads it ends that process only.

XGBoost and LightGBM trust the files they read: a changed byte ends the process (signal 11), and with it all
models of the server. A model that this process has loaded, and whose trees lead nowhere outside, is loaded by
the server; one that was tried before, to the byte, is not tried again.

A request waits for it, so it has the server's priority. What takes too long may be the machine's fault: it is
told to try again, and no model is called bad for it.
"""

from __future__ import annotations

import hashlib
import json
import os
import resource
import select
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

from training.common.manifest import ModelError, read_manifest

# Where the files are read by native code that does not check them.
TRIED = frozenset({"xgboost", "lightgbm"})
IDLE_SECONDS = 120.0  # then the process is ended, and its memory with it
TRIAL_SECONDS = 60.0
SPARE_BYTES = 2 * 1024**3
REMEMBERED = 10_000


class NotTriedError(Exception):
    """A model could not be tried now, which says nothing about it."""


class Trial:
    """Tries models, one at a time; may be called from any thread.

    Args:
        memory: bytes that a model may take.
        seconds: for a model, and for those before it.
        idle: seconds without a model, after which the process is ended.
    """

    def __init__(self, memory: int, *, seconds: float = TRIAL_SECONDS, idle: float = IDLE_SECONDS) -> None:
        self._memory, self._seconds, self._idle = memory, seconds, idle
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._timer: threading.Timer | None = None
        self._passed: dict[bytes, None] = {}

    def check(self, folder: Path) -> None:
        """Raises ModelError if the model in `folder` cannot be loaded, or ends what loads it.

        Raises NotTriedError if that could not be found out.
        """
        if read_manifest(folder).framework not in TRIED:
            return
        digest = _digest(folder)
        if digest in self._passed:
            return
        if not self._lock.acquire(timeout=self._seconds):
            raise NotTriedError(f"waited {self._seconds:g} s for others to be tried")
        try:
            if digest not in self._passed:
                self._check(folder)
                self._passed[digest] = None
                if len(self._passed) > REMEMBERED:
                    del self._passed[next(iter(self._passed))]
        finally:
            self._end_when_idle()
            self._lock.release()

    def _check(self, folder: Path) -> None:
        answer = self._ask(folder)
        if answer is None:  # it ended between two questions
            answer = self._ask(folder)
        if answer is None:
            raise NotTriedError("the process that tries models does not start")
        if answer["error"]:
            raise ModelError(answer["error"])

    def close(self) -> None:
        """End the process."""
        with self._lock:
            self._end()

    def _end_when_idle(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._process is not None:
            self._timer = timer = threading.Timer(self._idle, lambda: self._end_idle(timer))
            timer.daemon = True
            timer.start()

    def _end_idle(self, timer: threading.Timer) -> None:
        with self._lock:
            if self._timer is timer:  # else there was another model meanwhile
                self._end()

    def _ask(self, folder: Path) -> dict[str, Any] | None:
        process = self._process
        if process is None or process.poll() is not None:
            self._end()
            command = [sys.executable, "-m", "training.serving.trial", str(self._memory + SPARE_BYTES)]
            # Without a buffer: what a process that has ended did not read must not wait for its pipe's close.
            process = self._process = subprocess.Popen(
                command, bufsize=0, stdin=subprocess.PIPE, stdout=subprocess.PIPE
            )
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            process.stdin.write(json.dumps(str(folder)).encode() + b"\n")
        except BrokenPipeError:
            return None
        if not select.select([process.stdout], [], [], self._seconds)[0]:
            self._end()
            raise NotTriedError(f"took more than {self._seconds:g} s to load")
        line = process.stdout.readline()
        if line:
            answer: dict[str, Any] = json.loads(line)
            return answer
        code = process.wait()
        self._end()
        return {"error": f"ends the library that reads it (signal {-code})"} if code < 0 else None

    def _end(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            with process:  # waits, and closes its pipes
                pass


def _digest(folder: Path) -> bytes:
    digest = hashlib.sha256()
    for path in sorted(folder.iterdir()):
        if path.is_file():
            with path.open("rb") as stream:
                content = hashlib.file_digest(stream, "sha256").digest()
            digest.update(json.dumps(path.name).encode() + content)
    return digest.digest()


def main(limit: int) -> None:
    """Answer each folder on standard input with a line of JSON, until the server closes it."""
    from training.common.classifier import load_classifier  # with its library: only in that process
    from training.common.tabular_model import load

    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
    # The libraries print there, too.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    for line in sys.stdin.buffer:
        folder = Path(json.loads(line))
        error = ""
        try:
            manifest = read_manifest(folder)
            _check_trees(
                folder, manifest.framework, load_classifier(folder) if manifest.classes else load(folder)
            )
        except ModelError as refusal:
            error = str(refusal)
        except MemoryError:
            error = "takes more memory than all models together may"
        except Exception as failure:  # whatever it is, the model is not served
            error = f"cannot be loaded: {type(failure).__name__}: {' '.join(str(failure).split())[:200]}"
        answers.write(json.dumps({"error": error}) + "\n")
        answers.flush()


def _check_trees(folder: Path, framework: str, model: Any) -> None:
    from training.common.trees import check_lightgbm, check_xgboost

    if framework == "lightgbm":
        text = (folder / model.manifest.model).read_text(encoding="utf-8")
        check_lightgbm(text, len(model.manifest.features))
    else:
        check_xgboost(model.booster if hasattr(model, "booster") else model.predictor.booster)


if __name__ == "__main__":
    main(int(sys.argv[1]))

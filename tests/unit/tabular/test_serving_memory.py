"""Memory of models that are gone is the system's again."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path

from training.serving import memory, models
from training.serving.models import ModelStore

ROOT = Path(__file__).resolve().parents[3]
SCRIPT = """
import ctypes, psutil
from training.serving.memory import give_back, one_arena
one_arena()
library, process = ctypes.CDLL(None), psutil.Process()
library.malloc.restype, library.free.argtypes = ctypes.c_void_p, [ctypes.c_void_p]
taken = [library.malloc(8000) for _ in range(8000)]
for place in taken:
    ctypes.memset(place, 1, 8000)
last = library.malloc(8000)  # above them, so that the heap cannot shrink by itself
for place in taken:
    library.free(place)
before = process.memory_info().rss
give_back()
print(before - process.memory_info().rss)
"""


def test_freed_memory_is_given_back():
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], cwd=ROOT, capture_output=True, text=True, check=True, timeout=300
    )
    # Another C library has no such calls.
    assert int(done.stdout) > 30_000_000 or memory._glibc() is None


def test_without_those_calls_nothing_happens(monkeypatch):
    monkeypatch.setattr(memory, "_glibc", lambda: None)
    memory.one_arena()
    memory.give_back()


class Handler:
    batch_strategy = "MULTI_RECORD"


def test_a_model_is_freed_in_a_thread(tmp_path):
    freed = []

    class Large(Handler):
        def __del__(self):
            freed.append(threading.current_thread() is threading.main_thread())

    class Waits(ThreadPoolExecutor):
        """Its threads have done their work before the event loop goes on."""

        def submit(self, *work):
            done = super().submit(*work)
            wait([done])
            return done

    async def scenario():
        store = ModelStore(lambda _folder: Large(), 1000)
        await store.add("a", "u", tmp_path)
        store._threads = Waits(1)
        await store.remove("a")
        async with asyncio.timeout(60):
            while not freed:
                await asyncio.sleep(0.01)

    asyncio.run(scenario())
    assert freed == [False]


def test_memory_is_given_back_once_when_loads_have_ended(tmp_path, monkeypatch):
    given = []
    monkeypatch.setattr(models, "QUIET_SECONDS", 2.0)
    monkeypatch.setattr(models, "give_back", lambda: given.append(1))

    async def scenario():
        store = ModelStore(lambda _folder: Handler(), 1000)
        await store.add("a", "u", tmp_path)
        await store.remove("a")
        for name in ("b", "c"):
            await asyncio.sleep(0.1)
            await store.add(name, "u", tmp_path)
            assert not given
        async with asyncio.timeout(60):
            while not given:
                await asyncio.sleep(0.01)
        monkeypatch.setattr(models, "QUIET_SECONDS", 0.05)
        await store.add("d", "u", tmp_path)
        await asyncio.sleep(0.4)

    asyncio.run(scenario())
    assert given == [1]

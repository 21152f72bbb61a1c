"""What services' tasks are said to use."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import psutil

from localcloud.ecs.utilization import cpu_share, memory_share, usage

WORK = (
    "import time\nuntil = time.process_time() + 0.3\nwhile time.process_time() < until: pass\ntime.sleep(600)"
)


def test_shares_are_of_what_a_task_reserves() -> None:
    assert cpu_share({"cpu": "2048"}, 30.0, 60.0) == 25.0
    assert cpu_share({"cpu": "2048"}, -1.0, 60.0) == 0.0
    assert cpu_share({"cpu": "0"}, 30.0, 60.0) == 0.0
    assert cpu_share({"cpu": "256"}, 0.0, 0.0) == 0.0
    assert memory_share({"memory": "512"}, 128 * 1024 * 1024) == 25.0
    assert memory_share({"memory": "0"}, 1) == 0.0


def test_what_a_process_starts_counts_too() -> None:
    parent = f"import subprocess, sys\nsubprocess.run([sys.executable, '-c', {WORK!r}])"
    with subprocess.Popen([sys.executable, "-c", parent]) as process:
        try:
            deadline = time.monotonic() + 60
            while (found := usage({"task": [process.pid]})["task"]).seconds < 0.3:
                assert time.monotonic() < deadline, found
                time.sleep(0.05)
            assert found.memory > psutil.Process(process.pid).memory_info().rss
        finally:
            for child in psutil.Process(process.pid).children(recursive=True):
                child.kill()
            process.kill()


def test_what_has_ended_uses_nothing() -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait()
    found = usage({"gone": [process.pid], "none": []})
    assert {key: one.seconds for key, one in found.items()} == {"gone": 0.0, "none": 0.0}
    assert usage({"self": [os.getpid()]})["self"].seconds > 0

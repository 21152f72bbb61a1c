"""Where on the disk the folders of containers lie, which come and go with thousands of files.

ext4 keeps what a folder holds together. Without a journal it does not use a deleted file's inode again for
minutes: each new file passes over all that were deleted in its part of the disk. A job with 1,700 files, after
one whose folder is gone, took 0.6 to 1.6 s to write them, and takes 0.05 s in another part.
https://man7.org/linux/man-pages/man1/chattr.1.html (T); `recently_deleted` in Linux's fs/ext4/ialloc.c
"""

from __future__ import annotations

import os
import struct
import sys
import threading
import time
import uuid
from pathlib import Path

# linux/fs.h. The kernel reads and writes an int, whatever the size in the number says.
_GET_FLAGS, _SET_FLAGS = 0x80086601, 0x40086602
_TOP_OF_HIERARCHIES = 0x00020000
# Of a group of blocks, as mke2fs makes them: a hint alone.
_INODES = 8192
# `RECENTCY_MIN` and `RECENTCY_DIRTY`: how long such an inode is passed over.
_RECENT_S = 360.0
_TRIES = 8


class Places:
    """Makes folders in `folder`, each where little was deleted lately if the file system leaves a choice.

    Example:
        >>> place = places.make("job-algo-1")
        >>> places.leave(place)  # before it is deleted
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self._left: dict[int, float] = {}
        self._lock = threading.Lock()
        self._choice = _spread(folder)

    def make(self, name: str) -> Path:
        """A new folder whose name begins with `name`."""
        made: dict[Path, float] = {}
        while True:
            place = self._folder / f"{name}-{uuid.uuid4().hex[:8]}"
            place.mkdir(parents=True)
            made[place] = self._when_left(place)
            if not made[place] or len(made) == _TRIES:
                break
        best = min(made, key=made.__getitem__)
        for place in made.keys() - {best}:
            place.rmdir()
        return best

    def leave(self, place: Path) -> None:
        """Remember where a folder lay that is now deleted."""
        if self._choice and place.exists():
            with self._lock:
                self._left[_part(place)] = time.monotonic()

    def _when_left(self, place: Path) -> float:
        """When a folder was last deleted there, in seconds of a clock; 0 for not lately."""
        if not self._choice:
            return 0.0
        with self._lock:
            left = self._left.get(_part(place), -_RECENT_S)
        return left if time.monotonic() - left < _RECENT_S else 0.0


def _part(place: Path) -> int:
    return place.stat().st_ino // _INODES


def _spread(folder: Path) -> bool:
    """Have each new folder in `folder` put somewhere else on the disk; whether the file system can."""
    if sys.platform != "linux":
        return False
    import fcntl

    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        flags: int = struct.unpack_from("i", fcntl.ioctl(handle, _GET_FLAGS, bytes(8)))[0]
        fcntl.ioctl(handle, _SET_FLAGS, struct.pack("q", flags | _TOP_OF_HIERARCHIES))
        return True
    except OSError:
        return False
    finally:
        os.close(handle)

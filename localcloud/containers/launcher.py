"""Turns itself into the process of one container. Started as `python -I -S launcher.py '<JSON>'`.

Everything that must happen between fork and exec happens here and not in a `preexec_fn`, which is not safe in
a process with threads. Only the standard library, and little of it: this is on the path of every container.
"""

import ctypes
import json
import os
import resource
import signal
import socket
import struct
import sys

CLONE_NEWNS, CLONE_NEWUTS, CLONE_NEWUSER, CLONE_NEWNET = 0x00020000, 0x04000000, 0x10000000, 0x40000000
MS_BIND, MS_REC, MS_PRIVATE = 0x1000, 0x4000, 0x40000
PR_SET_PDEATHSIG = 1
SIOCSIFFLAGS, IFF_UP = 0x8914, 0x1
EXIT_REFUSED = 125  # as `docker run` exits when the container could not be made

_libc = ctypes.CDLL(None, use_errno=True)


def _call(name: str, *arguments: object) -> None:
    if getattr(_libc, name)(*arguments) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")


def _mount(source: str, target: str, kind: str, flags: int, options: str = "") -> None:
    _call("mount", source.encode(), target.encode(), kind.encode(), ctypes.c_ulong(flags), options.encode())


def _bind(source: str, target: str) -> None:
    _mount(source, target, "", MS_BIND | MS_REC)


def separate(*, network: bool) -> None:
    """Own mounts and host name, own network if asked; for a user that is not root, in a user namespace."""
    flags = CLONE_NEWNS | CLONE_NEWUTS | (CLONE_NEWNET if network else 0)
    user, group = os.geteuid(), os.getegid()
    if user != 0:
        flags |= CLONE_NEWUSER
    _call("unshare", flags)
    if user != 0:
        for name, text in (("setgroups", "deny"), ("uid_map", f"0 {user} 1"), ("gid_map", f"0 {group} 1")):
            with open(f"/proc/self/{name}", "w") as file:  # noqa: PTH123 - pathlib costs 10 ms here
                file.write(text)
    _mount("none", "/", "", MS_REC | MS_PRIVATE)
    if network:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
            import fcntl

            fcntl.ioctl(control, SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", IFF_UP))


def place(folders: list[list[str]], scratch: str) -> None:
    """Mount folders where the program expects them; nothing is ever made on the machine itself.

    Where a target does not exist, the nearest folder above it is replaced by a copy that is made of mounts
    and has room for it; for one of the root's own, by a new root.

    Args:
        folders: source, target and, for folders that the container must not change, a folder for its changes.
        scratch: an empty folder.
    """
    for number, (source, target, changes) in enumerate(folders):
        above = target
        while not os.path.isdir(above):  # noqa: PTH112
            above = os.path.dirname(above)  # noqa: PTH120
        if above != target:
            room = f"{scratch}/{number}"
            os.mkdir(room)  # noqa: PTH102
            _copy_of_mounts(above, room)
            if above == "/":
                os.chroot(room)
                os.chdir("/")
            else:
                _bind(room, above)
            os.makedirs(target)  # noqa: PTH103
        if not changes or not _overlay(source, target, changes):
            _bind(source, target)


def _copy_of_mounts(folder: str, copy: str) -> None:
    _mount("tmpfs", copy, "tmpfs", 0)
    os.chmod(copy, 0o755)  # noqa: PTH101, S103 - as folders of a machine are
    for entry in os.scandir(folder):
        place = f"{copy}/{entry.name}"
        if entry.is_symlink():
            os.symlink(os.readlink(entry.path), place)  # noqa: PTH115, PTH211
        else:
            if entry.is_dir():
                os.mkdir(place)  # noqa: PTH102
            else:
                os.close(os.open(place, os.O_CREAT))
            _bind(entry.path, place)


def _overlay(source: str, target: str, changes: str) -> bool:
    """What the container writes goes to `changes`; False where the file system does not allow it."""
    os.makedirs(f"{changes}/work")  # noqa: PTH103
    os.makedirs(f"{changes}/upper")  # noqa: PTH103
    options = f"lowerdir={source},upperdir={changes}/upper,workdir={changes}/work"
    try:
        _mount("overlay", target, "overlay", 0, options)
    except OSError:
        return False
    return True


def prepare(settings: dict[str, object]) -> None:
    """Namespaces, mounts, limits, and the promise to die with the process that started this one."""
    if settings["namespaces"]:
        separate(network=bool(settings["isolate_network"]))
        hostname = str(settings["hostname"]).encode()
        _call("sethostname", hostname, len(hostname))
        if settings["hosts_file"]:
            _bind(str(settings["hosts_file"]), "/etc/hosts")
        folders = settings["folders"]
        assert isinstance(folders, list)
        place(folders, str(settings["scratch"]))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform == "linux":
        # Out of memory, a container dies before the cloud that reports it.
        with open("/proc/self/oom_score_adj", "w") as file:  # noqa: PTH123
            file.write("500")
        _call("prctl", PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != settings["parent"]:  # it died before the promise was made
        os.kill(os.getpid(), signal.SIGKILL)


def main() -> None:
    """Prepare, then become the program."""
    settings = json.loads(sys.argv[1])
    command = settings["command"]
    try:
        prepare(settings)
        os.chdir(settings["workdir"])
    except OSError as error:
        sys.stderr.write(f"the container could not be made: {error}\n")
        sys.exit(EXIT_REFUSED)
    # Python ignores SIGPIPE; programs expect the default.
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    try:
        os.execvp(command[0], command)  # noqa: S606 - no shell is the point
    except OSError as error:
        sys.stderr.write(f"exec: {command[0]}: {error.strerror}\n")
        sys.exit(127 if isinstance(error, FileNotFoundError) else 126)


if __name__ == "__main__":
    main()

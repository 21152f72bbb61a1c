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


def _mount(source: str, target: str, kind: str | None, flags: int) -> None:
    encoded = None if kind is None else kind.encode()
    _call("mount", source.encode(), target.encode(), encoded, ctypes.c_ulong(flags), None)


def _bind(source: str, target: str) -> None:
    _mount(source, target, None, MS_BIND | MS_REC)


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
    _mount("none", "/", None, MS_REC | MS_PRIVATE)
    if network:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
            import fcntl

            fcntl.ioctl(control, SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", IFF_UP))


def bind_folder(source: str, target: str, scratch: str) -> None:
    """Mount `source` at `target`; where that does not exist, in a copy of its parent made of mounts.

    Args:
        scratch: an empty folder, used when `target` must be made: nothing is ever made on the machine itself.
    """
    if not os.path.isdir(target):  # noqa: PTH112
        parent, name = os.path.split(target)
        _mount("tmpfs", scratch, "tmpfs", 0)
        for entry in os.scandir(parent):
            copy = f"{scratch}/{entry.name}"
            if entry.is_symlink():
                os.symlink(os.readlink(entry.path), copy)  # noqa: PTH115, PTH211
                continue
            if entry.is_dir():
                os.mkdir(copy)  # noqa: PTH102
            else:
                os.close(os.open(copy, os.O_CREAT))
            _bind(entry.path, copy)
        os.mkdir(f"{scratch}/{name}")  # noqa: PTH102
        _bind(scratch, parent)
    _bind(source, target)


def prepare(settings: dict[str, object]) -> None:
    """Namespaces, mounts, limits, and the promise to die with the process that started this one."""
    if settings["namespaces"]:
        separate(network=bool(settings["isolate_network"]))
        hostname = str(settings["hostname"]).encode()
        _call("sethostname", hostname, len(hostname))
        bind_folder(str(settings["base"]), "/opt/ml", str(settings["scratch"]))
        if settings["hosts_file"]:
            _bind(str(settings["hosts_file"]), "/etc/hosts")
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

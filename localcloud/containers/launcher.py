"""Turns itself into the process of one container. Started as `python -I -S launcher.py '<JSON>'`.

Everything that must happen between fork and exec happens here and not in a `preexec_fn`, which is not safe in
a process with threads. Only the standard library, and little of it: this is on the path of every container.
"""

import ctypes
import errno
import json
import os
import resource
import signal
import socket
import struct
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:  # `typing` and `collections.abc` cost milliseconds
    from collections.abc import Callable

CLONE_NEWNS, CLONE_NEWUTS, CLONE_NEWUSER, CLONE_NEWNET = 0x00020000, 0x04000000, 0x10000000, 0x40000000
CLONE_NEWPID = 0x20000000
MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_REMOUNT = 0x1, 0x2, 0x4, 0x8, 0x20
MS_BIND, MS_REC, MS_PRIVATE = 0x1000, 0x4000, 0x40000
PR_SET_PDEATHSIG, PR_CAPBSET_DROP = 1, 24
# CHOWN DAC_OVERRIDE FOWNER FSETID KILL SETGID SETUID SETPCAP NET_BIND_SERVICE NET_RAW AUDIT_WRITE SETFCAP:
# what Docker leaves to a container, without what makes devices or changes the root.
KEPT_CAPABILITIES = frozenset({0, 1, 3, 4, 5, 6, 7, 8, 10, 13, 29, 31})
LAST_CAPABILITY = 63
SIOCSIFFLAGS, IFF_UP = 0x8914, 0x1
HOLDS = b"holds\n"  # what the process says that holds a network
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


def separate(*, network: bool, processes: bool) -> None:
    """Own mounts and host name, own network and processes if asked; not being root, in a user namespace."""
    flags = CLONE_NEWNS | CLONE_NEWUTS | (CLONE_NEWNET if network else 0) | (CLONE_NEWPID if processes else 0)
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


def hold_network(parent: int) -> None:
    """Make a network, say so, and keep it until this process is killed, or the one that started it ends."""
    separate(network=True, processes=False)
    die_with_parent()
    if os.getppid() == parent:
        os.write(sys.stdout.fileno(), HOLDS)
        while True:
            signal.pause()


def join_network(pid: int) -> None:
    """Move into the network that a process holds.

    Not being root, its user namespace comes first: the network belongs to it.
    """
    spaces = [("net", CLONE_NEWNET)]
    if os.geteuid() != 0:
        spaces.insert(0, ("user", CLONE_NEWUSER))
    for name, flag in spaces:
        descriptor = os.open(f"/proc/{pid}/ns/{name}", os.O_RDONLY | os.O_CLOEXEC)
        _call("setns", descriptor, flag)
        os.close(descriptor)


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


def hide(folder: str, kept: list[list[str]]) -> None:
    """Lay an empty folder over `folder`, in which only some of what it holds can be seen.

    Args:
        folder: of the cloud, with its keys and everybody's data.
        kept: path below `folder`, and `rw` or `ro`.
    """
    opened = [os.open(path, os.O_PATH) for path, _ in kept]
    _mount("tmpfs", folder, "tmpfs", MS_NOSUID | MS_NODEV, "mode=755,size=64k")
    for (path, mode), source in zip(kept, opened, strict=True):
        handle = f"/proc/self/fd/{source}"
        if os.path.isdir(handle):  # noqa: PTH112
            os.makedirs(path, exist_ok=True)  # noqa: PTH103
        else:
            os.makedirs(os.path.dirname(path), exist_ok=True)  # noqa: PTH103, PTH120
            os.close(os.open(path, os.O_CREAT))
        _bind(handle, path)
        if mode == "ro":
            inherited = os.statvfs(path).f_flag & (MS_NOSUID | MS_NODEV | MS_NOEXEC)
            _mount("none", path, "", MS_BIND | MS_REMOUNT | MS_RDONLY | inherited)
        os.close(source)


def own_root(folder: str) -> None:
    """Make `folder`/root the same as `folder`: what lies above it is itself, as with the root folder.

    Containers start in theirs, and there are programs that write to `..` and read from `.`.
    """
    os.mkdir(f"{folder}/root")  # noqa: PTH102
    _bind(folder, f"{folder}/root")


def drop_capabilities() -> None:
    """Leave the program nothing with which it could undo its mounts or look into other processes."""
    for capability in range(LAST_CAPABILITY + 1):
        if capability not in KEPT_CAPABILITIES and (
            _libc.prctl(PR_CAPBSET_DROP, ctypes.c_ulong(capability), 0, 0, 0) != 0
            and ctypes.get_errno() != errno.EINVAL  # the kernel knows no such capability
        ):
            raise OSError(ctypes.get_errno(), "capabilities cannot be dropped")


def die_with_parent() -> None:
    """Be killed when the process that started this one ends."""
    if sys.platform == "linux":
        _call("prctl", PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def prepare(settings: dict[str, object]) -> None:
    """Limits, the promise to die with the process that started this one, namespaces, mounts."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform == "linux":
        # Out of memory, a container dies before the cloud that reports it.
        with open("/proc/self/oom_score_adj", "w") as file:  # noqa: PTH123
            file.write("500")
    if settings["namespaces"]:
        holder = settings["network_of"]
        if isinstance(holder, int):
            join_network(holder)
        separate(
            network=bool(settings["isolate_network"]) and holder is None,
            processes=bool(settings["processes"]),
        )
        hostname = str(settings["hostname"]).encode()
        _call("sethostname", hostname, len(hostname))
        if settings["hosts_file"]:
            _bind(str(settings["hosts_file"]), "/etc/hosts")
        folders, kept = settings["folders"], settings["kept"]
        assert isinstance(folders, list)
        assert isinstance(kept, list)
        place(folders, str(settings["scratch"]))
        if settings["hidden"]:
            hide(str(settings["hidden"]), kept)
        if root := settings["root"]:
            own_root(str(root))
    die_with_parent()
    if os.getppid() != settings["parent"]:  # it died before the promise was made
        os.kill(os.getpid(), signal.SIGKILL)


def watch_over(*, first_only: bool) -> None:
    """Return in the program's process; this one and the first of the new namespace wait for its end.

    The first process of a namespace takes everything in it along when it ends, whatever the program did to
    detach its children. It ignores the signals for which it has no handler, so the program is not it.

    Args:
        first_only: SIGTERM goes to the program alone, not to its children too.
    """
    watched = {signal.SIGTERM, signal.SIGCHLD}
    signal.pthread_sigmask(signal.SIG_BLOCK, watched)
    reading, writing = os.pipe()
    first = os.fork()
    if first:
        os.close(reading)
        os._exit(_wait(first, lambda: os.kill(first, signal.SIGTERM)))
    os.close(writing)
    die_with_parent()
    os.set_blocking(reading, False)
    try:
        os.read(reading, 1)
        os._exit(EXIT_REFUSED)  # the other end is closed: the parent died before the promise was made
    except BlockingIOError:
        os.setsid()
    _mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC)
    program = os.fork()
    if program:
        os._exit(_wait(program, lambda: _terminate(program, first_only)))
    os.setsid()
    signal.pthread_sigmask(signal.SIG_UNBLOCK, watched)


def _terminate(program: int, first_only: bool) -> None:
    try:
        (os.kill if first_only else os.killpg)(program, signal.SIGTERM)
    except ProcessLookupError:  # not yet a session of its own
        os.kill(program, signal.SIGTERM)


def _wait(child: int, terminate: "Callable[[], None]") -> int:
    """Exit code of `child`, as a shell gives it; reaps what else ends, and hands SIGTERM on."""
    while True:
        if signal.sigwait({signal.SIGTERM, signal.SIGCHLD}) == signal.SIGTERM:
            terminate()
            continue
        while True:
            try:
                process, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                process = 0
            if process == child:
                code = os.waitstatus_to_exitcode(status)
                return 128 - code if code < 0 else code
            if process == 0:
                break


def main() -> None:
    """Prepare, then become the program."""
    settings = json.loads(sys.argv[1])
    if settings.get("holds"):
        try:
            return hold_network(settings["parent"])
        except OSError as error:
            sys.exit(f"the network could not be made: {error}")
    command = settings["command"]
    try:
        prepare(settings)
        if settings["processes"]:
            watch_over(first_only=bool(settings["stop_first_only"]))
        if settings["namespaces"]:
            drop_capabilities()
        os.chdir(settings["workdir"])
    except OSError as error:
        sys.stderr.write(f"the container could not be made: {error}\n")
        sys.stderr.flush()
        os._exit(EXIT_REFUSED)
    # Python ignores SIGPIPE; programs expect the default.
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    try:
        os.execvp(command[0], command)  # noqa: S606 - no shell is the point
    except OSError as error:
        sys.stderr.write(f"exec: {command[0]}: {error.strerror}\n")
        sys.exit(127 if isinstance(error, FileNotFoundError) else 126)


if __name__ == "__main__":
    main()

"""The first process of a host: runs its user data, then the commands that SSM sends. Started as a script.

It asks the cloud through the desk (`desk.py`), and ends when that is gone, with all that runs on the host.
Only the standard library: hosts start with it.
"""

import base64
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading

# Of what a command printed, as SSM shows it.
# https://docs.aws.amazon.com/systems-manager/latest/APIReference/API_GetCommandInvocation.html
MOST_OUT, MOST_ERR = 24_000, 8_000


class Agent:
    """Talks to the desk over one connection.

    Args:
        channel: with lines of JSON in both directions.
        bash: the shell; Amazon Linux's `sh` is bash.
    """

    def __init__(self, channel: socket.socket, bash: str) -> None:
        self._channel, self._bash = channel, bash
        self._lock = threading.Lock()

    def say(self, **message: object) -> None:
        """One line to the desk."""
        with self._lock:
            self._channel.sendall(json.dumps(message).encode() + b"\n")

    def serve(self, token: str) -> None:
        """Until the desk closes."""
        self.say(token=token, program="agent")
        with self._channel.makefile("r", encoding="utf-8") as lines:
            for line in lines:
                order = json.loads(line)
                if "user_data" in order:
                    self.say(user_data=self._user_data(base64.b64decode(order["user_data"])))
                else:
                    threading.Thread(target=self._command, args=(order,), daemon=True).start()

    def _user_data(self, content: bytes) -> int:
        """Its exit code; as cloud-init does, content without `#!` is none for a program."""
        if not content.startswith(b"#!"):
            return 0
        with tempfile.NamedTemporaryFile(prefix="user-data-", delete=False) as file:
            file.write(content)
        os.chmod(file.name, 0o700)  # noqa: PTH101
        return subprocess.call([file.name], stdin=subprocess.DEVNULL)

    def _command(self, order: dict[str, object]) -> None:
        with tempfile.TemporaryDirectory(prefix="ssm-") as folder:
            script, out, err = (f"{folder}/{name}" for name in ("script.sh", "stdout", "stderr"))
            with open(script, "w", encoding="utf-8") as file:  # noqa: PTH123
                file.write(str(order["script"]))
            with open(out, "wb") as to_out, open(err, "wb") as to_err:  # noqa: PTH123
                # Files, not pipes: a program in the background may keep them open after the end.
                process = subprocess.Popen(
                    ["sh", script],
                    executable=self._bash,
                    stdin=subprocess.DEVNULL,
                    stdout=to_out,
                    stderr=to_err,
                    start_new_session=True,
                )
            timed_out = False
            try:
                code = process.wait(float(str(order["seconds"])))
            except subprocess.TimeoutExpired:
                timed_out = True
                os.killpg(process.pid, signal.SIGKILL)
                code = process.wait()
            code = 128 - code if code < 0 else code
            self.say(
                command=order["command"],
                code=code,
                timed_out=timed_out,
                out=_start(out, MOST_OUT),
                err=_start(err, MOST_ERR),
            )


def _start(path: str, most: int) -> str:
    with open(path, "rb") as file:  # noqa: PTH123
        return file.read(most).decode("utf-8", "replace")


def main() -> None:
    """Arguments: the desk's address without its first character, the token's variable, bash."""
    address, variable, bash = sys.argv[1:]
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as channel:
        channel.connect(b"\0" + address.encode())
        Agent(channel, bash).serve(os.environ[variable])


if __name__ == "__main__":
    main()

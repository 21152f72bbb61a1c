"""`docker`, `shutdown`, `systemctl` and `dnf` of a host: each asks the desk. Started as a script.

Only the standard library: scripts call them often.
"""

import json
import os
import socket
import sys


def main() -> int:
    """Arguments: the desk's address without its first character, the token's variable, program, its own."""
    address, variable, program, *arguments = sys.argv[1:]
    given = sys.stdin.read() if "--password-stdin" in arguments else ""
    request = {
        "token": os.environ.get(variable, ""),
        "program": program,
        "arguments": arguments,
        "stdin": given,
    }
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as channel:
        channel.connect(b"\0" + address.encode())
        channel.sendall(json.dumps(request).encode() + b"\n")
        with channel.makefile("r", encoding="utf-8") as lines:
            for line in lines:
                answer = json.loads(line)
                if "code" in answer:
                    return int(answer["code"])
                for name, stream in (("out", sys.stdout), ("err", sys.stderr)):
                    if answer.get(name):
                        stream.write(answer[name])
                        stream.flush()
    return 1  # the host ends


if __name__ == "__main__":
    sys.exit(main())

"""`python -m benchmarks.https_responder FOLDER`: SageMaker and DynamoDB over TLS that answer at once.

Prints `PORT CA_BUNDLE`. Any endpoint's answer is one prediction, any item is a model that serves version 3.
"""

from __future__ import annotations

import json
import socket
import ssl
import sys
import threading
from pathlib import Path

from localcloud import tls

PREDICTION = b'{"predictions":[12.345678710937500]}'
_SERVING = {
    "version": {"N": "3"},
    "artifact": {"S": "m/3-0123456789ab.tar.gz"},
    "since": {"S": "2026-01-01T00:00:00+00:00"},
}
_ITEM = json.dumps({"Item": {"group": {"S": "m"}, "serving": {"M": _SERVING}}}).encode()


def _answer(kind: bytes, body: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\ncontent-type: %b\r\ncontent-length: %d\r\n\r\n%b" % (kind, len(body), body)


_PREDICTED = _answer(b"application/json", PREDICTION)
_READ = _answer(b"application/x-amz-json-1.0", _ITEM)


def _talk(connection: ssl.SSLSocket) -> None:
    received = b""
    try:
        while chunk := connection.recv(65536):
            received += chunk
            head, end, rest = received.partition(b"\r\n\r\n")
            if not end:
                continue
            length = next(
                int(line.split(b":")[1])
                for line in head.lower().split(b"\r\n")
                if line.startswith(b"content-length")
            )
            if len(rest) >= length:
                received = rest[length:]
                connection.sendall(_PREDICTED if head.startswith(b"POST /endpoints/") else _READ)
    except OSError:
        return  # the client is gone
    finally:
        connection.close()


def main(folder: Path) -> None:
    files = tls.ensure(folder, "us-east-1")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(files.certificate, files.key)
    listener = socket.create_server(("127.0.0.1", 0))
    print(listener.getsockname()[1], files.bundle, flush=True)
    while True:
        accepted, _address = listener.accept()
        accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection = context.wrap_socket(accepted, server_side=True)
        threading.Thread(target=_talk, args=(connection,), daemon=True).start()


if __name__ == "__main__":
    main(Path(sys.argv[1]))

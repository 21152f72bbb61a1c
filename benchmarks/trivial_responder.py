"""`python -m benchmarks.trivial_responder PORT`: answers any request with the same bytes."""

from __future__ import annotations

import select
import socket
import sys

BODY = b'{"predictions": [12.345678710937500]}'
ANSWER = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(BODY) + BODY


def main(port: int) -> None:
    listener = socket.create_server(("127.0.0.1", port))
    poll = select.epoll()
    poll.register(listener.fileno(), select.EPOLLIN)
    made: dict[int, socket.socket] = {}
    while True:
        for number, _event in poll.poll():
            if number == listener.fileno():
                accepted, _address = listener.accept()
                accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                made[accepted.fileno()] = accepted
                poll.register(accepted.fileno(), select.EPOLLIN)
            elif made[number].recv(65536):
                made[number].sendall(ANSWER)
            else:
                poll.unregister(number)
                made.pop(number).close()


if __name__ == "__main__":
    main(int(sys.argv[1]))

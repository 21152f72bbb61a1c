"""Where programs of a host reach the cloud that runs it. Read by programs without the rest of the cloud."""

# Of a socket without a file: those are of one network, and so of one host.
DESK = "\0modelyard-host"
# Its programs know it, its containers do not, as on EC2 these do not see Docker's socket.
TOKEN_VARIABLE = "MODELYARD_HOST_TOKEN"  # noqa: S105 - its name

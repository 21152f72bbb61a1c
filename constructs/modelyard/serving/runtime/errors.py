"""What may go wrong, by what follows from it."""


class DeployError(Exception):
    """This version cannot serve, or not now; what serves goes on. The message goes into the record."""


class UnreadableError(Exception):
    """The registry does not answer: all stays as it is. The message goes into the record."""


class OutdatedError(Exception):
    """What was read is no longer so; read again."""


class ReconcileError(Exception):
    """A group is not as the registry wants it; raised so that retry, dead-letter queue and alarm see it."""

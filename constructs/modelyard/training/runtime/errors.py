"""Exceptions whose message is meant for the person whose job it is."""


class RequestError(Exception):
    """A request cannot become a job; the message says what is wrong and what to do."""


class TransitionError(Exception):
    """A job cannot go from its state to the one asked for."""


class ContentionError(Exception):
    """Others kept changing the record; whoever asked may ask again."""


class MissingError(Exception):
    """There is no job of that name."""


class RefusedError(Exception):
    """What was asked of ECS is wrong and would be refused again."""

"""The one exception whose message is meant for the person who deploys."""


class PipelineError(Exception):
    """The pipeline cannot become what CloudFormation wants; the message says what is wrong and where."""

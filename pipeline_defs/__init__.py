"""SageMaker pipeline definitions: built with the SageMaker SDK, committed as JSON, read by the stacks."""

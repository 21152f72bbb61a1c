"""Limits that several functions are measured by."""

# SageMaker gives a model 60 s to answer, its download included when it is cold; waiting less than that would
# cut off answers that still come.
ANSWER_SECONDS = 70

# Of a canary, which has another version to fall back on: new attempts start for the first, each waits for the
# second, and all of it ends within the third, connecting included.
CANARY_RETRY_SECONDS = 5
CANARY_ANSWER_SECONDS = 20
CANARY_SECONDS = 30

# Of a body that InvokeEndpoint takes.
INVOKE_BYTES = 6_291_456

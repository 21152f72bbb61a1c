"""Limits that several functions are measured by."""

# SageMaker gives a model 60 s to answer, its download included when it is cold; waiting less than that would
# cut off answers that still come.
ANSWER_SECONDS = 70

"""SageMaker Pipelines: definitions are checked, stored and run, step by step, as AWS documents it.

The logic (definition, expressions, conditions, graph, parameters, caching, retries) is pure; the executor and
the steps are the only parts that touch the store, S3 and the SageMaker API.
"""

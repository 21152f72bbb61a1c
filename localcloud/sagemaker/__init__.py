"""The local SageMaker: AWS's API, jobs that run, endpoints that answer."""

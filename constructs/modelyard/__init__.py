"""CDK constructs that take a team from raw data to governed, autoscaled predictions on AWS.

One package per domain; import from the domain, for example `from modelyard.storage import DataBucket`.
"""

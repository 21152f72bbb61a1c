"""What the Lambda functions of this library share.

A function's archive holds this package and its domain's `runtime` under their own names, so that the same
imports work in Lambda and here; the packages above are empty in it, since those here hold constructs. This
file imports nothing, and nothing in here imports more than the standard library and boto3: constructs read
`limits` and the domains' `settings` at synth, without boto3.
"""

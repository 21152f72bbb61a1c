"""The model server: SageMaker's hosting contract, single- and multi-model, on bare ASGI.

Frameworks were measured and cost a third to a half of the throughput; the contract is eight routes.
"""

"""Errors of the ECS API, with the codes and the words that AWS uses."""

from __future__ import annotations

from localcloud.sagemaker.errors import ServiceError


def cluster_not_found() -> ServiceError:
    """There is no active cluster of that name."""
    return ServiceError("ClusterNotFoundException", "Cluster not found.")


def service_not_found() -> ServiceError:
    """There is no service of that name in the cluster."""
    return ServiceError("ServiceNotFoundException", "Service not found.")


def invalid(message: str) -> ServiceError:
    """A parameter that cannot be served."""
    return ServiceError("InvalidParameterException", message)


def client_error(message: str) -> ServiceError:
    """What the caller did wrong otherwise, for instance a definition that does not exist."""
    return ServiceError("ClientException", message)


def unsupported(what: str) -> ServiceError:
    """Something of AWS's that the local ECS does not do."""
    return ServiceError("UnsupportedFeatureException", f"The local ECS does not support {what}.")

"""Where MiniStack is laxer than AWS, or says other than AWS, and it matters to what runs here.

Each module closes one difference through `apply(...)`, in process, and names the AWS page behind it.
`tests/local/differences/` shows each one, also that MiniStack alone still behaves the
other way, so that a patch which is no longer needed is noticed.
"""

from __future__ import annotations

from localcloud.aws.audit import Audit
from localcloud.context import Cloud


def apply_before_import(audit: Audit) -> None:
    """Close differences in what MiniStack's services import by name; call before importing any of them."""
    from localcloud.aws.differences import gate, lambda_credentials, policy_variables, root_keys

    root_keys.apply()
    policy_variables.apply()
    gate.apply(audit)
    lambda_credentials.apply()


def apply(cloud: Cloud) -> None:
    """Close all others; call once MiniStack has its state, before the first request."""
    from localcloud.aws.differences import (
        alias_actions,
        alias_routing,
        async_failures,
        bounded_memory,
        custom_resources,
        dynamodb_encryption,
        dynamodb_keys,
        dynamodb_statements,
        dynamodb_table_resource,
        ecr,
        embedded_metrics,
        environment_logs,
        event_targets,
        execution_role,
        failure_targets,
        function_urls,
        iam_documents,
        lambda_concurrency,
        lambda_function_resource,
        lambda_limits,
        log_stream_actions,
        log_streams,
        notified_functions,
        pass_role,
        queue_batches,
        request_facts,
        resource_policies,
        s3_bucket_resource,
        s3_encryption,
        s3_permissions,
        s3_ranges,
        s3_storage,
        sagemaker_policies,
        session_requests,
        stack_roles,
        state_machine_role,
        template_conditions,
        template_properties,
        template_references,
    )

    alias_actions.apply()
    alias_routing.apply()
    async_failures.apply(cloud)
    bounded_memory.apply(cloud)
    custom_resources.apply()
    dynamodb_encryption.apply()
    dynamodb_keys.apply()
    dynamodb_statements.apply()
    dynamodb_table_resource.apply()
    ecr.apply()
    embedded_metrics.apply()
    environment_logs.apply()
    event_targets.apply()
    execution_role.apply()
    failure_targets.apply()
    function_urls.apply(cloud)
    iam_documents.apply()
    lambda_concurrency.apply()
    lambda_function_resource.apply()
    lambda_limits.apply()
    log_stream_actions.apply()
    log_streams.apply()
    notified_functions.apply()
    pass_role.apply()
    queue_batches.apply()
    request_facts.apply()
    resource_policies.apply()
    s3_bucket_resource.apply(cloud)
    s3_storage.apply()
    sagemaker_policies.apply()
    s3_encryption.apply()
    s3_permissions.apply()
    s3_ranges.apply()
    session_requests.apply()
    stack_roles.apply()
    state_machine_role.apply()
    template_conditions.apply()
    template_properties.apply()
    template_references.apply()

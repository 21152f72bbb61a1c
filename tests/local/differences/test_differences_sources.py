"""Whether MiniStack still is what the differences were written against."""

from __future__ import annotations

import base64
import hashlib
import inspect

import pytest

# Digests of the sources of what the differences wrap. A change means: read what MiniStack does now, decide
# whether the difference still exists, and only then write the new digest down.
_SOURCES = {
    "services.lambda_svc._invoke": "VMMTO6PFYLVJIEHV",
    "services.lambda_svc._get_func_record_for_ref": "JEVU57UPSA5A7MMB",
    "services.lambda_svc._effective_func_record_for_qualifier": "SND4XD6S3RGZYQPG",
    "services.lambda_svc._execute_function": "HTVRNVSIBIQWCYA3",
    "services.lambda_svc._emit_lambda_metrics": "HNTITV3463Y6JI2L",
    "services.lambda_svc._create_alias": "F7FABVMA5NLXJELA",
    "services.lambda_svc._update_alias": "AAL7NOKLAYXJAQVD",
    "services.cloudwatch.record_metric": "P53XX67FEOQMKRX6",
    "core.iam_actions._lambda_action": "DH5CJ26KIA5XV635",
    "services.cloudformation.engine._extract_deps": "NRXYJAIPJ7WPBZF6",
    "services.cloudformation.engine._topological_sort": "CPXJVMDI7QCIU4WC",
    "services.cloudformation.provisioners._lambda_alias_update": "OOEMXU2ARQPM6CG3",
    "core.iam_actions.extract_resource_arn": "QL2ROADJLRRP3STS",
    "core.iam_actions.request_tag_context": "2RVNXALOAJDXRBE2",
    "services.cloudwatch._put_metric_data": "4RVTGFGTCH5P7275",
    "services.lambda_svc._put_event_invoke_config": "4U5J7DF5TTY4C4TS",
    "services.lambda_svc._put_function_concurrency": "C4RVR6OLQKJO6VFY",
    "services.lambda_svc._put_provisioned_concurrency": "ZHYIIJDKXEF57P6X",
    "services.lambda_svc._reserved_concurrency": "5PWEWS52O5IRTAC5",
    "services.s3._put_bucket_policy": "ASLPDGF7KA7DVWS3",
    "services.s3._validate_notification_configs": "PAGQ75GW44RQORFQ",
    "services.s3._deliver_event_to_lambda": "BPORRM4JEXSOHI7S",
    "services.sns._deliver_to_lambda": "VJVYVDBRFYMCUGV4",
    "services.kms._create_key": "WJIJ6RFTC3SOU52W",
    "services.kms._put_key_policy": "TFVQQ2YWPJB2XA3R",
    "services.sqs._act_send_message": "HK6XMZIIZCC4MVLO",
    "services.cloudformation.provisioners._s3_bucket_policy_create": "H5NY5L3LKUCPSIUJ",
    "services.cloudformation.custom_resource.invoke_custom_resource": "2XDV62PVJPZHPUBM",
    "services.cloudformation.changesets._find_change_set": "WWB6NPPCXLLODRGJ",
    "services.cloudformation.handlers._resolve_stack": "J5ILIJBX3BTDCVEG",
    "services.cloudformation.stacks._validation_errors": "4B22RYUXS5KJRD3O",
    "app.call_service_handler_sync": "MTQNPZRVABMBNLGJ",
    "services.stepfunctions._invoke_aws_sdk_integration": "LGUXBYNHYBWL5R3N",
    "services.lambda_svc.handle_request": "6ISVX7TPSCVQUDCP",
    "services.sts.handle_request": "6LL4OLIB2ZEVAKIB",
    "services.iam._create_role": "7325766NGG6Q3SE2",
    "services.iam._put_role_policy": "GARWOM5NG554NIDI",
    "services.cloudformation.provisioners._iam_managed_policy_create": "6DXHTRNDK4QG2RCU",
    "services.cloudformation.provisioners._iam_policy_create": "42TQ6K4WDOXPQK4M",
    "services.cloudformation.provisioners._iam_role_create": "FV7D3DWFA7KEQAWK",
    "services.cloudformation.engine._validate_template_statics": "IB6IEJLRX62OLGCJ",
    "services.cloudformation.engine._evaluate_conditions": "4746FG3MAGSKPLU4",
    "services.eventbridge._events_log_list": "JY2LKGMDKQFZ6MFK",
    "services.cloudwatch._evaluate_alarm": "UCYKZU6UGK3RDJHA",
    "services.cloudwatch._dispatch_alarm_actions": "7T2HYDI6N3CKAORB",
    "services.cloudwatch._put_metric_alarm": "SU5GP72LWHXEXQ3P",
    "services.cloudformation.provisioners._cw_metric_alarm_record": "IVS7Z3PB5PZGNOJ7",
    "services.cloudwatch._set_alarm_state": "B6U75455DA2KKUYT",
    "services.cloudwatch._stat_value": "Z6VNSWMCGMZXSYCO",
    "services.cloudwatch._store_datum": "4AMU44A5K2HQ2YQJ",
    "services.cloudwatch._evaluate_all_alarms": "7A7YRZL7DTH4TLSQ",
    "services.cloudwatch._calc_stats": "RCPBX7EJ3SHTUNU4",
    "services.cloudwatch._metric_bucket": "XZRML4KURXAA4ZDT",
    "services.cloudwatch_logs._put_log_events": "VTKP3IZ2HBL5OPHW",
    "services.cloudwatch_logs._collect_query_records": "WFKPPXIRBETZMQJ5",
    "services.cloudwatch_logs._start_query": "IFIUISP2S4R5HRKQ",
    "core.iam_evaluator._conditions_met": "CW2MESQD4P7ROPFZ",
    "core.iam_evaluator._first_match": "3SLO6SCGY5BBE27R",
    "core.iam_evaluator.fnmatch_iam_cs": "ON3D5EX4VLJJ4VJX",
    "core.iam_actions.s3_additional_checks": "E3S6KYBNOQYUBEOP",
    "services.cloudwatch_logs._append_log_events": "4R6K46QVUTGEM2FV",
    "services.eventbridge._validate_target_arn": "CA4DJ7K4HP6HVPXQ",
    "services.s3._complete_multipart_upload": "TYWWIUW74EUKBQWE",
    "services.s3._head_object": "G2ODVBEC5LNTM5IZ",
    "services.s3._persist_object": "ZMZLNLUHA27PQAY7",
    "services.s3._upload_part_copy": "REEVBW3J6ICTSYA3",
    "services.stepfunctions._execute_task": "KPEBRUSH3OTCYSNY",
    "services.stepfunctions._invoke_resource": "VBOSX2NILBGOB6DG",
    "core.iam_evaluator.enforce": "Z5SLD3S3BGOI64C6",
    "core.iam_evaluator.is_root_access_key": "42XDWYZTKWJ4BV7R",
    "core.iam_evaluator.evaluate_resource_policy": "4SOOOFQ22Y7DKZZK",
    "core.lambda_runtime.execution_credentials": "Z75K3RHTS33OISRE",
    "services.dynamodb.handle_request": "CIA7FLEZHTQ2A4ZZ",
    "services.ecr._describe_images": "Q3D7PMTTVMRRMG25",
    "services.eventbridge._invoke_target": "KUHDASXQQCKWG7WU",
    "services.eventbridge._put_targets": "TUJJ7A6BRG2MSXOI",
    "services.eventbridge._dispatch_to_lambda": "D6K23OXNHKLGUW2X",
    "services.lambda_svc._create_esm": "2NIVEG5WZXJQ6ASO",
    "services.lambda_svc._emit_lambda_logs": "CEPPX4DJNC5SA5BH",
    "services.lambda_svc.invoke_async_with_retry": "FCP6JU6L2QEJWS5M",
    "services.cloudformation.provisioners._lambda_esm_create": "6BJ2J2GDBRKUHIKX",
    "services.lambda_svc._create_function": "4MD65TPQ3C2RZEVX",
    "services.lambda_svc._create_function_url_config": "5AQRI7C33AQIBOZN",
    "services.lambda_svc._update_config": "NGM4WBUV3LHABGPG",
    "services.s3._copy_object": "ZZD6OMUYX34KRFMX",
    "services.s3._create_multipart_upload": "H2GKFCHUQAMUNGMB",
    "services.s3._get_object": "MSWXA4PPB3CFVW4M",
    "services.s3._put_object": "Z5MGDZGZTGJEGAK2",
    "services.s3._resolve_sse_write_headers": "FL766WT5G6QFKZ3X",
    "services.stepfunctions._create_state_machine": "JPASGHO2NES5EHQR",
    "services.lambda_svc._route_async_failure": "YARTGHRTH54W37L5",
    "services.cloudformation.provisioners._ddb_create": "E52YNYAWY2J32JGE",
    "services.cloudformation.provisioners._ddb_global_table_create": "ZVY3IABE7UVRVFN3",
    "services.cloudformation.provisioners._lambda_create": "RMWPQDUWDWJO4HYX",
    "services.cloudformation.provisioners._s3_create": "I55XRI6LCUG73DGM",
    "services.cloudformation.provisioners._s3_delete": "KK6K6WN5LO6DSM2T",
    "services.cloudformation.stacks._runs_on_worker_thread": "EOKVKEIUD6CICCF3",
}


@pytest.mark.parametrize("name", _SOURCES)
def test_ministack_is_as_it_was_when_the_differences_were_found(name: str) -> None:
    import importlib

    module, _, attribute = name.rpartition(".")
    source = inspect.getsource(getattr(importlib.import_module(f"ministack.{module}"), attribute))
    digest = base64.b32encode(hashlib.sha256(source.encode()).digest()).decode()[:16]
    assert digest == _SOURCES[name], f"{name} changed; its digest is now {digest}"

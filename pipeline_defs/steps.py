"""Builders of the steps that the families share: what is encrypted, isolated, cached and stored where.

Every job gets the KMS key for its volume and outputs, no network, and its code as an archive from S3 (never a
local path: the SDK would upload it under a new name at each build, and no step would ever be a cache hit).
Outputs go to `pipelines/<pipeline>/<execution>/<step>/<output>` in the data bucket; SageMaker's cache keys do
not contain outputs, so the execution id in them costs no cache hit. They contain the inputs' addresses, not
the contents: data goes under a key that its content decides (`raw/<scenario>/<sha256>/...`) and is never
overwritten. Then equal data is a hit, and new data never is.
https://docs.aws.amazon.com/sagemaker/latest/dg/pipelines-caching.html

Volumes are encrypted with the KMS key. SageMaker refuses that for instance types with local NVMe storage
(m5d, c5d, r5d, g4dn, g5, p4d, ...), which encrypt in hardware: the parameters for instance types take types
without it. GPUs of today come with it, so training that may run on one is given no key for its volume:
SageMaker then encrypts what is no NVMe with a key of its own.
https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_ResourceConfig.html
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sagemaker.core.model_metrics import MetricsSource, ModelMetrics
from sagemaker.core.network import NetworkConfig
from sagemaker.core.processing import Processor
from sagemaker.core.shapes import (
    MetricDefinition,
    OutputDataConfig,
    ProcessingInput,
    ProcessingOutput,
    ProcessingS3Input,
    ProcessingS3Output,
    StoppingCondition,
)
from sagemaker.core.training.configs import Compute, InputData, Networking
from sagemaker.core.transformer import Transformer
from sagemaker.core.workflow.execution_variables import ExecutionVariables
from sagemaker.core.workflow.functions import Join
from sagemaker.core.workflow.properties import PropertyFile
from sagemaker.mlops.workflow.model_step import ModelStep
from sagemaker.mlops.workflow.retry import (
    SageMakerJobExceptionTypeEnum,
    SageMakerJobStepRetryPolicy,
    StepExceptionTypeEnum,
    StepRetryPolicy,
)
from sagemaker.mlops.workflow.steps import CacheConfig, ProcessingStep, TrainingStep, TransformStep
from sagemaker.serve.model_builder import ModelBuilder
from sagemaker.train import ModelTrainer

from pipeline_defs.session import BUCKET, GROUP, IMAGE, KMS_KEY, ROLE, OfflineSession, code_uri

CACHE = CacheConfig(enable_caching=True, expire_after="P30D")
# A call that is throttled, or meets a fault of the service: 5 s, doubling, for about five minutes.
CALL_RETRIES = [
    StepRetryPolicy(
        exception_types=[StepExceptionTypeEnum.SERVICE_FAULT, StepExceptionTypeEnum.THROTTLING],
        interval_seconds=5,
        max_attempts=6,
    )
]
# A job for which there is no instance now, in the zone or in the account's quota: a minute, doubling, for
# half an hour. What the job's own code does wrong is not retried.
JOB_RETRIES = [
    *CALL_RETRIES,
    SageMakerJobStepRetryPolicy(
        exception_types=[
            SageMakerJobExceptionTypeEnum.CAPACITY_ERROR,
            SageMakerJobExceptionTypeEnum.RESOURCE_LIMIT,
        ],
        interval_seconds=60,
        max_attempts=5,
    ),
]
INPUT_ROOT = "/opt/ml/processing/input"
OUTPUT_ROOT = "/opt/ml/processing/output"
REPORT = "report"


@dataclass(frozen=True, slots=True, kw_only=True)
class StepBuilder:
    """Builds the steps of the pipeline called `pipeline`."""

    pipeline: str
    session: OfflineSession = field(default_factory=OfflineSession)

    def output_uri(self, step: str, output: str) -> Join:
        parts = [
            f"s3://{BUCKET}/pipelines/{self.pipeline}",
            ExecutionVariables.PIPELINE_EXECUTION_ID,
            step,
            output,
        ]
        return Join(on="/", values=parts)

    def processing(
        self,
        name: str,
        *,
        module: str,
        code: str,
        arguments: Sequence[str],
        inputs: Mapping[str, Any],
        outputs: Sequence[str],
        instance_type: Any,
        instance_count: Any = 1,
        max_runtime_s: int = 3600,
        property_files: Sequence[PropertyFile] = (),
        depends_on: Sequence[ProcessingStep] = (),
    ) -> ProcessingStep:
        """A processing job that runs `module` from the code archive at placeholder `code`.

        Each input lies in `/opt/ml/processing/input/<name>`, each output is taken from
        `/opt/ml/processing/output/<name>`.
        """
        processor = Processor(
            role=ROLE,
            image_uri=IMAGE,
            instance_count=instance_count,
            instance_type=instance_type,
            entrypoint=["python", "-m", "training.container", "step"],
            volume_size_in_gb=30,
            volume_kms_key=KMS_KEY,
            output_kms_key=KMS_KEY,
            max_runtime_in_seconds=max_runtime_s,
            sagemaker_session=self.session,
            network_config=NetworkConfig(enable_network_isolation=True),
        )
        run = processor.run(
            inputs=[_input(key, uri) for key, uri in {"code": code_uri(code), **inputs}.items()],
            outputs=[self._output(name, output) for output in outputs],
            arguments=["--module", module, *arguments],
        )
        return ProcessingStep(
            name,
            step_args=run,
            cache_config=CACHE,
            retry_policies=JOB_RETRIES,
            property_files=list(property_files) or None,
            depends_on=list(depends_on) or None,
        )

    def training(
        self,
        name: str,
        *,
        module: str,
        code: str,
        channels: Mapping[str, Any],
        hyperparameters: Mapping[str, Any],
        metrics: Mapping[str, str],
        instance_type: Any,
        instance_count: Any,
        max_runtime_s: int = 3600,
        accelerated: bool = False,
    ) -> TrainingStep:
        """A training job that runs `module`.

        metrics: name -> regex over the job's log.
        accelerated: whether it may run on a GPU, so without the KMS key for its volume.
        """
        trainer = ModelTrainer(
            training_image=IMAGE,
            role=ROLE,
            sagemaker_session=self.session,
            base_job_name=name,
            compute=Compute(
                instance_type=instance_type,
                instance_count=instance_count,
                volume_size_in_gb=30,
                volume_kms_key_id=None if accelerated else KMS_KEY,
            ),
            networking=Networking(
                enable_network_isolation=True, enable_inter_container_traffic_encryption=True
            ),
            stopping_condition=StoppingCondition(max_runtime_in_seconds=max_runtime_s),
            output_data_config=OutputDataConfig(
                s3_output_path=self.output_uri(name, "model"), kms_key_id=KMS_KEY
            ),
            environment={"STEP_MODULE": module},
            hyperparameters=dict(hyperparameters),
        ).with_metric_definitions([MetricDefinition(name=key, regex=regex) for key, regex in metrics.items()])
        data = [
            InputData(channel_name=key, data_source=uri)
            for key, uri in {"code": code_uri(code), **channels}.items()
        ]
        return TrainingStep(
            name,
            step_args=trainer.train(input_data_config=data),
            cache_config=CACHE,
            retry_policies=JOB_RETRIES,
        )

    def register(
        self,
        name: str,
        *,
        model_data: Any,
        evaluation: Any,
        approval_status: Any,
        content_types: Sequence[str],
        response_types: Sequence[str],
        instance_types: Sequence[str],
        metadata: Mapping[str, Any],
        card: Any,
    ) -> ModelStep:
        """A new version in the model package group, the evaluation report as its model quality metrics.

        metadata: lineage: where the version comes from, text of at most 256 characters each.
        card: the content of its model card, see `pipeline_defs.model_card`.
        """
        statistics = MetricsSource(
            s3_uri=Join(on="/", values=[evaluation, "evaluation.json"]), content_type="application/json"
        )
        arguments = self._model(model_data).register(
            model_package_group_name=GROUP,
            content_types=list(content_types),
            response_types=list(response_types),
            inference_instances=list(instance_types),
            transform_instances=list(instance_types),
            approval_status=approval_status,
            model_metrics=ModelMetrics(model_statistics=statistics),
            customer_metadata_properties=dict(metadata),
        )
        request = arguments.create_model_package_request
        # By hand: the SDK wants the content as its own objects, which take no values of an execution.
        request["ModelCard"] = {"ModelCardContent": card, "ModelCardStatus": "Draft"}
        for container in request["InferenceSpecification"]["Containers"]:
            # Script-mode variables of AWS's own images, and the region that this was built for.
            container.pop("Environment", None)
        for empty in [key for key, value in request["ModelMetrics"].items() if not value]:
            del request["ModelMetrics"][empty]
        return ModelStep(name, step_args=arguments, retry_policies=CALL_RETRIES)

    def model(self, name: str, *, model_data: Any) -> ModelStep:
        """A SageMaker model without network, for the batch transform."""
        return ModelStep(name, step_args=self._model(model_data).build(), retry_policies=CALL_RETRIES)

    def transform(
        self,
        name: str,
        *,
        model_name: Any,
        data: Any,
        content_type: str,
        accept: str,
        lines: bool,
        instance_type: Any,
    ) -> TransformStep:
        """A batch transform of the objects below `data`: `<name>.out` for each of them.

        lines: whether an object is JSON Lines or CSV, with a line of output per line, in the same order; else
        an object is one request.
        Not cached: its model's name is new in every execution, so that no entry could ever match.
        """
        transformer = Transformer(
            model_name=model_name,
            instance_count=1,
            instance_type=instance_type,
            strategy="MultiRecord" if lines else "SingleRecord",
            assemble_with="Line" if lines else None,
            output_path=self.output_uri(name, "predictions"),
            output_kms_key=KMS_KEY,
            volume_kms_key=KMS_KEY,
            accept=accept,
            sagemaker_session=self.session,
        )
        split = "Line" if lines else None
        return TransformStep(
            name,
            step_args=transformer.transform(data=data, content_type=content_type, split_type=split),
            retry_policies=JOB_RETRIES,
        )

    def _model(self, model_data: Any) -> ModelBuilder:
        return ModelBuilder(
            image_uri=IMAGE,
            s3_model_data_url=model_data,
            role_arn=ROLE,
            sagemaker_session=self.session,
            instance_type="ml.m5.large",
            network=Networking(enable_network_isolation=True),
        )

    def _output(self, step: str, name: str) -> ProcessingOutput:
        return ProcessingOutput(
            output_name=name,
            s3_output=ProcessingS3Output(
                s3_uri=self.output_uri(step, name),
                local_path=f"{OUTPUT_ROOT}/{name}",
                # A job that fails uploads nothing at its end, and of refused data the report is all there is.
                s3_upload_mode="Continuous" if name == REPORT else "EndOfJob",
            ),
        )


def _input(name: str, uri: Any) -> ProcessingInput:
    return ProcessingInput(
        input_name=name,
        s3_input=ProcessingS3Input(
            s3_uri=uri,
            local_path=f"{INPUT_ROOT}/{name}",
            s3_data_type="S3Prefix",
            s3_input_mode="File",
            s3_data_distribution_type="FullyReplicated",
            s3_compression_type="None",
        ),
    )


def output_of(step: ProcessingStep, name: str) -> Any:
    """The S3 URI of a processing step's output `name`, known when the step has run (or was a cache hit)."""
    return step.properties.ProcessingOutputConfig.Outputs[name].S3Output.S3Uri


def lineage(code: Mapping[str, str]) -> dict[str, Any]:
    """What every version says of its origin: the execution, and each step's code, named by its content.

    code: placeholder -> module, as in the catalogue.
    """
    archives = {name.removesuffix("Code").lower() + "_code": code_uri(name) for name in code}
    return {"execution": ExecutionVariables.PIPELINE_EXECUTION_ARN, **archives}

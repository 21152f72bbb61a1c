"""The Lambda function behind `SageMakerPipeline`: keeps one SageMaker pipeline as CloudFormation wants it.

The handler is ``modelyard.pipeline.runtime.handler.handle``; its archive holds this folder and
`modelyard.runtime`. It imports the standard library and boto3 only. This file imports nothing: the construct
reads `settings.Settings` at synth without boto3.

Resource properties (all strings, as CloudFormation delivers them, or mappings of strings):
``PipelineName``, ``RoleArn``, ``BundleBucket``, ``BundleKey``, ``DefinitionSha256`` (hex digest of the
bundle's definition), ``ParallelismMax``; optional ``CodeBucket``, ``CodePrefix``, ``Values`` (placeholder to
value), ``ParameterDefaults``, ``Tags``, ``Description``. The physical id is the pipeline's name. Attributes:
``PipelineArn`` and ``DefinitionSha256`` (of the definition as SageMaker holds it, after substitution).

Actions it calls, on the pipeline's ARN: sagemaker Create/Update/Describe/DeletePipeline,
ListPipelineExecutions, AddTags, ListTags, DeleteTags; on its executions: StopPipelineExecution;
iam:PassRole on the execution role; s3:GetObject on the bundle, s3:PutObject on the code.
"""

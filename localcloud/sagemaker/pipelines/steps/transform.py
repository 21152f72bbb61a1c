"""Transform steps: a transform job, whose Describe answer is what later steps refer to."""

from localcloud.sagemaker.pipelines.steps.context import StepContext, StepResult
from localcloud.sagemaker.pipelines.steps.jobs import JobType, run_job

_JOB = JobType(noun="TransformJob", kind="transform-job")


def run_transform(context: StepContext) -> StepResult:
    """Run a transform job, see https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_CreateTransformJob.html."""
    return run_job(_JOB, context)

"""Processing steps: a processing job, whose Describe answer is what later steps refer to."""

from localcloud.sagemaker.pipelines.steps.context import StepContext, StepResult
from localcloud.sagemaker.pipelines.steps.jobs import JobType, run_job

_JOB = JobType(noun="ProcessingJob", kind="processing-job")


def run_processing(context: StepContext) -> StepResult:
    """Run a processing job, see https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_CreateProcessingJob.html."""
    return run_job(_JOB, context)

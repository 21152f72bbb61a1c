"""Training steps: a training job, whose Describe answer is what later steps refer to."""

from localcloud.sagemaker.pipelines.steps.context import StepContext, StepResult
from localcloud.sagemaker.pipelines.steps.jobs import JobType, run_job

_JOB = JobType(noun="TrainingJob", kind="training-job")


def run_training(context: StepContext) -> StepResult:
    """Run a training job, see https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_CreateTrainingJob.html."""
    return run_job(_JOB, context)

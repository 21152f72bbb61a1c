"""Model steps: a model, ready for transform jobs and endpoints."""

from localcloud.sagemaker.pipelines.steps.context import StepContext, StepResult


def run_model(context: StepContext) -> StepResult:
    """Create a model, see https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_CreateModel.html."""
    arguments = context.arguments()
    name = context.new_name(arguments.get("ModelName"))
    request = {**arguments, "ModelName": name, "Tags": context.tags(arguments)}
    metadata = {"Model": {"Arn": context.call("CreateModel", request)["ModelArn"]}}
    context.record.executing(metadata)
    return StepResult(properties=context.call("DescribeModel", {"ModelName": name}), metadata=metadata)

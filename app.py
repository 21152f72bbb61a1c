"""Entry point of the CDK CLI: reads one environment, instantiates the stacks."""

from __future__ import annotations

import gc
import os
import sys

from stacks import quick_start

if __name__ == "__main__":
    warm_up = quick_start.begin()

import aws_cdk as cdk

from pipeline_defs.catalog import StaleDefinitionError
from stacks.access_stack import AccessStack
from stacks.data_stack import DataStack
from stacks.environments import Environment, EnvironmentSelectionError, choose
from stacks.inference_stack import InferenceStack
from stacks.pipeline_stack import PipelineStack
from stacks.serving_stack import ServingStack
from stacks.training_settings import add_training


def compose(app: cdk.App, environment: Environment) -> None:
    """Every stack of one environment, and the rules that all of them must keep."""
    data = DataStack(app, "Data", environment=environment).data
    pipelines = PipelineStack(app, "Pipelines", environment=environment, data=data)
    serving = ServingStack(app, "Serving", environment=environment, data=data, pipelines=pipelines)
    inference = InferenceStack(app, "Inference", environment=environment, data=data, serving=serving)
    training = add_training(app, environment, data=data, pipelines=pipelines, alarm_topic=serving.alarm_topic)
    AccessStack(
        app,
        "Access",
        environment=environment,
        data=data,
        pipelines=pipelines,
        serving=serving,
        inference=inference.inference,
        training=training,
    )
    # Asked for by cdk.json, for every `cdk synth`, `diff` and `deploy`; it costs as much as `import aws_cdk`.
    if app.node.try_get_context("cdk-nag") in (True, "true"):
        from cdk_nag import AwsSolutionsChecks

        cdk.Validations.of(app).add_plugins(AwsSolutionsChecks(app))


def main() -> None:
    app = cdk.App(
        # It takes longer than all the rest: `make test` asks for it, once.
        builtin_cloud_formation_validation=os.environ.get("CDK_VALIDATION") == "true",
        # A tenth of a synth, for a file that nothing reads and for traces that end in Node, not in this code.
        tree_metadata=False,
        stack_traces=False,
    )
    try:
        environment = choose(app.node.get_all_context())
        if environment.training:
            quick_start.load_training()
        compose(app, environment)
    # ValueError is how the constructs refuse what they are given, each with a message that says what to do.
    except (EnvironmentSelectionError, StaleDefinitionError, ValueError) as error:
        sys.exit(f"modelyard: {error}")
    app.synth()
    gc.freeze()  # nor does collecting pay at its end


if __name__ == "__main__":
    warm_up.join()
    main()

"""The pipeline's custom resource through its life, against SageMaker in memory."""

import contextlib
import hashlib
import json
import re

import pytest
from botocore.exceptions import ClientError
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from pipeline_runtime.bundle import DEFINITION, read
from pipeline_runtime.errors import PipelineError
from pipeline_runtime.patience import patiently
from pipeline_runtime.request import LOGICAL_ID_TAG, STACK_TAG, client_request_token

from modelyard.archives import zip_of
from tests.unit.pipeline_world import ROLE, CrashError, World, client_error


@pytest.fixture
def world():
    return World()


def test_creates_with_everything_in_one_call(world):
    answer = world.create()
    pipeline = world.sagemaker.pipelines["loans"]
    assert answer["PhysicalResourceId"] == "loans"
    assert answer["Data"]["PipelineArn"] == pipeline["PipelineArn"]
    stored = pipeline["PipelineDefinition"].encode()
    assert answer["Data"]["DefinitionSha256"] == hashlib.sha256(stored).hexdigest()
    assert len(json.dumps(answer)) < 4096
    assert pipeline["RoleArn"] == ROLE
    assert pipeline["PipelineDescription"] == "Loans"
    assert pipeline["ParallelismConfiguration"] == {"MaxParallelExecutionSteps": 4}
    assert world.tags() == {"team": "risk", STACK_TAG: "app", LOGICAL_ID_TAG: "Pipeline"}
    assert world.sagemaker.calls == ["DescribePipeline", "CreatePipeline"]


def test_repeated_create_is_the_same_create(world):
    event = world.event("Create", world.properties())
    assert world.send(event) == world.send(event)
    assert list(world.sagemaker.pipelines) == ["loans"]


def test_update_without_change_writes_nothing(world):
    world.create()
    world.sagemaker.calls.clear()
    same = world.properties()
    world.send(world.event("Update", same, old=same, physical_id="loans"))
    assert set(world.sagemaker.calls) == {"DescribePipeline", "ListTags"}


@pytest.mark.parametrize(
    ("changes", "member", "value"),
    [
        ({"ParallelismMax": "9"}, "ParallelismConfiguration", {"MaxParallelExecutionSteps": 9}),
        ({"Description": ""}, "PipelineDescription", ""),
        ({"RoleArn": ROLE + "2"}, "RoleArn", ROLE + "2"),
    ],
)
def test_update_changes_what_changed(world, changes, member, value):
    world.create()
    new = world.properties(**changes)
    world.send(world.event("Update", new, old=world.properties(), physical_id="loans"))
    assert world.sagemaker.pipelines["loans"][member] == value


def test_update_removes_dropped_tags_and_keeps_foreign_ones(world):
    world.create()
    world.tags()["cost-centre"] = "42"
    new = world.properties(Tags={"owner": "ml"})
    world.send(world.event("Update", new, old=world.properties(), physical_id="loans"))
    assert world.tags() == {"owner": "ml", "cost-centre": "42", STACK_TAG: "app", LOGICAL_ID_TAG: "Pipeline"}


def test_rename_makes_a_new_one_and_clean_up_deletes_the_old(world):
    world.create()
    old, new = world.properties(), world.properties(name="loans-2")
    answer = world.send(world.event("Update", new, old=old, physical_id="loans"))
    assert answer["PhysicalResourceId"] == "loans-2"
    assert set(world.sagemaker.pipelines) == {"loans", "loans-2"}
    world.send(world.event("Delete", old, physical_id="loans"))
    assert set(world.sagemaker.pipelines) == {"loans-2"}


def test_rolled_back_rename_returns_to_the_old(world):
    world.create()
    old, new = world.properties(), world.properties(name="loans-2")
    world.send(world.event("Update", new, old=old, physical_id="loans"))
    answer = world.send(world.event("Update", old, old=new, physical_id="loans-2"))
    assert answer["PhysicalResourceId"] == "loans"
    world.send(world.event("Delete", new, physical_id="loans-2"))
    assert set(world.sagemaker.pipelines) == {"loans"}


def test_refuses_a_rename_in_case_only(world):
    world.create()
    with pytest.raises(PipelineError, match="differ only in case"):
        world.send(world.event("Update", world.properties(name="LOANS"), old={}, physical_id="loans"))


@pytest.mark.parametrize("failing", ["UpdatePipeline", "AddTags", "DeleteTags"])
def test_failed_update_leaves_the_old_definition_and_rolls_back(world, failing):
    world.create()
    before = dict(world.sagemaker.pipelines["loans"])
    old, new = world.properties(), world.properties(label="second", Tags={"owner": "ml"})
    world.sagemaker.fail[failing] = client_error("AccessDeniedException")
    with pytest.raises(ClientError):
        world.send(world.event("Update", new, old=old, physical_id="loans"))
    assert world.sagemaker.pipelines["loans"] == before
    world.sagemaker.fail.clear()
    world.send(world.event("Update", old, old=new, physical_id="loans"))
    assert world.sagemaker.pipelines["loans"] == before
    assert world.tags() == {"team": "risk", STACK_TAG: "app", LOGICAL_ID_TAG: "Pipeline"}


def test_invalid_definition_is_refused_before_anything_is_asked(world):
    world.create()
    world.sagemaker.calls.clear()
    broken = world.properties(Values={})
    with pytest.raises(PipelineError, match=r"Steps\[Train\].Arguments.RoleArn: no value for \$\{Role\}"):
        world.send(world.event("Update", broken, old=world.properties(), physical_id="loans"))
    assert world.sagemaker.calls == []


def test_missing_definition_is_named(world):
    with pytest.raises(
        PipelineError, match=r"cannot read s3://assets/gone\.zip: The specified key does not exist"
    ):
        world.create(BundleKey="gone.zip")


def code_of(world):
    return {key: body for (bucket, key), body in world.s3.objects.items() if bucket == "data"}


def test_code_is_kept_under_the_hash_of_its_content(world):
    world.create()
    ((key, body),) = code_of(world).items()
    assert key == f"code/{hashlib.sha256(body).hexdigest()}.zip"


def test_without_its_code_no_pipeline_is_made(world):
    world.s3.refuse_writes = True
    with pytest.raises(PipelineError, match=r"cannot write s3://data/code/[0-9a-f]{64}\.zip: not yours"):
        world.create()
    assert world.sagemaker.calls == []


def test_code_of_a_refused_definition_is_not_kept(world):
    with pytest.raises(PipelineError):
        world.create(Values={})
    assert code_of(world) == {}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"{}", "s3://assets/b.zip is no bundle of a pipeline"),
        (zip_of({"other.json": b"{}"}), "holds no definition.json"),
        (
            zip_of({DEFINITION: b"{}", f"code/{'0' * 64}.zip": b"x"}),
            "is not code/<SHA-256 of its content>.zip",
        ),
        (zip_of({DEFINITION: b"{}", "code/../../raw/x.zip": b"x"}), "code/../../raw/x.zip is not code/"),
        (zip_of({DEFINITION: b"{}"})[:-30], "is no bundle of a pipeline"),
    ],
)
def test_what_is_no_bundle_is_named(world, content, message):
    world.s3.objects["assets", "b.zip"] = content
    with pytest.raises(PipelineError, match=re.escape(message)):
        world.create(BundleKey="b.zip")
    assert world.sagemaker.calls == []


def test_foreign_pipeline_is_neither_adopted_nor_deleted(world):
    world.create()
    with pytest.raises(PipelineError, match="exists and is not this stack's"):
        world.send(world.event("Create", world.properties(label="theirs"), stack="other"))
    world.send(world.event("Delete", world.properties(), physical_id="loans", stack="other"))
    assert "first" in world.sagemaker.pipelines["loans"]["PipelineDefinition"]


def test_untagged_pipeline_is_not_adopted(world):
    world.create()
    world.tags().clear()
    with pytest.raises(PipelineError, match=f"{STACK_TAG}=app"):
        world.create()


def test_retained_pipeline_is_taken_back(world):
    world.create()
    answer = world.send(world.event("Create", world.properties(label="second"), logical_id="Moved"))
    assert answer["PhysicalResourceId"] == "loans"
    assert "second" in world.sagemaker.pipelines["loans"]["PipelineDefinition"]
    # The construct had moved: the clean-up of its old place must not take the pipeline along.
    world.send(world.event("Delete", world.properties(), physical_id="loans"))
    assert "loans" in world.sagemaker.pipelines
    world.send(world.event("Delete", world.properties(), physical_id="loans", logical_id="Moved"))
    assert world.sagemaker.pipelines == {}


def test_delete_stops_executions_first_and_waits(world):
    world.create()
    arn = "arn:aws:sagemaker:eu-west-1:000000000000:pipeline/loans/execution/"
    world.sagemaker.executions = {arn + "a": "Succeeded", arn + "b": "Executing", arn + "c": "Stopping"}
    world.sagemaker.stops_after = 3
    world.send(world.event("Delete", world.properties(), physical_id="loans"))
    assert world.sagemaker.pipelines == {}
    assert world.sagemaker.calls.count("StopPipelineExecution") == 1


def test_delete_gives_up_in_bounded_time_naming_the_execution(world):
    world.create()
    world.sagemaker.executions = {"arn:aws:sagemaker:eu-west-1:1:pipeline/loans/execution/stuck": "Executing"}
    world.sagemaker.stops_after = 10_000
    with pytest.raises(PipelineError, match=r"running executions after 60 s \(stuck\)"):
        world.send(world.event("Delete", world.properties(), physical_id="loans"))
    assert "loans" in world.sagemaker.pipelines


def test_delete_of_what_is_gone_succeeds(world):
    event = world.event("Delete", {"nonsense": 1}, physical_id="loans")
    assert world.send(event) == {"PhysicalResourceId": "loans"}
    world.create()
    world.send(event)
    assert world.send(event) == {"PhysicalResourceId": "loans"}


def test_pipeline_under_deletion_is_not_touched(world):
    world.create()
    world.sagemaker.pipelines["loans"]["PipelineStatus"] = "Deleting"
    with pytest.raises(PipelineError, match="is being deleted"):
        world.create()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"PipelineName": "no good"}, "PipelineName 'no good'"),
        ({"RoleArn": ""}, "RoleArn is missing"),
        ({"ParallelismMax": "0"}, "ParallelismMax '0'"),
        ({"ParallelismMax": 4}, "ParallelismMax is missing or not a string"),
        ({"Pararllelism": "4"}, "unknown property Pararllelism; known: PipelineName"),
        ({"Values": "x"}, "Values is not a mapping"),
        ({"ParameterDefaults": {"Count": 1}}, "ParameterDefaults.Count is not a string"),
        ({"Tags": {STACK_TAG: "x"}}, f"tag {STACK_TAG} is reserved"),
        ({"Description": {}}, "Description is not a string"),
    ],
)
def test_wrong_properties_are_named(world, changes, message):
    with pytest.raises(PipelineError, match=message):
        world.create(**changes)


def test_token_is_one_per_request_and_of_legal_length(world):
    first, second = (world.event("Create", {}) for _ in range(2))
    assert client_request_token(first) == client_request_token(dict(first))
    assert client_request_token(first) != client_request_token(second)
    assert 32 <= len(client_request_token(first)) <= 128


class Lifecycle(RuleBasedStateMachine):
    """CloudFormation's view of one resource: whatever is interrupted and repeated, the last event counts."""

    def __init__(self):
        super().__init__()
        self.world = World()
        self.physical_id = None
        self.properties = None

    def deliver(self, event, calls_until_crash):
        """Delivers the event until it is through, as Lambda's retries do; the first run may be cut short."""
        fake = self.world.sagemaker
        original = fake.calls

        class Counting(list):
            def append(self, operation):
                if len(self) >= calls_until_crash:
                    raise CrashError
                super().append(operation)

        fake.calls = Counting()
        with contextlib.suppress(CrashError):
            self.world.send(event)
        fake.calls = original
        return self.world.send(event)

    @precondition(lambda self: self.physical_id is None)
    @rule(label=st.sampled_from("abc"), crash=st.integers(0, 6))
    def create(self, label, crash):
        properties = self.world.properties(label=label)
        answer = self.deliver(self.world.event("Create", properties), crash)
        self.physical_id, self.properties = answer["PhysicalResourceId"], properties

    @precondition(lambda self: self.physical_id is not None)
    @rule(
        label=st.sampled_from("abc"),
        name=st.sampled_from(["loans", "loans-2"]),
        tags=st.dictionaries(st.sampled_from(["team", "owner"]), st.sampled_from(["x", "y"])),
        crash=st.integers(0, 8),
    )
    def update(self, label, name, tags, crash):
        new = self.world.properties(name=name, label=label, Tags=tags)
        event = self.world.event("Update", new, old=self.properties, physical_id=self.physical_id)
        answer = self.deliver(event, crash)
        if answer["PhysicalResourceId"] != self.physical_id:
            self.deliver(self.world.event("Delete", self.properties, physical_id=self.physical_id), crash)
        self.physical_id, self.properties = answer["PhysicalResourceId"], new

    @precondition(lambda self: self.physical_id is not None)
    @rule(crash=st.integers(0, 6))
    def delete(self, crash):
        self.deliver(self.world.event("Delete", self.properties, physical_id=self.physical_id), crash)
        self.physical_id = self.properties = None

    @invariant()
    def sagemaker_is_as_the_template_says(self):
        pipelines = self.world.sagemaker.pipelines
        assert set(pipelines) == ({self.physical_id} if self.physical_id else set())
        if self.physical_id:
            stored = json.loads(pipelines[self.physical_id]["PipelineDefinition"])
            bundle = self.world.s3.objects["assets", self.properties["BundleKey"]]
            source = json.loads(read(bundle, "here").definition)
            assert stored["Steps"][0]["Arguments"]["Label"] == source["Steps"][0]["Arguments"]["Label"]
            ours = {STACK_TAG: "app", LOGICAL_ID_TAG: "Pipeline"}
            assert self.world.tags(self.physical_id) == {**self.properties["Tags"], **ours}


TestLifecycle = Lifecycle.TestCase
TestLifecycle.settings = settings(max_examples=60, stateful_step_count=12, deadline=None)


class DelayedPermissions:
    """Time, and IAM that lets each client in only later."""

    def __init__(self, world, s3_after, sagemaker_after):
        self.now, self.world = 0.0, world
        stored, create = world.s3.get_object, world.sagemaker._create_pipeline
        world.s3.get_object = self.after(s3_after, "AccessDenied", stored)
        world.sagemaker._create_pipeline = self.after(sagemaker_after, "AccessDeniedException", create)

    def after(self, seconds, code, call):
        def guarded(**request):
            if self.now < seconds:
                raise client_error(code, "is not authorized to perform: iam:PassRole")
            return call(**request)

        return guarded

    def sleep(self, seconds):
        self.now += seconds

    def create(self):
        event = self.world.event("Create", self.world.properties())
        return patiently(lambda: self.world.send(event), seconds=60, sleep=self.sleep, clock=lambda: self.now)


@given(st.floats(0, 52), st.floats(0, 52))
def test_a_permission_that_comes_late_is_waited_for(s3_after, sagemaker_after):
    iam = DelayedPermissions(World(), s3_after, sagemaker_after)
    assert iam.create()["PhysicalResourceId"] == "loans"
    assert max(s3_after, sagemaker_after) <= iam.now <= max(s3_after, sagemaker_after) + 8


@given(st.floats(60, 1000, exclude_min=True), st.booleans())
def test_a_permission_that_does_not_come_is_named_in_bounded_time(seconds, reading):
    iam = DelayedPermissions(World(), seconds if reading else 0, seconds)
    expected = "cannot read s3://assets/.*iam:PassRole" if reading else "AccessDeniedException"
    with pytest.raises(PipelineError if reading else ClientError, match=expected):
        iam.create()
    assert 52 <= iam.now <= 60


def test_what_is_no_denial_is_not_repeated(world):
    pauses = []
    with pytest.raises(PipelineError, match="cannot read"):
        patiently(lambda: world.create(BundleKey="gone.zip"), seconds=60, sleep=pauses.append)
    assert pauses == []

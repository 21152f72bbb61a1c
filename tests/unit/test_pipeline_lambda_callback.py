"""Lambda and Callback steps without a cloud: outputs, answers, time limits, stops, tokens."""

from __future__ import annotations

import io
import json
import queue
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from localcloud.sagemaker.pipelines.callback_operations import (
    send_pipeline_execution_step_failure,
    send_pipeline_execution_step_success,
)
from localcloud.sagemaker.pipelines.definition import parse_definition
from localcloud.sagemaker.pipelines.execution import Execution, ExecutionScope
from localcloud.sagemaker.pipelines.graph import Status
from localcloud.sagemaker.pipelines.model import Definition, Step
from localcloud.sagemaker.pipelines.output_parameters import OutputError, listed, take_outputs
from localcloud.sagemaker.pipelines.problems import DefinitionError
from localcloud.sagemaker.pipelines.step_run import StepEnd, run_step
from localcloud.sagemaker.pipelines.steps import callback, function
from localcloud.sagemaker.pipelines.steps.context import StopSignal
from localcloud.sagemaker.service import Call
from localcloud.sagemaker.store import Store

ARN = "arn:aws:sagemaker:us-east-1:000000000000:pipeline/p/execution/abcdefghijkl"
FUNCTION = "arn:aws:lambda:us-east-1:000000000000:function:f"
QUEUE = "https://localhost:1/000000000000/q"


class Session:
    """Stands for the execution role's clients: `invoke` and `send_message` do what the test says."""

    def __init__(self, *, invoke: Callable[[Any], Any] | None = None) -> None:
        self._invoke = invoke
        self.messages: list[dict[str, Any]] = []
        self._sent = threading.Condition()

    def client(self, _: str) -> Session:
        return self

    def invoke(self, FunctionName: str, Payload: bytes) -> dict[str, Any]:
        assert FunctionName == FUNCTION
        assert self._invoke is not None
        answer = self._invoke(json.loads(Payload))
        body = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
        error = {"FunctionError": "Unhandled"} if isinstance(answer, dict) and "errorType" in answer else {}
        return {"Payload": io.BytesIO(body), **error}

    def send_message(self, QueueUrl: str, MessageBody: str) -> dict[str, Any]:
        assert QueueUrl == QUEUE
        with self._sent:
            self.messages.append(json.loads(MessageBody))
            self._sent.notify_all()
        return {}

    def wait(self, count: int = 1) -> list[dict[str, Any]]:
        """The messages, once there are so many."""
        with self._sent:
            assert self._sent.wait_for(lambda: len(self.messages) >= count, 60)
            return self.messages


class Bench:
    def __init__(self, store: Store) -> None:
        self.store, self.stop = store, StopSignal()

    def run(self, step: Step, session: Session) -> StepEnd:
        execution = Execution(
            arn=ARN, pipeline_name="p", pipeline_arn=ARN.partition("/execution")[0], started=1.0
        )
        scope = ExecutionScope(
            execution=execution,
            definition=Definition(parameters={}, steps={step.name: step}),
            parameters={"Rate": 2.5},
            properties_of=lambda _: None,
            session=session,  # type: ignore[arg-type]
        )
        return run_step(step, execution=execution, scope=scope, stop=self.stop, store=self.store)

    def begin(self, step: Step, session: Session) -> tuple[threading.Thread, list[StepEnd]]:
        ends: list[StepEnd] = []
        thread = threading.Thread(target=lambda: ends.append(self.run(step, session)), daemon=True)
        thread.start()
        return thread, ends

    def record(self, step: Step) -> dict[str, Any]:
        return self.store.get("pipeline-step", f"abcdefghijkl/{step.name}")

    def answer(self, operation: Callable[[Call], Any], **request: Any) -> Any:
        class Frame:
            store = self.store

        request.setdefault("ClientRequestToken", "one")
        return operation(Call(sagemaker=Frame, caller=None, operation="x", request=request))  # type: ignore[arg-type]


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    store = Store(tmp_path / "sagemaker.db")
    yield Bench(store)
    store.close()


def lambda_step(outputs: dict[str, str] | None = None) -> Step:
    arguments = {"rate": {"Get": "Parameters.Rate"}}
    return Step(name="Call", type="Lambda", arguments=arguments, target=FUNCTION, outputs=outputs or {})


def callback_step(outputs: dict[str, str] | None = None) -> Step:
    return Step(name="Ask", type="Callback", arguments={"x": 1}, target=QUEUE, outputs=outputs or {})


def test_a_function_gets_the_arguments_and_gives_its_outputs(bench: Bench) -> None:
    step = lambda_step({"statusCode": "String", "rate": "Float", "good": "Boolean"})
    end = bench.run(
        step, Session(invoke=lambda event: {"statusCode": 200, "good": True, "more": [], **event})
    )
    assert end.result is not None
    assert end.result.properties == {"OutputParameters": {"statusCode": "200", "rate": 2.5, "good": True}}
    assert bench.record(step)["Metadata"]["Lambda"] == {
        "Arn": FUNCTION,
        "OutputParameters": [
            {"Name": "statusCode", "Value": "200"},
            {"Name": "rate", "Value": "2.5"},
            {"Name": "good", "Value": "true"},
        ],
    }


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ({"errorType": "KeyError", "errorMessage": "'x'"}, "failed: KeyError: 'x'"),
        ({"other": 1}, "lacks the output n; it has: other"),
        ({"n": "many"}, "the output n is 'many', which is no Integer"),
        ({"n": 1.5}, "which is no Integer"),
        ({"n": {"deep": 1}}, "which is no Integer"),
        (None, "must be an object with n"),
        (b"<html>", "what is not JSON"),
    ],
)
def test_what_fails_a_lambda_step(bench: Bench, answer: Any, words: str) -> None:
    step = lambda_step({"n": "Integer"})
    assert bench.run(step, Session(invoke=lambda _: answer)).status is Status.FAILED
    assert words in bench.record(step)["FailureReason"]


def test_a_function_past_the_limit_fails_the_step(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(function, "TIMEOUT_SECONDS", 0.05)
    free = threading.Event()
    end = bench.run(lambda_step(), Session(invoke=lambda _: free.wait(60)))
    free.set()
    assert (end.status, end.timed_out) == (Status.FAILED, True)
    assert "within 0.05 s" in bench.record(lambda_step())["FailureReason"]


def test_a_stop_waits_for_the_function(bench: Bench) -> None:
    running, free = threading.Event(), threading.Event()

    def work(_: Any) -> dict[str, Any]:
        running.set()
        free.wait(60)
        return {}

    thread, ends = bench.begin(lambda_step(), Session(invoke=work))
    assert running.wait(60)
    bench.stop.give()
    assert bench.record(lambda_step())["StepStatus"] == "Stopping"
    assert not ends
    free.set()
    thread.join(60)
    assert ends[0].status is Status.SUCCEEDED


def test_a_callback_waits_for_its_token(bench: Bench) -> None:
    session, step = Session(), callback_step({"n": "Integer"})
    thread, ends = bench.begin(step, session)
    (message,) = session.wait()
    token = message.pop("token")
    assert message == {"pipelineExecutionArn": ARN, "arguments": {"x": 1}, "status": "Executing"}
    assert len(token) == 10
    assert token.isalnum()
    outputs = [{"Name": "n", "Value": "3"}]
    for _ in range(2):  # the same request again is answered the same
        answer = bench.answer(
            send_pipeline_execution_step_success, CallbackToken=token, OutputParameters=outputs
        )
        assert answer == {"PipelineExecutionArn": ARN}
    thread.join(60)
    assert ends[0].result is not None
    assert ends[0].result.properties == {"OutputParameters": {"n": 3}}
    metadata = bench.record(step)["Metadata"]["Callback"]
    assert metadata == {"CallbackToken": token, "SqsQueueUrl": QUEUE, "OutputParameters": outputs}
    with pytest.raises(Exception, match="answered once"):
        bench.answer(send_pipeline_execution_step_failure, CallbackToken=token, ClientRequestToken="two")


def test_a_token_can_be_sent_back_as_soon_as_it_is_shown(bench: Bench) -> None:
    changes: queue.SimpleQueue[tuple[str, dict[str, Any] | None]] = queue.SimpleQueue()
    bench.store.subscribe(lambda kind, _, new: changes.put((kind, new)))
    session, step = Session(), callback_step()
    thread, _ = bench.begin(step, session)
    bench.answer(send_pipeline_execution_step_success, CallbackToken=session.wait()[0]["token"])
    thread.join(60)
    seen = [changes.get(timeout=60) for _ in range(3)]
    known = next(place for place, (kind, _) in enumerate(seen) if kind == "callback-token")
    shown = next(
        place for place, (_, new) in enumerate(seen) if new and "Callback" in new.get("Metadata", {})
    )
    assert known < shown


def test_a_callback_that_fails_says_why(bench: Bench) -> None:
    session, step = Session(), callback_step()
    thread, ends = bench.begin(step, session)
    token = session.wait()[0]["token"]
    bench.answer(send_pipeline_execution_step_failure, CallbackToken=token, FailureReason="no people")
    thread.join(60)
    assert ends[0].status is Status.FAILED
    assert bench.record(step)["FailureReason"] == "no people"


def test_a_callback_without_its_outputs_fails(bench: Bench) -> None:
    session, step = Session(), callback_step({"n": "Integer"})
    thread, ends = bench.begin(step, session)
    bench.answer(send_pipeline_execution_step_success, CallbackToken=session.wait()[0]["token"])
    thread.join(60)
    assert ends[0].status is Status.FAILED
    assert "lacks the output n" in bench.record(step)["FailureReason"]


def test_a_stop_tells_the_queue_and_waits_for_the_token(bench: Bench) -> None:
    session, step = Session(), callback_step()
    thread, ends = bench.begin(step, session)
    session.wait()
    bench.stop.give()
    # By whoever comes second: the signal, or the step that has just sent its message.
    assert [message["status"] for message in session.wait(2)] == ["Executing", "Stopping"]
    assert len({message["token"] for message in session.messages}) == 1
    assert not ends
    bench.answer(send_pipeline_execution_step_success, CallbackToken=session.messages[0]["token"])
    thread.join(60)
    assert ends[0].status is Status.STOPPED


def test_nobody_answers(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(callback, "TIMEOUT_SECONDS", 0.05)
    session, step = Session(), callback_step()
    assert bench.run(step, session).timed_out
    assert "nobody sent its token back" in bench.record(step)["FailureReason"]
    with pytest.raises(Exception, match="is over"):
        bench.answer(send_pipeline_execution_step_success, CallbackToken=session.messages[0]["token"])


def test_an_unknown_token(bench: Bench) -> None:
    with pytest.raises(Exception, match="no callback step with the token 'abcdefghij'"):
        bench.answer(send_pipeline_execution_step_success, CallbackToken="abcdefghij")


@given(st.dictionaries(st.text(min_size=1, max_size=8), st.one_of(st.integers(), st.booleans(), st.text())))
def test_outputs_keep_their_types_and_are_shown_as_texts(answer: dict[str, Any]) -> None:
    kinds = {bool: "Boolean", int: "Integer", str: "String"}
    outputs = take_outputs({name: kinds[type(value)] for name, value in answer.items()}, answer)
    assert outputs == answer
    assert {item["Name"] for item in listed(outputs)} == set(answer)


def test_outputs_are_bounded() -> None:
    with pytest.raises(OutputError, match="1025 characters"):
        take_outputs({"x": "String"}, {"x": "y" * 1025})


def read(**members: Any) -> Any:
    step = {"Name": "Call", "Type": "Lambda", "FunctionArn": FUNCTION, "Arguments": {}, **members}
    return parse_definition(json.dumps({"Version": "2020-12-01", "Steps": [step]}))


@pytest.mark.parametrize(
    ("members", "words"),
    [
        ({"FunctionArn": "f"}, "FunctionArn is 'f'"),
        ({"FunctionArn": {"Get": "Parameters.None"}}, "refers to 'Parameters.None'"),
        ({"Type": "Callback", "FunctionArn": FUNCTION}, "has no SqsQueueUrl"),
        ({"OutputParameters": [{"OutputName": "x", "OutputType": "List"}]}, "OutputType is 'List'"),
        ({"OutputParameters": [{"OutputName": "x"}, {"OutputName": "x"}]}, "two output parameters named 'x'"),
        ({"Arguments": {"y": {"Get": "Steps.Call.OutputParameters['x']"}}}, "has the property|properties of"),
    ],
)
def test_what_is_no_such_step_is_refused(members: dict[str, Any], words: str) -> None:
    with pytest.raises(DefinitionError, match=words) as caught:
        read(**members)
    assert "Step 'Call'" in str(caught.value)

"""The command: exit codes, inputs, acknowledgements, the table in the docs."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from modelyard_cli.check.command import check as command
from modelyard_cli.check.registry import all_rules
from modelyard_cli.check.run import Report, check
from modelyard_cli.check.table import DOCUMENT, END, START, table
from modelyard_cli.errors import CliError

BASES = Path(__file__).parent / "bases"
ROOT = Path(__file__).resolve().parents[3]


def run(*paths: Path, **options: Any) -> Report:
    return check(list(paths), cfn_lint=False, **options)


def planted(folder: Path, **metadata: Any) -> Path:
    """A template with one fault: its endpoint starts without any instance's traffic."""
    document = json.loads((BASES / "serving.json").read_text())
    document["Resources"]["Config"]["Properties"]["ProductionVariants"][0]["InitialVariantWeight"] = 0
    document["Resources"]["Config"]["Metadata"] = metadata
    path = folder / "stack.template.json"
    path.write_text(json.dumps(document))
    return path


def test_the_table_of_the_docs_is_that_of_the_registry() -> None:
    text = DOCUMENT.read_text(encoding="utf-8")
    assert text.partition(START)[2].partition(END)[0].strip() == table()
    assert len(all_rules()) > 150


def test_committed_definitions_are_clean() -> None:
    report = run(*sorted((ROOT / "pipeline_defs" / "definitions").glob("*.json")))
    assert report.definitions
    assert report.findings == ()


def test_the_size_is_that_of_the_text_which_the_service_gets(tmp_path: Path) -> None:
    """White space counts, but where the custom resource writes the text anew."""
    document = json.loads((BASES / "regression.json").read_text())
    text = json.dumps(document, indent=600)
    assert len(text) > 2**20 > 10 * len(json.dumps(document))
    loose = tmp_path / "definition.json"
    loose.write_text(text)
    native = tmp_path / "native.template.json"
    body = {"PipelineName": "p", "RoleArn": "r", "PipelineDefinition": {"PipelineDefinitionBody": text}}
    native.write_text(
        json.dumps({"Resources": {"P": {"Type": "AWS::SageMaker::Pipeline", "Properties": body}}})
    )
    for path in (loose, native):
        assert "MYP003" in {finding.rule for finding in run(path).findings}
    loose.write_text(json.dumps(document, indent=2))
    assert "MYP003" not in {finding.rule for finding in run(loose).findings}


def test_a_finding_names_rule_place_and_remedy(tmp_path: Path) -> None:
    (finding,) = run(planted(tmp_path)).findings
    assert finding.rule == "MYT204"
    assert finding.place == "stack/Config/Properties.ProductionVariants"
    assert finding.message
    assert finding.remedy == all_rules()["MYT204"].remedy


def test_metadata_acknowledges_with_a_reason(tmp_path: Path) -> None:
    report = run(planted(tmp_path, **{"modelyard::acknowledge": {"MYT204": "Traffic comes later."}}))
    assert report.findings == ()
    assert report.acknowledged == 1


def test_an_acknowledgement_without_reason_is_a_finding(tmp_path: Path) -> None:
    report = run(planted(tmp_path, **{"modelyard::acknowledge": {"MYT204": " "}}))
    assert {finding.rule for finding in report.findings} == {"MYT204", "MYA001"}


def test_an_unused_acknowledgement_is_a_finding(tmp_path: Path) -> None:
    acknowledged = {"MYT204": "Traffic comes later.", "MYT103": "Not so."}
    report = run(planted(tmp_path, **{"modelyard::acknowledge": acknowledged}))
    assert [finding.rule for finding in report.findings] == ["MYA002"]


def test_advice_is_told_and_fails_only_when_strict(tmp_path: Path) -> None:
    document = {
        "Resources": {
            "Table": {
                "Type": "AWS::DynamoDB::Table",
                "Properties": {
                    "BillingMode": "PAY_PER_REQUEST",
                    "AttributeDefinitions": [{"AttributeName": "id", "AttributeType": "S"}],
                    "KeySchema": [{"AttributeName": "id", "KeyType": "HASH"}],
                },
            }
        }
    }
    path = tmp_path / "stack.json"
    path.write_text(json.dumps(document))
    assert run(path).findings == ()
    assert {finding.rule for finding in run(path).advice} == {"MYT632", "MYT636"}
    with pytest.raises(SystemExit):
        command([path], cfn_lint=False, strict=True)
    command([path], cfn_lint=False)


def test_as_json_the_report_is_all_that_stdout_has(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = planted(tmp_path)
    with pytest.raises(SystemExit) as ended:
        command([path], cfn_lint=False, as_json=True)
    assert ended.value.code == 1
    report = json.loads(capsys.readouterr().out)
    (finding,) = report["findings"]
    assert (finding["rule"], finding["place"]) == ("MYT204", "stack/Config/Properties.ProductionVariants")
    assert finding["message"]
    assert finding["remedy"]
    assert (report["templates"], report["definitions"], report["acknowledged"]) == (1, 0, 0)
    assert [piece["rule"] for piece in report["advice"]] == [piece.rule for piece in run(path).advice]


def test_as_json_a_clean_report_has_no_findings(capsys: pytest.CaptureFixture[str]) -> None:
    command([ROOT / "pipeline_defs" / "definitions" / "digits.json"], cfn_lint=False, as_json=True)
    assert json.loads(capsys.readouterr().out)["findings"] == []


def test_a_file_acknowledges_by_place(tmp_path: Path) -> None:
    file = tmp_path / "accepted.toml"
    entry = '[[acknowledge]]\nrule = "MYT204"\nplace = "stack/Config/*"\nreason = "Traffic comes later."\n'
    elsewhere = '[[acknowledge]]\nrule = "MYT204"\nplace = "other/*"\nreason = "Not checked here."\n'
    file.write_text(entry + elsewhere)
    report = run(planted(tmp_path), acknowledgements=file)
    assert report.findings == ()
    assert report.acknowledged == 1


def test_a_definition_has_its_file_beside_it(tmp_path: Path) -> None:
    document = json.loads((BASES / "regression.json").read_text())
    document["Parameters"].append({"Name": "Spare", "Type": "String"})
    path = tmp_path / "p.json"
    path.write_text(json.dumps(document))
    assert [finding.rule for finding in run(path).findings] == ["MYP012"]
    entry = (
        '[[acknowledge]]\nrule = "MYP012"\nplace = "p/Parameters.Spare"\nreason = "Callers still send it."\n'
    )
    (tmp_path / "p.check.toml").write_text(entry)
    assert run(path).findings == ()


def test_yaml_with_short_functions_reads_as_json_does(tmp_path: Path) -> None:
    document = json.loads((BASES / "serving.json").read_text())
    path = tmp_path / "stack.yaml"
    text = yaml.safe_dump(document)
    text += "  Spare:\n    Type: AWS::Lambda::Alias\n    Properties:\n      FunctionName: !Ref Function\n"
    text += "      Name: spare\n      FunctionVersion: $LATEST\n      ProvisionedConcurrencyConfig: "
    text += "{ProvisionedConcurrentExecutions: 1}\n"
    path.write_text(text)
    assert [finding.rule for finding in run(path).findings] == ["MYT602"]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("missing.json", None, "no such file"),
        ("text.json", "no json", "not JSON"),
        ("list.json", "[]", "not an object"),
        ("other.json", "{}", "neither"),
        ("broken.yaml", "a: [", "cannot be parsed"),
    ],
)
def test_bad_input_is_one_line(tmp_path: Path, name: str, text: str | None, message: str) -> None:
    path = tmp_path / name
    if text is not None:
        path.write_text(text)
    with pytest.raises(CliError, match=message) as error:
        run(path)
    assert error.value.code == 2


@pytest.mark.parametrize("base", ["serving", "training"])
@pytest.mark.parametrize("odd", ["odd", [], {}, 7], ids=str)
def test_odd_templates_end_in_findings(tmp_path: Path, base: str, odd: Any) -> None:
    """Every property of the clean documents replaced by a value of another type, resource by resource."""
    for logical_id in json.loads((BASES / f"{base}.json").read_text())["Resources"]:
        document = json.loads((BASES / f"{base}.json").read_text())
        properties = document["Resources"][logical_id]["Properties"]
        properties.update(dict.fromkeys(properties, odd))
        path = tmp_path / f"{logical_id}.template.json"
        path.write_text(json.dumps(document))
        run(path)


@pytest.mark.parametrize("base", ["regression", "tuning", "built_in"])
@pytest.mark.parametrize("odd", ["odd", [], {}, 7], ids=str)
def test_odd_definitions_end_in_findings(tmp_path: Path, base: str, odd: Any) -> None:
    text = (BASES / f"{base}.json").read_text()
    for number, step in enumerate(json.loads(text)["Steps"]):
        for member in step:
            document = json.loads(text)
            document["Steps"][number][member] = odd
            path = tmp_path / "odd.json"
            path.write_text(json.dumps(document))
            assert run(path).findings or member != "Type"


def test_cfn_lint_runs_beside_the_rules(tmp_path: Path) -> None:
    path = tmp_path / "small.template.json"
    resource = {"Type": "AWS::SQS::Queue", "Properties": {"VisibilityTimeouts": 5}}
    path.write_text(json.dumps({"Resources": {"Queue": resource}}))
    found = {finding.rule for finding in check([path]).findings}
    assert "E3002" in found
    shutil.rmtree(tmp_path)

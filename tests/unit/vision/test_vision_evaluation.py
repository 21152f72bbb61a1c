"""Evaluation: the metrics, what the page shows, and what is refused."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.vision.vision_support import drawn, encoded, pack
from training.vision import evaluate
from training.vision.evaluate import confusion, evaluation, top
from training.vision.image_report import MAX_MATRIX, image_page
from training.vision.shards import Sample, ShardWriter, read_shards


@pytest.fixture
def job(trained, other_container):
    """An evaluation job with the model and the test images of `trained`."""
    container = other_container("job")
    container.link_input("test", trained.output("test"))
    return container


def test_it_writes_metrics_baseline_and_page(trained, job):
    pack(trained.root / "model", job.root / "processing" / "input" / "model" / "model.tar.gz")
    evaluate.main([])
    found = job.document("evaluation", "evaluation.json")
    metrics, baseline = found["classification_metrics"], found["baseline"]
    assert metrics["top1"] == {"value": 1.0, "standard_deviation": 0.0}
    assert metrics["top5"]["value"] == baseline["top5"]["value"] == 1.0
    assert 0.1 < baseline["top1"]["value"] < 0.7
    rows = json.loads((trained.root / "model" / "manifest.json").read_text())["training"]["class_rows"]
    assert rows[baseline["class"]] == max(rows.values())
    assert found["recall_by_class"] == dict.fromkeys(found["classes"], 1.0)
    assert (job.output("evaluation") / "report.html").read_text().startswith("<!doctype html>")


def test_a_broken_archive_is_refused(trained, job, refused, model_folder):
    archive = job.root / "processing" / "input" / "model" / "model.tar.gz"
    archive.parent.mkdir(parents=True)
    archive.write_bytes(b"not an archive")
    assert "model archive model.tar.gz" in refused(evaluate.main)
    (model_folder / "model.safetensors").unlink()
    pack(model_folder, archive)
    assert "model.safetensors is missing" in refused(evaluate.main)


def test_images_that_the_model_cannot_know_are_refused(trained, other_container, refused):
    job = other_container("job")
    pack(trained.root / "model", job.root / "processing" / "input" / "model" / "model.tar.gz")
    folder = job.root / "processing" / "input" / "test"
    folder.mkdir(parents=True)
    assert "the test split has no images" in refused(evaluate.main)
    picture = encoded(drawn((1, 2, 3), 1, (37, 37)))
    sample = Sample(key="0" * 24, label="owl", name="owl/a.png", extension="png", data=picture)
    with ShardWriter(folder, 0) as writer:
        writer.write(sample)
    assert "test images are of class 'owl', which the model was not trained for" in refused(evaluate.main)
    shutil.rmtree(folder)
    folder.mkdir()
    broken = Sample(key="0" * 24, label="red", name="red/a.png", extension="png", data=b"no image")
    with ShardWriter(folder, 0) as writer:
        writer.write(broken)
    assert "'red/a.png' is neither a JPEG nor a PNG image" in refused(evaluate.main)


def test_top_counts_the_most_probable_places():
    probabilities = np.array([[0.1, 0.6, 0.3], [0.2, 0.3, 0.5], [0.9, 0.05, 0.05]])
    truth = np.array([1, 1, 1])
    assert [top(truth, probabilities, places) for places in (1, 2, 3, 5)] == pytest.approx([1 / 3, 1, 1, 1])


@given(st.integers(2, 9), st.integers(1, 40), st.integers(0, 2**31))
def test_the_confusion_matrix_agrees_with_top_one(classes, rows, seed):
    source = np.random.default_rng(seed)
    truth, probabilities = source.integers(0, classes, rows), source.dirichlet(np.ones(classes), rows)
    counts = confusion(truth, probabilities)
    assert counts.sum() == rows
    assert counts.trace() / rows == pytest.approx(top(truth, probabilities, 1))
    shares = [top(truth, probabilities, places) for places in range(1, classes + 1)]
    assert shares == sorted(shares)
    assert shares[-1] == 1


class Model:
    """133 classes with hostile names, of which nothing was learnt."""

    def __init__(self, classes):
        names = tuple(f"<b>breed {number}</b>" for number in range(classes))
        training = {"class_rows": {name: 1 + number for number, name in enumerate(names)}, "rows": 9}
        self.manifest = type("Manifest", (), {"classes": names, "training": training})
        self.input = type("Input", (), {"backbone": "x"})


def test_the_page_bounds_what_it_shows_and_escapes_names(tmp_path):
    model = Model(133)
    with ShardWriter(tmp_path, 0) as writer:
        for number in range(200):
            picture = encoded(drawn((number, 9, 9), number))
            name = model.manifest.classes[number % 133]
            writer.write(
                Sample(key=f"{number:024x}", label=name, name=f"{number}", extension="png", data=picture)
            )
    entries = read_shards(tmp_path)
    truth = np.arange(200) % 133
    probabilities = np.random.default_rng(1).dirichlet(np.ones(133), 200)
    report = evaluation(model, truth, probabilities)
    html = image_page(model, report, entries, truth, probabilities).to_html()
    assert "<b>" not in html
    assert f"The {MAX_MATRIX} classes with the most errors" in html
    assert html.count("<image ") == 12
    assert len(html) < 500_000


def test_a_class_without_test_images_has_no_recall(tmp_path):
    model = Model(3)
    report = evaluation(model, np.array([0, 0]), np.array([[0.8, 0.1, 0.1]] * 2))
    assert list(report["recall_by_class"].values()) == [1.0, "NaN", "NaN"]
    with ShardWriter(tmp_path, 0) as writer:
        for number in range(2):
            sample = Sample(
                key=f"{number}", label="a", name="a", extension="png", data=encoded(drawn((1, 1, 1), 1))
            )
            writer.write(sample)
    page = image_page(model, report, read_shards(tmp_path), np.array([0, 0]), np.array([[0.8, 0.1, 0.1]] * 2))
    assert "Worst errors" not in page.to_html()

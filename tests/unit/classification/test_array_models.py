"""Models made of arrays that somebody has changed: refused, or every prediction is finite; nothing else."""

from __future__ import annotations

import io
import zipfile

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.unit.classification.array_models_support import (
    CLASSES,
    ENCODER,
    ROWS,
    forest,
    models,
    write_folder,
)
from training.common.array_checks import MAX_LAYERS, MAX_STEPS
from training.common.array_models import KINDS, ArrayModel, load_array_model
from training.common.classifier import load_classifier
from training.common.manifest import ModelError

GOOD = models()
MATRIX = np.concatenate([ENCODER.encode(ROWS), [[np.inf, 1, -np.inf], [-3e38, 0, 3e38]]]).astype(np.float32)
LARGE = np.array(2**40)


def stored(model):
    """The arrays of a model's file, by name."""
    stream = io.BytesIO()
    model.write(stream)
    stream.seek(0)
    return dict(np.load(stream))


def load(path, arrays):
    with path.open("wb") as stream:
        np.savez(stream, **arrays)
    return load_array_model(path, ENCODER, len(CLASSES))


def predicts_or_is_refused(path):
    try:
        model = load_array_model(path, ENCODER, len(CLASSES))
    except ModelError as refusal:
        return str(refusal)
    found = model.probabilities(MATRIX)
    assert found.shape == (len(MATRIX), len(CLASSES))
    assert np.isfinite(found).all()
    np.testing.assert_allclose(found.sum(axis=1), 1.0, atol=1e-6)
    return ""


@pytest.mark.parametrize("kind", KINDS)
def test_what_training_leaves_is_loaded(kind, tmp_path):
    folder = write_folder(tmp_path / "model", GOOD[kind])
    found = load_classifier(folder).predictor.probabilities(MATRIX)
    np.testing.assert_allclose(found, GOOD[kind].probabilities(MATRIX), rtol=1e-12)
    assert predicts_or_is_refused(folder / "model.npz") == ""


def set_at(name, place, value):
    def change(arrays):
        array = arrays[name].copy()
        array[place] = value
        return {name: array}

    return change


@pytest.mark.parametrize(
    ("kind", "change", "reason"),
    [
        ("random-forest", lambda _: {"depth": LARGE}, "depth is 1099511627776, needs 0 to 25000"),
        ("random-forest", lambda _: {"depth": np.array(4)}, "depth is more than"),
        ("random-forest", lambda _: {"depth": np.array(2)}, "depth is less than"),
        ("random-forest", lambda _: {"depth": np.array([3])}, "depth is int64"),
        ("random-forest", lambda _: {"depth": np.array(3.0)}, "depth is float64"),
        ("random-forest", set_at("left", 2, 0), "leads back"),
        ("random-forest", set_at("right", 1, 5), "leads back"),
        ("random-forest", set_at("left", 0, 28), "left leads to a place"),
        ("random-forest", set_at("right", 0, -1), "right leads to a place"),
        ("random-forest", set_at("left", 0, 2), "of several"),
        ("random-forest", set_at("roots", 1, 0), "of several"),
        ("random-forest", set_at("features", 27, 4), "features leads to a place"),
        ("random-forest", set_at("thresholds", 5, np.nan), "thresholds holds numbers"),
        ("random-forest", set_at("leaves", (6, 1), np.inf), "leaves holds numbers"),
        ("random-forest", set_at("leaves", (6, 1), 0.0), "do not sum to 1"),
        ("random-forest", lambda arrays: {"roots": arrays["roots"][:0]}, "0 trees of 28 nodes"),
        ("random-forest", lambda arrays: {"left": arrays["left"].astype(np.int32)}, "left is int32"),
        ("random-forest", lambda arrays: {"leaves": arrays["leaves"][:, :2]}, r"needs float64 \(28, 3\)"),
        ("logistic-regression", lambda _: {"weights": np.zeros((3, 3))}, r"needs float64 \(4, 3\)"),
        ("logistic-regression", set_at("bias", 2, np.nan), "bias holds numbers"),
        ("logistic-regression", set_at("weights", (0, 0), 1e300), "weights holds numbers"),
        ("logistic-regression", lambda _: {"more": np.zeros(2)}, "'more' is no array of such a model"),
        ("naive-bayes", set_at("variances", (0, 0), 0.0), "variances holds numbers"),
        ("naive-bayes", set_at("priors", 0, 0.0), "priors holds numbers"),
        ("neural-net", lambda _: {"layers": LARGE}, f"needs 1 to {MAX_LAYERS}"),
        ("neural-net", lambda _: {"layers": np.array(1)}, "'bias_1' is no array"),
        ("neural-net", lambda _: {"layers": np.array(3)}, "weights_2 is missing"),
        ("neural-net", lambda _: {"weights_1": np.zeros((6, 3))}, r"needs float64 \(5, 3\)"),
        ("neural-net", set_at("categories", 1, 2**40), "not as many as the encoder's"),
        ("neural-net", set_at("scales", 0, 0.0), "scales holds numbers"),
        ("neural-net", set_at("means", 2, np.inf), "means holds numbers"),
        ("neural-net", lambda _: {"kind": np.array("naive-bayes")}, "centers is missing"),
        ("neural-net", lambda _: {"kind": np.array(["a", "b"] * 9000)}, "is not one of"),
    ],
)
def test_what_would_lead_astray_is_refused(kind, change, reason, tmp_path):
    arrays = stored(GOOD[kind])
    with pytest.raises(ModelError, match=reason):
        load(tmp_path / "model.npz", arrays | change(arrays))


@pytest.mark.parametrize("name", sorted({name for model in GOOD.values() for name in stored(model)}))
def test_what_is_missing_is_named(name, tmp_path):
    model = next(model for model in GOOD.values() if name in stored(model))
    arrays = stored(model)
    del arrays[name]
    with pytest.raises(ModelError, match="is missing"):
        load(tmp_path / "model.npz", arrays)


def test_no_forest_keeps_a_thread_for_ever(tmp_path):
    arrays = stored(ArrayModel("random-forest", GOOD["random-forest"].preparation, forest(2, MAX_STEPS // 2)))
    load(tmp_path / "model.npz", arrays).probabilities(MATRIX)
    with pytest.raises(ModelError, match="depth is 50001, needs 0 to 50000"):
        load(tmp_path / "model.npz", arrays | {"depth": arrays["depth"] + 1})


NUMBERS = st.one_of(
    st.integers(-(2**63), 2**63 - 1),
    st.integers(-1, 30),
    st.floats(),
    st.sampled_from([np.nan, np.inf, 1e308, -1e12, 5e-324]),
)


@st.composite
def changed(draw):
    """The arrays of a good model, of which some are changed, in some place, in shape or in type."""
    arrays = stored(GOOD[draw(st.sampled_from(sorted(KINDS)))])
    for name in draw(st.lists(st.sampled_from(sorted(arrays)), min_size=1, max_size=3)):
        array = arrays[name]
        how = draw(st.sampled_from(["number", "number", "number", "type", "shape", "gone", "other"]))
        if how == "number" and array.size and array.dtype.kind in "if":
            flat = array.ravel().astype(object)
            flat[draw(st.integers(0, array.size - 1))] = draw(NUMBERS)
            with np.errstate(all="ignore"):
                try:
                    arrays[name] = flat.astype(array.dtype).reshape(array.shape)
                except (ValueError, OverflowError):  # NaN or 1e308 as an integer
                    arrays[name] = flat.astype(np.float64).reshape(array.shape)
        elif how == "type" and array.dtype.kind in "if":
            arrays[name] = array.astype(
                draw(st.sampled_from(["f4", ">f8", ">i8", "i4", "u8", "c16", "?", "U3"]))
            )
        elif how == "shape":
            arrays[name] = draw(
                st.sampled_from(
                    [array[None], array.ravel()[:-1], array.T, np.tile(array, 2), array.ravel()[:0]]
                )
            )
        elif how == "other":
            arrays[name] = arrays[draw(st.sampled_from(sorted(arrays)))]
        elif how == "gone":
            arrays.pop(name, None)
            return arrays
    return arrays


@given(changed())
def test_arrays_of_every_kind(tmp_path_factory, arrays):
    path = tmp_path_factory.getbasetemp() / "changed.npz"
    with path.open("wb") as stream:
        np.savez(stream, **arrays)
    predicts_or_is_refused(path)


@given(st.data())
def test_bytes_of_every_kind(tmp_path_factory, data):
    """Without the checksums of zip, which would notice almost all of it."""
    path = tmp_path_factory.getbasetemp() / "damaged.npz"
    stream = io.BytesIO()
    GOOD[data.draw(st.sampled_from(sorted(KINDS)))].write(stream)
    with zipfile.ZipFile(stream) as bundle:
        members = {name: bytearray(bundle.read(name)) for name in bundle.namelist()}
    member = members[data.draw(st.sampled_from(sorted(members)))]
    place = data.draw(st.integers(0, len(member)) | st.integers(0, min(128, len(member))))
    member[place : place + data.draw(st.integers(0, 9))] = data.draw(st.binary(max_size=9))
    with zipfile.ZipFile(path, "w") as bundle:
        for name, content in members.items():
            bundle.writestr(name, content)
    predicts_or_is_refused(path)


@given(place=st.floats(0, 1), piece=st.binary(max_size=4), gone=st.integers(0, 40))
@example(place=0.0, piece=b"", gone=10**6)
def test_files_of_every_kind(tmp_path_factory, place, piece, gone):
    path = tmp_path_factory.getbasetemp() / "broken.npz"
    stream = io.BytesIO()
    GOOD["naive-bayes"].write(stream)
    content = stream.getvalue()
    start = int(place * len(content))
    path.write_bytes(content[:start] + piece + content[start + gone :])
    predicts_or_is_refused(path)


def header(shape):
    text = f"{{'descr': '<f8', 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text.encode()


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (
            header("(1099511627776,)"),
            "cannot reshape",
        ),  # no memory is asked for: SageMaker would unload others
        (header("(" * 300), "is not a model made of arrays"),
        (header("-" * 9000 + "1"), "Header info length"),
        (b"\x93NUMPY\x03\x00" + bytes(8), r"version \(3, 0\)"),
        (b"", "magic|EOF"),
    ],
)
def test_what_the_head_of_an_array_claims_is_not_believed(content, reason, tmp_path):
    path = tmp_path / "model.npz"
    with zipfile.ZipFile(path, "w") as bundle:
        bundle.writestr("kind.npy", content)
    with pytest.raises(ModelError, match=reason):
        load_array_model(path, ENCODER, len(CLASSES))


def test_a_member_that_many_names_share_is_refused(tmp_path):
    """As zip bombs do without compression."""
    path = tmp_path / "model.npz"
    with zipfile.ZipFile(path, "w") as bundle:
        bundle.writestr("kind.npy", bytes(4000))
        only = bundle.infolist()[0]
        for _ in range(9):
            bundle.filelist.append(only)
        bundle._didModify = True
    with pytest.raises(ModelError, match="overlap"):
        load_array_model(path, ENCODER, len(CLASSES))

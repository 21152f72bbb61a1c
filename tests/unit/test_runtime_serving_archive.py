"""Model archives from strangers, and the golden rows in them."""

import gzip
import io
import json
import os
import tarfile

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from serving_runtime.archive import read_file
from serving_runtime.errors import DeployError
from serving_runtime.golden import Golden, compare, parse_manifest

LIMITS = {"max_unpacked": 1_000_000, "max_size": 10_000}


def packed(*entries, format=tarfile.PAX_FORMAT):  # noqa: A002 - tarfile's own name for it
    """A .tar.gz of (name, bytes) pairs or TarInfo objects."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz", format=format) as tar:
        for entry in entries:
            if isinstance(entry, tarfile.TarInfo):
                tar.addfile(entry)
                continue
            info = tarfile.TarInfo(entry[0])
            info.size = len(entry[1])
            info.mtime = 1.5  # makes tarfile write an extension header, as it does for real files
            tar.addfile(info, io.BytesIO(entry[1]))
    return file.getvalue()


def special(name, kind, target=""):
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


def read(data, name="manifest.json", **limits):
    return read_file(io.BytesIO(data), name, **{**LIMITS, **limits})


@pytest.mark.parametrize("form", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT, tarfile.USTAR_FORMAT])
@pytest.mark.parametrize("name", ["manifest.json", "./manifest.json"])
def test_reads_what_tarfile_writes(form, name):
    folder = special("code", tarfile.DIRTYPE)
    long = ("code/" + "x" * 90 + "/" + "y" * 90, b"z" * 700)
    assert read(packed(("model.ubj", os.urandom(3000)), folder, long, (name, b"{}"), format=form)) == b"{}"


def test_reads_what_tar_makes_of_a_folder(tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "manifest.json").write_text("{}")
    (tmp_path / "in" / ("größe" * 30)).write_text("long and not ASCII")
    with tarfile.open(tmp_path / "model.tar.gz", "w:gz") as tar:
        tar.add(tmp_path / "in", arcname=".")
    assert read((tmp_path / "model.tar.gz").read_bytes()) == b"{}"


MANIFEST = ("manifest.json", b"{}")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "ends in the middle"),
        (b"PK\x03\x04 no gzip", "no intact"),
        (gzip.compress(b"no tar"), "ends in the middle"),
        (gzip.compress(b"x" * 1024), "damaged entry header"),
        (packed(MANIFEST)[:-20], "no intact|ends in the middle"),
        (packed(MANIFEST, ("../evil", b"")), "'../evil' .* is no path inside it"),
        (packed(("/etc/passwd", b"")), "no path inside"),
        (packed(("a/../../b", b"")), "no path inside"),
        (packed(("a\\b", b"")), "no path inside"),
        (packed(("a\nb", b"")), "no path inside"),
        (packed(MANIFEST, special("link", tarfile.SYMTYPE, "/etc/passwd")), "'link' .* no plain file"),
        (packed(MANIFEST, special("link", tarfile.LNKTYPE, "manifest.json")), "no plain file"),
        (packed(special("manifest.json", tarfile.SYMTYPE, "model.ubj")), "no plain file"),
        (packed(special("dev", tarfile.CHRTYPE)), "no plain file"),
        (packed(special("pipe", tarfile.FIFOTYPE)), "no plain file"),
        (packed(MANIFEST, MANIFEST), "'manifest.json' is in the model archive twice"),
        (packed(MANIFEST, ("./manifest.json", b"")), "twice"),
        (packed(("model.ubj", b"x")), "has no manifest.json"),
        (packed(("code/manifest.json", b"{}")), "has no manifest.json"),
        (packed(("manifest.json", b"x" * 10_001)), "10001 bytes, over 10000"),
        (packed(("bomb", bytes(2_000_000)), MANIFEST), "unpacks to more than 1000000 bytes"),
        (packed(MANIFEST) + gzip.compress(bytes(2_000_000)), "unpacks to more than 1000000 bytes"),
    ],
)
def test_refuses_hostile_and_broken_archives(data, message):
    with pytest.raises(DeployError, match=message):
        read(data)


def test_refuses_more_entries_than_a_model_has():
    folder = special("x", tarfile.DIRTYPE).tobuf()
    with pytest.raises(DeployError, match="more than 10000 entries"):
        read(gzip.compress(folder * 10_001), max_unpacked=10**9)


@pytest.mark.parametrize("record", ["size=99", "linkpath=/etc", "GNU.sparse.major=1"])
def test_refuses_extensions_that_change_what_an_entry_is(record):
    key, value = record.split("=")
    info = tarfile.TarInfo("manifest.json")
    info.pax_headers = {key: value}
    with pytest.raises(DeployError, match=f"extension '{key}', which is refused"):
        read(gzip.compress(info.tobuf(tarfile.PAX_FORMAT) + bytes(1024)))


def test_refuses_an_extension_header_that_would_fill_memory():
    info = tarfile.TarInfo("x")
    info.type, info.size = tarfile.XHDTYPE, 500_000_000
    with pytest.raises(DeployError, match="extension header of 500000000 bytes"):
        read(gzip.compress(info.tobuf() + bytes(1024)))


@given(st.data())
@example(None)
def test_damage_is_refused_or_harmless(data):
    sound = bytearray(gzip.decompress(packed(("model.ubj", b"m" * 600), MANIFEST)))
    if data is not None:
        for _ in range(data.draw(st.integers(1, 4))):
            sound[data.draw(st.integers(0, len(sound) - 1))] = data.draw(st.integers(0, 255))
    try:
        result = read(gzip.compress(bytes(sound)))
    except DeployError:
        return
    assert len(result) <= LIMITS["max_size"]


@given(st.binary(max_size=2000))
def test_noise_is_refused(noise):
    with pytest.raises(DeployError):
        read(noise)
    with pytest.raises(DeployError):
        read(gzip.compress(noise))


def manifest(**golden):
    rows = {"instances": [{"fico": 700}], "predictions": [12.5], "tolerance": 1e-4}
    return {"schema": 1, "golden": {**rows, **golden}}


def test_parses_golden_rows():
    golden = parse_manifest(json.dumps(manifest()).encode())
    assert golden == Golden(instances=[{"fico": 700}], predictions=[12.5], tolerance=1e-4)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"{", "not JSON"),
        (b"\xff\xfe", "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b'{"schema": NaN}', "NaN"),
        ([], "not of schema 1"),
        ({**manifest(), "schema": 2}, "not of schema 1"),
        ({"schema": 1}, "no golden rows; no version serves unchecked"),
        (manifest(instances=[], predictions=[]), "0 rows and 0 predictions"),
        (manifest(predictions=[1, 2]), "1 rows and 2 predictions"),
        (manifest(instances={}), "must be lists"),
        (manifest(instances=[1] * 1001, predictions=[1] * 1001), "give 1 to 1000"),
        (manifest(tolerance=True), "tolerance"),
        (manifest(tolerance="1"), "tolerance"),
        (manifest(tolerance=-1), "tolerance"),
        (manifest(tolerance=100), "tolerance"),
    ],
)
def test_refuses_manifests_without_usable_rows(content, message):
    data = content if isinstance(content, bytes) else json.dumps(content).encode()
    with pytest.raises(DeployError, match=message):
        parse_manifest(data)


@pytest.mark.parametrize(
    ("expected", "actual", "same"),
    [
        (12.5, 12.50001, True),
        (12.5, 12.6, False),
        (0.25, 0.74, False),
        (0.0, 0.00005, True),
        (1e6, 1e6 + 50, True),
        (1e6, 1e6 + 500, False),
        (1, 1.0, True),
        (1, True, False),
        ([0.1, 0.9], [0.1, 0.9], True),
        ([0.1, 0.9], [0.9, 0.1], False),
        ([0.1], [0.1, 0.2], False),
        ({"label": "a", "score": 0.5}, {"label": "a", "score": 0.5}, True),
        ({"label": "a"}, {"label": "b"}, False),
        ({"label": "a"}, {}, False),
        ("a", "a", True),
        (12.5, "12.5", False),
        (12.5, None, False),
        (12.5, float("nan"), False),
        (12.5, float("inf"), False),
        (1.0, 10**400, False),
    ],
)
def test_compares_predictions(expected, actual, same):
    golden = Golden(instances=[0], predictions=[expected], tolerance=1e-4)
    if same:
        compare(golden, [actual])
    else:
        with pytest.raises(DeployError, match="golden row 0: predicted"):
            compare(golden, [actual])


@pytest.mark.parametrize(
    ("actual", "count"), [([1.0], "1"), ([], "0"), ("ab", "no list of"), (None, "no list of")]
)
def test_every_row_needs_its_prediction(actual, count):
    with pytest.raises(DeployError, match=f"2 golden rows gave {count} predictions"):
        compare(Golden(instances=[0, 1], predictions=[1.0, 2.0], tolerance=0.0), actual)

"""Addresses of images: those of one folder become keys, all others are refused, whatever their disguise."""

from urllib.parse import quote

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from inference_runtime.errors import ApiError
from inference_runtime.image_addresses import ImagePlace

PLACE = ImagePlace(bucket="data", prefix="images/", region="eu-west-1")
HOSTS = ("data.s3.eu-west-1.amazonaws.com/", "data.s3.amazonaws.com/")
PATHS = ("s3.eu-west-1.amazonaws.com/data/", "s3.amazonaws.com/data/")
STARTS = ("s3://data/", *(f"https://{start}" for start in (*HOSTS, *PATHS)))


@pytest.mark.parametrize("start", STARTS)
@pytest.mark.parametrize(
    "key", ["images/a.png", "images/2026/é ü/b+c&d=e;f.jpeg", "images/..a/b..png", "images/...x"]
)
def test_each_way_to_write_an_object_down_is_its_key(start, key):
    assert PLACE.key(start + (key if start.startswith("s3") else quote(key)), "images[0]") == key


def test_hosts_have_no_case_and_other_partitions_their_own_name():
    assert PLACE.key("https://Data.S3.EU-west-1.AmazonAWS.com/images/A.png", "it") == "images/A.png"
    china = ImagePlace(bucket="data", prefix="images/", region="cn-north-1")
    assert china.key("https://data.s3.cn-north-1.amazonaws.com.cn/images/a.png", "it") == "images/a.png"
    with pytest.raises(ApiError):
        china.key("https://data.s3.cn-north-1.amazonaws.com/images/a.png", "it")


def refused(address):
    with pytest.raises(ApiError) as caught:
        PLACE.key(address, "images[3]")
    assert (caught.value.status, caught.value.code) == (422, "image_not_allowed")
    assert caught.value.message.startswith("images[3] ")
    return caught.value.message


@pytest.mark.parametrize(
    "address",
    [
        # Not S3 at all: the machine itself, its metadata, the function's credentials, names for them.
        "http://169.254.169.254/latest/meta-data/iam/security-credentials/",
        "http://169.254.170.2/v2/credentials",
        "https://127.0.0.1/images/a.png",
        "https://localhost:9001/2018-06-01/runtime/invocation/next",
        "https://[::1]/images/a.png",
        "https://[::ffff:169.254.169.254]/images/a.png",
        "https://2852039166/latest/meta-data",
        "https://0xA9FEA9FE/",
        "https://metadata.google.internal/",
        "file:///etc/passwd",
        "file://data/images/a.png",
        "ftp://data/images/a.png",
        "gopher://data/images/a.png",
        "data:image/png;base64,AAAA",
        "jar:https://data.s3.eu-west-1.amazonaws.com/images/a.png",
        "javascript:alert(1)",
        "//data.s3.eu-west-1.amazonaws.com/images/a.png",
        "data/images/a.png",
        "images/a.png",
        "/images/a.png",
        "",
        " ",
        "https://",
        "s3://",
        "s3:///images/a.png",
        "s3:/data/images/a.png",
        "S3://data/images/a.png",
        "s3a://data/images/a.png",
        # Plain HTTP, and the two schemes mixed up.
        "http://data.s3.eu-west-1.amazonaws.com/images/a.png",
        "s3://data.s3.eu-west-1.amazonaws.com/images/a.png",
        "https://data/images/a.png",
        # Other hosts that look like it.
        "https://data.s3.eu-west-1.amazonaws.com.evil.example/images/a.png",
        "https://evil.example/data.s3.eu-west-1.amazonaws.com/images/a.png",
        "https://data.s3.eu-west-1.amazonaws.com@evil.example/images/a.png",
        "https://evil.example@data.s3.eu-west-1.amazonaws.com/images/a.png",
        "https://user:secret@data.s3.eu-west-1.amazonaws.com/images/a.png",
        "https://data.s3.eu-west-1.amazonaws.com:443/images/a.png",
        "https://data.s3.eu-west-1.amazonaws.com:8080/images/a.png",
        "https://data.s3.eu-west-1.amazonaws.com./images/a.png",
        "https://evildata.s3.eu-west-1.amazonaws.com/images/a.png",
        "https://data.evil.s3.eu-west-1.amazonaws.com/images/a.png",
        "https://data.s3.us-east-1.amazonaws.com/images/a.png",
        "https://data.s3-website.eu-west-1.amazonaws.com/images/a.png",
        "https://data.s3-accesspoint.eu-west-1.amazonaws.com/images/a.png",
        "https://data.s3.dualstack.eu-west-1.amazonaws.com/images/a.png",
        "https://data.s3.eu-west-1.amazonaws.com.cn/images/a.png",
        "https://data.s3.eu-west-1.amazonaws。com/images/a.png",
        "https://ｄata.s3.eu-west-1.amazonaws.com/images/a.png",
        "https://data.s3.eu-west-1.amazonaws.com\\@evil.example/images/a.png",
        "https:\\\\data.s3.eu-west-1.amazonaws.com\\images\\a.png",
        "https:///data.s3.eu-west-1.amazonaws.com/images/a.png",
        "https://data%2es3.eu-west-1.amazonaws.com/images/a.png",
        # Other buckets.
        "s3://other/images/a.png",
        "s3://data@other/images/a.png",
        "s3://other@data/images/a.png",
        "s3://Data/images/a.png",
        "s3://data:443/images/a.png",
        "s3://arn:aws:s3:eu-west-1:123456789012:accesspoint/data/images/a.png",
        "https://s3.eu-west-1.amazonaws.com/other/images/a.png",
        "https://s3.eu-west-1.amazonaws.com/other/../data/images/a.png",
        "https://s3.eu-west-1.amazonaws.com//data/images/a.png",
        "https://s3.eu-west-1.amazonaws.com/d%61ta/images/a.png",
        "https://s3.us-west-2.amazonaws.com/data/images/a.png",
        # Other folders, and ways out of this one.
        "s3://data/a.png",
        "s3://data/models/multi/m/1-abc.tar.gz",
        "s3://data/imagesa.png",
        "s3://data/Images/a.png",
        "s3://data/images",
        "s3://data/images/",
        "s3://data//images/a.png",
        "s3://data/images//a.png",
        "s3://data/images/b/",
        "s3://data/images/../raw/loans.csv",
        "s3://data/images/..",
        "s3://data/images/./a.png",
        "s3://data/images/b/../../raw/loans.csv",
        "s3://data/images/%2e%2e/raw/loans.csv",
        "s3://data/images\\..\\raw\\loans.csv",
        "https://data.s3.eu-west-1.amazonaws.com/images/%2e%2e/raw/loans.csv",
        "https://data.s3.eu-west-1.amazonaws.com/images/.%2E/raw/loans.csv",
        "https://data.s3.eu-west-1.amazonaws.com/images%2f..%2fraw%2floans.csv",
        "https://data.s3.eu-west-1.amazonaws.com/images/%252e%252e/raw/loans.csv",
        "https://data.s3.eu-west-1.amazonaws.com/images/%5c..%5craw",
        "https://data.s3.eu-west-1.amazonaws.com/images/%c0%ae%c0%ae/raw/loans.csv",
        "https://data.s3.eu-west-1.amazonaws.com/images/a%00.png",
        "https://data.s3.eu-west-1.amazonaws.com/images/a%0d%0aHost:%20evil",
        "https://data.s3.eu-west-1.amazonaws.com/images/a%zz.png",
        "https://data.s3.eu-west-1.amazonaws.com/images/a%3fversionId=1",
        "https://data.s3.eu-west-1.amazonaws.com/images/a%23.png",
        # Versions, signatures, other operations.
        "s3://data/images/a.png?versionId=3",
        "https://data.s3.eu-west-1.amazonaws.com/images/a.png?versionId=3",
        "https://data.s3.eu-west-1.amazonaws.com/images/a.png?X-Amz-Signature=abc",
        "https://data.s3.eu-west-1.amazonaws.com/images/a.png?acl",
        "https://data.s3.eu-west-1.amazonaws.com/?list-type=2",
        "https://data.s3.eu-west-1.amazonaws.com/images/a.png#x",
        # Characters that something on the way might drop.
        "s3://data/images/a\n.png",
        "s3://data/images/a\0.png",
        "\ts3://data/images/a.png",
        " s3://data/images/a.png",
        "s3://data/images/a\u202egnp.exe",
        "s3://data/images/\ud800.png",
        "s3://data/images/" + "x" * 1024,
        "s3://data/images/" + "é" * 512,
        "s3://data/images/" + "x" * 100_000,
    ],
)
def test_what_is_anything_else_is_refused(address):
    message = refused(address)
    # A signature or a password in it must not come back, nor reach a log.
    assert "secret" not in message
    assert "X-Amz" not in message


pieces = st.sampled_from(
    [
        "s3://",
        "https://",
        "data",
        "images",
        "/",
        "..",
        ".",
        "%2e",
        "%2f",
        "%25",
        "@",
        ":",
        "?",
        "#",
        "\\",
        "a.png",
        "é",
        "\x00",
        "s3.eu-west-1.amazonaws.com",
        "s3.amazonaws.com",
        "evil.example",
        "169.254.169.254",
    ]
)


@given(
    st.one_of(
        st.text(max_size=60),
        st.lists(pieces, max_size=12).map("".join),
        pieces.map("s3://data/images/{}".format),
    )
)
@example("https://data.s3.amazonaws.com/images/%E0%80%AF")
def test_whatever_is_written_a_key_lies_in_the_folder_or_there_is_none(address):
    try:
        key = PLACE.key(address, "images[0]")
    except ApiError:
        refused(address)
        return
    assert key.startswith("images/")
    assert key.isprintable()
    assert not {"", ".", ".."} & set(key.split("/"))
    assert not set("\\?#%") & set(key)
    assert address.startswith(STARTS)


names = st.lists(
    st.text(
        st.characters(exclude_characters="/\\?#%", exclude_categories=["C", "Z"]), min_size=1, max_size=8
    ).filter(lambda name: name not in (".", "..") and name.isprintable()),
    min_size=1,
    max_size=4,
)


@given(names, st.sampled_from(STARTS))
def test_every_ordinary_key_of_the_folder_can_be_written_down(parts, start):
    key = "images/" + "/".join(parts)
    assert PLACE.key(start + (key if start.startswith("s3") else quote(key)), "it") == key

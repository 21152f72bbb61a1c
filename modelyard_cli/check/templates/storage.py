"""Buckets, and data that a mistake takes away.

https://docs.aws.amazon.com/AmazonS3/latest/userguide/security-best-practices.html
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from modelyard_cli.check.iam_reference import overlap
from modelyard_cli.check.registry import Advice, Hits, template_rule
from modelyard_cli.check.templates.model import (
    Resource,
    Template,
    known,
    literal,
    number,
    objects,
    opaque,
    part,
)
from modelyard_cli.check.templates.statements import Statement, resource_statements
from modelyard_cli.check.templates.tables import TABLE

BUCKET = "AWS::S3::Bucket"


def _statements(template: Template, bucket: Resource) -> Iterator[Statement]:
    for other in template.assembly.templates:
        for statement in resource_statements(other):
            if (
                statement.resource.type == "AWS::S3::BucketPolicy"
                and template.assembly.target(statement.resource.properties.get("Bucket"), BUCKET) is bucket
            ):
                yield statement


@template_rule(
    "MYT631",
    "A bucket that may become public, or takes requests in the clear",
    "Block public access fully, keep ACLs private, and deny s3:* without aws:SecureTransport.",
)
def _buckets(template: Template) -> Hits:
    for bucket in template.of(BUCKET):
        block = bucket.properties.get("PublicAccessBlockConfiguration") or {}
        off = [
            m
            for m in ("BlockPublicAcls", "BlockPublicPolicy", "IgnorePublicAcls", "RestrictPublicBuckets")
            if block.get(m) not in (True, "true")
        ]
        if off:
            message = f"{', '.join(off)} not set"
            # Buckets block public access unless told otherwise; a configuration that says less tells them so.
            yield bucket.at("PublicAccessBlockConfiguration"), message if block else Advice(message)
        if str(bucket.properties.get("AccessControl", "Private")).startswith(("Public", "Authenticated")):
            yield bucket.at("AccessControl"), f"is {bucket.properties['AccessControl']}"
        secure = [
            s
            for s in _statements(template, bucket)
            if s.body.get("Effect") == "Deny"
            and any(
                k.lower() == "aws:securetransport" and str(v[0]).lower() == "false"
                for _, k, v in s.conditions
            )
        ]
        if not secure:
            yield bucket.at(), Advice("no policy denies requests without TLS")
        for statement in secure:
            if not any(a in ("s3:*", "*") for a in statement.actions):
                yield statement.at, Advice(f"denies only {', '.join(statement.actions)} without TLS")


@template_rule(
    "MYT632",
    "A bucket, table or volume that is not encrypted with a key of its own",
    "Give BucketEncryption, SSESpecification or Encrypted with a key.",
)
def _encryption(template: Template) -> Hits:
    for bucket in template.of(BUCKET):
        if not objects(part(bucket.properties, "BucketEncryption", "ServerSideEncryptionConfiguration")):
            yield bucket.at("BucketEncryption"), Advice("is missing")
        for rule in objects(part(bucket.properties, "BucketEncryption", "ServerSideEncryptionConfiguration")):
            default = rule.get("ServerSideEncryptionByDefault") or {}
            if default.get("SSEAlgorithm") == "AES256" and default.get("KMSMasterKeyID"):
                yield bucket.at("BucketEncryption"), "names a key, but AES256 does not use it"
    for table in template.of(TABLE):
        if part(table.properties, "SSESpecification", "SSEEnabled") not in (True, "true"):
            yield table.at("SSESpecification"), Advice("is not enabled")
    for repository in template.of("AWS::ECR::Repository"):
        if repository.properties.get("ImageTagMutability") not in ("IMMUTABLE", "IMMUTABLE_WITH_EXCLUSION"):
            yield (
                repository.at("ImageTagMutability"),
                Advice("is not IMMUTABLE: a tag may come to mean another image"),
            )
        if part(repository.properties, "ImageScanningConfiguration", "ScanOnPush") not in (True, "true"):
            yield repository.at("ImageScanningConfiguration"), Advice("ScanOnPush is not set")
    for volume in template.of("AWS::EC2::Volume", "AWS::EFS::FileSystem", "AWS::RDS::DBInstance"):
        if not any(volume.properties.get(m) in (True, "true") for m in ("Encrypted", "StorageEncrypted")):
            explicit = any(m in volume.properties for m in ("Encrypted", "StorageEncrypted"))
            yield volume.at("Encrypted"), "is false" if explicit else Advice("is not set")


@template_rule(
    "MYT634",
    "A life cycle that takes away what is served, or that S3 refuses",
    "Leave the prefixes of models out; later classes after earlier ones, expiry after both.",
)
def _life_cycles(template: Template) -> Hits:
    for bucket in template.of(BUCKET):
        for index, rule in enumerate(objects(part(bucket.properties, "LifecycleConfiguration", "Rules"))):
            if rule.get("Status") == "Disabled":
                continue
            at = bucket.at(f"LifecycleConfiguration.Rules[{index}]")
            expiry = number(rule.get("ExpirationInDays"))
            days = [number(t.get("TransitionInDays")) for t in objects(rule.get("Transitions"))]
            if expiry is not None and any(d is not None and d >= expiry for d in days):
                yield at, f"expires after {expiry:g} days, before it moves"
            if any(
                t.get("StorageClass") in ("STANDARD_IA", "ONEZONE_IA")
                and (number(t.get("TransitionInDays")) or 30) < 30
                for t in objects(rule.get("Transitions"))
            ):
                yield at, "moves to infrequent access before 30 days"
            prefix = rule.get("Prefix", part(rule, "Filter", "Prefix")) or ""
            gone = expiry is not None or any(
                "GLACIER" in str(t.get("StorageClass")) or "DEEP" in str(t.get("StorageClass"))
                for t in objects(rule.get("Transitions"))
            )
            for model in (
                template.assembly.of("AWS::SageMaker::Model") if gone and not rule.get("TagFilters") else ()
            ):
                for url in _urls(model):
                    if template.assembly.target(url, BUCKET) is bucket and isinstance(prefix, str):
                        key = (
                            url.split("}/", 1)[-1]
                            if "}/" in url
                            else url.removeprefix("s3://").partition("/")[2]
                        )
                        if key.startswith(prefix) or (prefix and prefix.startswith(key)):
                            yield at, f"takes away models under {key}, which {model.id} serves"


def _urls(model: Resource) -> Iterator[str]:
    for container in [
        *objects(model.properties.get("PrimaryContainer")),
        *objects(model.properties.get("Containers")),
    ]:
        url = container.get("ModelDataUrl")
        if isinstance(url, str) and not opaque(url):
            yield url


@template_rule(
    "MYT639",
    "Two notifications for the same objects of a bucket",
    "Prefixes and suffixes that do not overlap for one event: S3 refuses the others.",
)
def _overlaps(template: Template) -> Hits:
    for bucket in template.of(BUCKET):
        notification = bucket.properties.get("NotificationConfiguration") or {}
        found = [
            (f"{member}[{index}]", str(item.get("Event")), *_filter(item))
            for member in ("LambdaConfigurations", "QueueConfigurations", "TopicConfigurations")
            for index, item in enumerate(objects(notification.get(member)))
        ]
        for number_, (path, event, prefix, suffix) in enumerate(found):
            for other, event2, prefix2, suffix2 in found[:number_]:
                if not (overlap(event, event2) and known(prefix + suffix + prefix2 + suffix2)):
                    continue
                heads = prefix.startswith(prefix2) or prefix2.startswith(prefix)
                if heads and (suffix.endswith(suffix2) or suffix2.endswith(suffix)):
                    yield bucket.at(f"NotificationConfiguration.{path}"), f"overlaps with {other}"


def _filter(item: dict[str, Any]) -> tuple[str, str]:
    rules = {
        str(r.get("Name")).lower(): str(r.get("Value", ""))
        for r in objects(part(item, "Filter", "S3Key", "Rules"))
    }
    return rules.get("prefix", ""), rules.get("suffix", "")


@template_rule(
    "MYT636",
    "Data that a mistake takes away for good",
    "Keep tables and buckets of production: DeletionPolicy Retain beside protection; point-in-time "
    "recovery for tables.",
)
def _recovery(template: Template) -> Hits:
    for table in template.of(TABLE):
        if part(table.properties, "PointInTimeRecoverySpecification", "PointInTimeRecoveryEnabled") not in (
            True,
            "true",
        ):
            yield table.at("PointInTimeRecoverySpecification"), Advice("is not enabled")
        if (
            table.properties.get("DeletionProtectionEnabled") in (True, "true")
            and table.body.get("DeletionPolicy") == "Delete"
        ):
            yield (
                table.at("DeletionProtectionEnabled"),
                "is set, while DeletionPolicy is Delete: removing the stack fails",
            )
    for bucket in template.of(BUCKET):
        if part(bucket.properties, "VersioningConfiguration", "Status") == "Suspended":
            yield bucket.at("VersioningConfiguration"), Advice("is Suspended")
        if (
            part(bucket.properties, "ReplicationConfiguration")
            and part(bucket.properties, "VersioningConfiguration", "Status") != "Enabled"
        ):
            yield bucket.at("ReplicationConfiguration"), "needs versioning"


@template_rule(
    "MYT637",
    "A policy of a bucket that does not fit the bucket",
    "Name this bucket, and its objects with /*.",
)
def _policies(template: Template) -> Hits:
    for statement in resource_statements(template):
        if statement.resource.type != "AWS::S3::BucketPolicy":
            continue
        bucket = template.assembly.target(statement.resource.properties.get("Bucket"), BUCKET)
        for resource in statement.resources:
            other = template.assembly.target(resource, BUCKET)
            if bucket is not None and other is not None and other is not bucket:
                yield statement.at, f"is about {other.id}, but the policy is that of {bucket.id}"
            named = re.fullmatch(r"arn:[\w-]+:s3:::([^/*?$]+)(/.*)?", resource)
            own = bucket.properties.get("BucketName", "") if bucket is not None and other is None else None
            if bucket is not None and named and own is not None and known(own) and named[1] != own:
                yield statement.at, f"is about {named[1]}, but the policy is that of {bucket.id}"
        objects_only = [
            a for a in statement.actions if a in ("s3:GetObject", "s3:PutObject", "s3:DeleteObject")
        ]
        if (
            objects_only
            and statement.resources
            and all(
                "/" not in literal(r).partition(":::")[2] and known(r[-1:]) and not r.endswith("*")
                for r in statement.resources
            )
        ):
            yield statement.at, f"{objects_only[0]} works on objects, not on the bucket"
        if (
            any(a in ("s3:*", "*") for a in statement.actions)
            and statement.allows
            and "*" in [literal(p) for p in statement.principals]
        ):
            yield statement.at, "allows everything to everybody"

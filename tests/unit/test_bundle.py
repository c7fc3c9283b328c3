"""The bundle for machines without internet: its list of images, and the jars that are taken from it."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from deploy.bundle import images
from runtime.broker.errors import BrokerError
from runtime.broker.jars import Jar, provide_jars

JAR = Jar("org.example", "thing", "1.0", hashlib.sha256(b"the jar").hexdigest())


def test_every_image_of_the_compose_files_is_listed_once(tmp_path: Path) -> None:
    one, two = tmp_path / "docker-compose.yml", tmp_path / "docker-compose.gpu.yml"
    one.write_text(
        "x-stage: &stage {image: '${BACKSIGHT_IMAGE:-backsight:cpu}'}\n"
        "services:\n  api: *stage\n  rules: *stage\n  kafka: {image: 'apache/kafka:${VERSION:-4.4.0}'}\n"
    )
    two.write_text("services:\n  inference: {image: backsight:cuda}\n  api: {environment: {A: b}}\n")
    assert images([one, two]) == ["apache/kafka:4.4.0", "backsight:cpu", "backsight:cuda"]


def provide(tmp_path: Path) -> list[Path]:
    return provide_jars(tmp_path / "cache", [JAR], {"PATH": ""}, bundled=tmp_path / "bundled")


def test_jars_are_taken_from_a_bundle_without_maven_or_network(tmp_path: Path) -> None:
    (tmp_path / "bundled").mkdir()
    (tmp_path / "bundled" / JAR.file_name).write_bytes(b"the jar")
    (path,) = provide(tmp_path)
    assert path.read_bytes() == b"the jar"


def test_a_jar_that_is_not_the_locked_one_is_refused(tmp_path: Path) -> None:
    (tmp_path / "bundled").mkdir()
    (tmp_path / "bundled" / JAR.file_name).write_bytes(b"another jar")
    with pytest.raises(BrokerError, match="not the jar that"):
        provide(tmp_path)
    assert not list((tmp_path / "cache").rglob("*.jar"))


def test_what_the_bundle_lacks_is_fetched_as_ever(tmp_path: Path) -> None:
    with pytest.raises(BrokerError, match="no Maven"):
        provide(tmp_path)

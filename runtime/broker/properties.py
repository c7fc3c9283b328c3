"""What the local broker is told: server.properties and the JVM's options."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

HOST = "127.0.0.1"
LOG_FOLDER = "log"  # below the data folder

# Why a value differs from Kafka's own default is said beside it.
_FIXED: Mapping[str, str] = {
    "process.roles": "broker,controller",
    "node.id": "1",
    "listener.security.protocol.map": "CLIENT:PLAINTEXT,CONTROLLER:PLAINTEXT",
    "inter.broker.listener.name": "CLIENT",
    "controller.listener.names": "CONTROLLER",
    # Two cores are shared with the pipeline.
    "num.network.threads": "2",
    "num.io.threads": "2",
    "num.partitions": "1",
    "num.recovery.threads.per.data.dir": "2",
    # A typing mistake in a topic's name must be an error, not a topic.
    "auto.create.topics.enable": "false",
    # One node: internal topics cannot have three copies; 50 partitions of them would be 150 open files for nothing.
    "offsets.topic.num.partitions": "1",
    "offsets.topic.replication.factor": "1",
    "transaction.state.log.num.partitions": "1",
    "transaction.state.log.replication.factor": "1",
    "transaction.state.log.min.isr": "1",
    "share.coordinator.state.topic.num.partitions": "1",
    "share.coordinator.state.topic.replication.factor": "1",
    "share.coordinator.state.topic.min.isr": "1",
    # A group begins at once instead of waiting 3 s for members that are not coming.
    "group.initial.rebalance.delay.ms": "0",
    "group.consumer.min.session.timeout.ms": "6000",
    "group.consumer.session.timeout.ms": "6000",
    # After a kill -9 the controller refuses the new broker until the old registration's session has timed out, and
    # the broker asks again once per heartbeat: 12 s to ready at Kafka's own 9 s and 2 s, 4.7 s at these, measured on a
    # loaded machine (docs/decisions/local-kafka.md). Shorter would fence a broker that a busy machine holds up.
    "broker.session.timeout.ms": "3000",
    "broker.heartbeat.interval.ms": "500",
    # Old frames go in whole segments: 16 MiB instead of 1 GiB lets a size bound of 100 MB mean something.
    "log.segment.bytes": "16777216",
    "log.retention.check.interval.ms": "60000",
    # 128 MB on the heap by default: more than half of ours.
    "log.cleaner.dedupe.buffer.size": "8388608",
    "message.max.bytes": "2097152",
}


def server_properties(port: int, controller_port: int, overrides: Mapping[str, str] | None = None) -> dict[str, str]:
    """All properties of a broker that listens on loopback only. Its working folder is the data folder: paths are
    relative, so a folder with a comma in its name (`log.dirs` is a list) and one that is moved work too."""
    return {
        **_FIXED,
        "controller.quorum.voters": f"1@{HOST}:{controller_port}",
        "listeners": f"CLIENT://{HOST}:{port},CONTROLLER://{HOST}:{controller_port}",
        "advertised.listeners": f"CLIENT://{HOST}:{port}",
        "log.dirs": LOG_FOLDER,
        **(overrides or {}),
    }


def write_properties(path: Path, properties: Mapping[str, str]) -> None:
    """Write a Java properties file (sorted, so that two can be compared)."""
    lines = (f"{key}={value}" for key, value in sorted(properties.items()))
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def jvm_options(data: Path, archive: Path | None) -> list[str]:
    """Options of the broker's JVM: 150 MB resident with these."""
    options = [
        "-Xms64m",
        "-Xmx256m",
        "-XX:+UseSerialGC",
        "-XX:TieredStopAtLevel=1",  # C1 only: starts sooner, and the broker is never the bottleneck on a laptop
        "-XX:-UsePerfData",  # no file in /tmp
        "-XX:+ExitOnOutOfMemoryError",  # dead is noticed, half dead is not
        "-XX:ErrorFile=java-crash.txt",
        "-Djava.awt.headless=true",
        f"-Djava.io.tmpdir={data / 'tmp'}",  # native libraries of zstd, lz4, snappy: /tmp may be noexec
        "-Dkafka.logs.dir=.",
        "-Dorg.slf4j.simpleLogger.showDateTime=true",
        "-Dorg.slf4j.simpleLogger.dateTimeFormat=yyyy-MM-dd'T'HH:mm:ss.SSS",
        "-Dorg.slf4j.simpleLogger.levelInBrackets=true",
        # 2,300 of 2,600 lines of a start are lists of settings; server.properties says what matters.
        "-Dorg.slf4j.simpleLogger.log.org.apache.kafka.common.config.AbstractConfig=warn",
    ]
    if archive is not None:
        options += [f"-XX:SharedArchiveFile={archive}", "-Xshare:auto", "-Xlog:cds=off", "-Xlog:class+path=off"]
    return options

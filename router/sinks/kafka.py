"""The sink `kafka`: a record per alert and phase on a topic of any cluster. See docs/sinks/kafka.md.

Key, value and header `schema` are those of the topic `alerts`, so whoever reads that reads this; `delivery-id` is what
readers deduplicate by, `evidence-url` a link to the picture.
"""

from pathlib import Path
from typing import Annotated, ClassVar, Final, Literal, Self

from pydantic import Field, StringConstraints

from router.records import CONTENT_TYPE, cloud_event
from router.retry import Answer
from router.sending import Record, Sending
from router.sinks import Notice
from runtime.kafka import KafkaException
from runtime.settings import KafkaSettings
from schemas.codec import schema_header
from schemas.documents.routes import SinkDocument
from schemas.messages import Alert

TopicName = Annotated[str, StringConstraints(pattern=r"^(\.{3}|\.{0,2}[A-Za-z0-9_-])[A-Za-z0-9._-]{0,246}$")]

GIVE_UP_SECONDS: Final = 1.5


class KafkaDocument(KafkaSettings, SinkDocument):
    """A topic of a cluster, which is reached with the keys of `KAFKA_…`. The topic must be there.

    ``cloudevents``: headers of CloudEvents 1.0 (`ce_id`, `ce_type`, …) besides.
    """

    kind: Literal["kafka"]
    bootstrap_servers: str = Field(min_length=1)
    topic: TopicName
    max_age_seconds: float = Field(default=72 * 3600.0, gt=0)
    timeout_seconds: float = Field(default=15.0, ge=3, le=300, description="for a whole attempt")
    cloudevents: bool = False


class Kafka:
    """An idempotent producer; a record is delivered when all replicas in sync have it."""

    kind: ClassVar[str] = "kafka"
    actuates: ClassVar[bool] = False
    document = KafkaDocument

    def __init__(self, document: KafkaDocument) -> None:
        self.name = document.name
        self.lanes = document.lanes
        self.deadline_seconds = document.timeout_seconds
        self.max_age_seconds: float | None = document.max_age_seconds
        self._topic = document.topic
        self._cloudevents = document.cloudevents
        self._cluster = KafkaSettings(**{name: getattr(document, name) for name in KafkaSettings.model_fields})
        self._sending: Sending | None = None

    @classmethod
    def from_document(cls, document: KafkaDocument) -> Self:
        """Raises `ValueError` where login or certificates are not whole."""
        if document.security_protocol.startswith("SASL"):
            for key in ("sasl_mechanism", "sasl_username", "sasl_password"):
                if getattr(document, key) is None:
                    raise ValueError(f"{key}: is needed for {document.security_protocol}")
        elif document.sasl_password is not None:
            raise ValueError(f"security_protocol: {document.security_protocol} sends no login; expected SASL_SSL")
        for key in ("ssl_ca_location", "ssl_certificate_location", "ssl_key_location"):
            file = getattr(document, key)
            if file is not None and not Path(file).is_file():
                raise ValueError(f"{key}: there is no such file")
        return cls(document)

    @property
    def hosts(self) -> tuple[str, ...]:
        """What it connects to first; the cluster names the others."""
        servers = [each.strip().rpartition("://")[2] for each in self._cluster.bootstrap_servers.split(",")]
        return tuple((each.rpartition(":")[0] or each).strip("[]") for each in servers)

    async def deliver(self, notice: Notice) -> Answer:
        """A record for each member, all acknowledged."""
        try:
            sending = await self._begun()
        except KafkaException as error:
            return Answer("later", "rejected", f"the client does not take these settings ({error.args[0].name()})")
        return await sending.send(self._topic, [self._record(member) for member in notice.members])

    async def close(self) -> None:
        """Closes the connections. The sink may be told again afterwards."""
        sending, self._sending = self._sending, None
        if sending is not None:
            await sending.close()

    async def _begun(self) -> Sending:
        if self._sending is not None and self._sending.broken:
            await self.close()
        if self._sending is None:
            # The client looks once a second for what it gives up, and is to be done with a record before we are.
            self._sending = Sending(
                self._cluster, f"backsight-sink-{self.name}", self.deadline_seconds - GIVE_UP_SECONDS
            )
        return self._sending

    def _record(self, notice: Notice) -> Record:
        headers = [
            schema_header(Alert),
            ("delivery-id", notice.delivery_id.encode()),
            ("type", notice.kind.encode()),
            ("site", notice.site.encode()),
        ]
        if notice.evidence_url is not None:
            headers.append(("evidence-url", notice.evidence_url.encode()))
        if self._cloudevents:
            headers.append(("content-type", CONTENT_TYPE.encode()))
            headers += [(f"ce_{name}", value.encode()) for name, value in cloud_event(notice).items()]
        return Record(notice.alert.camera_id, notice.value, headers, notice.instant)


SINK = Kafka

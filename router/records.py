"""An alert as one record, for sinks that tell each alert by itself: files, streams, topics. Pure."""

from typing import Any, Final
from urllib.parse import quote

import msgspec

from router.sinks import Notice, iso

CONTENT_TYPE: Final = "application/json"


def record_of(notice: Notice) -> bytes:
    """One line of JSON without its end: ``{"id", "type", "timestamp", "site", "data", "evidence_url"}``.

    ``id`` is the delivery id, by which a reader deduplicates; ``data`` the alert as it stands on its topic. The last is
    left out where there is no link.
    """
    told: dict[str, Any] = {
        "id": notice.delivery_id,
        "type": notice.kind,
        "timestamp": iso(notice.instant),
        "site": notice.site,
        "data": msgspec.Raw(notice.line),
    }
    if notice.evidence_url is not None:
        told["evidence_url"] = notice.evidence_url
    return msgspec.json.encode(told)


def cloud_event(notice: Notice) -> dict[str, str]:
    """The context attributes of CloudEvents 1.0, without the data and its type.

    https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/spec.md
    """
    link = {} if notice.evidence_url is None else {"evidenceurl": notice.evidence_url}
    return {
        "specversion": "1.0",
        "id": notice.delivery_id,
        "type": notice.kind,
        "source": f"/backsight/{quote(notice.site, safe='')}".rstrip("/"),
        "time": iso(notice.instant),
        "subject": f"{notice.alert.camera_id}/{notice.alert.roi}",
        **link,
    }

"""Parts of a file, as players ask for them."""

import pytest

from api.problems import ApiProblem
from api.ranges import ranged
from evidence.store import EvidenceStore
from tests.support.alerts import opened
from tests.support.api import Seeing, Topics, make_app, serving, write_configs

FILE = bytes(range(100))


def asked(range_: str, **more: str) -> tuple[int, bytes, str | None]:
    answer = ranged(FILE, "video/mp4", {"range": range_, **more}, {})
    assert answer.headers["content-length"] == str(len(answer.body))
    assert answer.headers["accept-ranges"] == "bytes"
    return answer.status_code, bytes(answer.body), answer.headers.get("content-range")


@pytest.mark.parametrize(
    ("range_", "part"),
    [
        ("bytes=0-0", (0, 0)),
        ("bytes=10-19", (10, 19)),
        ("bytes=90-", (90, 99)),
        ("bytes=90-4711", (90, 99)),
        ("bytes=-5", (95, 99)),
        ("bytes=-4711", (0, 99)),
        ("BYTES = 3 - 4 ", (3, 4)),
    ],
)
def test_one_range_is_answered_with_that_part(range_: str, part: tuple[int, int]) -> None:
    begin, end = part
    assert asked(range_) == (206, FILE[begin : end + 1], f"bytes {begin}-{end}/100")


@pytest.mark.parametrize(
    "range_", ["", "bytes=-", "bytes=9-3", "bytes=0-1,5-6", "lines=1-2", "bytes=a-b", "bytes=1", "bytes=1-2-3"]
)
def test_what_is_no_single_range_gets_all(range_: str) -> None:
    assert asked(range_) == (200, FILE, None)


@pytest.mark.parametrize("range_", ["bytes=100-", "bytes=100-200", "bytes=-0"])
def test_a_range_behind_the_end_is_refused_with_the_size(range_: str) -> None:
    with pytest.raises(ApiProblem) as refused:
        asked(range_)
    assert refused.value.status == 416
    assert (refused.value.headers or {})["Content-Range"] == "bytes */100"


def test_a_part_of_another_state_of_the_file_is_not_mixed_with_this_one() -> None:
    tag = ranged(FILE, "video/mp4", {}, {}).headers["etag"]
    assert asked("bytes=0-9", **{"if-range": tag})[0] == 206
    assert asked("bytes=0-9", **{"if-range": '"another"'}) == (200, FILE, None)
    assert asked("bytes=0-9", **{"if-range": "Sat, 29 Oct 1994 19:43:31 GMT"})[0] == 200


async def test_a_clip_is_served_in_parts(tmp_path) -> None:
    topics, alert = Topics(), opened(1)
    topics.index.take(alert)
    showing = topics.showing(EvidenceStore(str(tmp_path / "evidence")))._replace(clip=lambda _alert: FILE)
    app, _ = make_app(write_configs(tmp_path), Seeing, topics=topics, showing=showing)
    path = f"/alerts/{alert.alert_id}/clip.mp4"
    async with serving(app) as api:
        whole = await api.get(path)
        part = await api.get(path, headers={"Range": "bytes=5-6", "If-Range": whole.headers["etag"]})
        late = await api.get(path, headers={"Range": "bytes=100-"})
    assert (whole.status_code, whole.content) == (200, FILE)
    assert (part.status_code, part.content, part.headers["content-type"]) == (206, FILE[5:7], "video/mp4")
    assert part.headers["cache-control"] == whole.headers["cache-control"]
    assert (late.status_code, late.headers["content-type"]) == (416, "application/problem+json")

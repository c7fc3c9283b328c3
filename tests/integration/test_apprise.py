"""The sink `apprise` with Apprise's own plugins for JSON and mail against servers of ours."""

import asyncio
import sys
import threading
from email.message import EmailMessage
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Self

import msgspec
import pytest

from router.lanes import Ended, Lanes
from router.retry import ACCEPTED, RetryPolicy
from router.sinks import Notice, Sink, open_sink
from router.sinks.apprise import DENIED, MAX_PICTURE_BYTES, words
from schemas.codec import encode
from schemas.messages import Alert
from schemas.problems import BadDocument
from tests.support.alerts import opened, resolved
from tests.support.mail import MailReceiver
from tests.support.receiver import Receiver, Slow, Status

SECRET = "hunter2"


def notice(alert: Alert) -> Notice:
    return Notice(alert, encode(alert), "north")


def sink_to(target: str, **entry: object) -> Sink:
    return open_sink({"name": "chat", "kind": "apprise", "target": target} | entry, "sinks[0]", {})


def json_target(receiver: Receiver) -> str:
    return f"json://user:{SECRET}@127.0.0.1:{receiver.port}/hook"


async def test_a_service_is_told_in_words() -> None:
    alert = opened()
    with Receiver() as receiver:
        sink = sink_to(json_target(receiver))
        assert await sink.deliver(notice(alert)) == ACCEPTED
        assert await sink.deliver(notice(resolved(alert))) == ACCEPTED
        await sink.close()
    first, second = (got.json for got in receiver.got)
    assert first["title"] == "CRITICAL OPENED: object in loading_zone of cam_nave3_hornos"
    assert first["type"] == "failure"
    assert first["message"].splitlines() == [
        "critical: object (87%), opened",
        "camera cam_nave3_hornos, ROI loading_zone, site north",
        "opened 2023-11-14T22:13:20.000Z",
        f"alert {alert.alert_id}",
    ]
    assert second["type"] == "success"
    assert "resolved 2023-11-14T22:13:25.000Z (quiet)" in second["message"]


async def test_several_in_company_are_one_message_that_names_each() -> None:
    alerts = [opened(number) for number in range(3)]
    told = notice(alerts[0]).with_company(map(notice, alerts[1:]), folded=True)
    with Receiver() as receiver:
        sink = sink_to(json_target(receiver))
        assert await sink.deliver(told) == ACCEPTED
        await sink.close()
    (got,) = receiver.got
    assert got.json["title"] == "3 alerts at north"
    assert all(alert.alert_id in got.json["message"] for alert in alerts)


async def test_a_mail_arrives_with_its_text_as_it_is() -> None:
    with MailReceiver() as server:
        sink = sink_to(f"mailto://127.0.0.1:{server.port}/desk@plant.example?from=yard@plant.example")
        assert await sink.deliver(notice(opened())) == ACCEPTED
        await sink.close()
        (mail,) = server.wait_for(1)
    assert mail["Subject"] == "CRITICAL OPENED: object in loading_zone of cam_nave3_hornos"
    assert "desk@plant.example" in mail["To"]
    body = mail.get_body(("plain", "html"))
    assert body is not None
    assert f"alert {opened().alert_id}" in body.get_content()
    assert "camera cam_nave3_hornos, ROI loading_zone, site north" in body.get_content()


class Pictures:
    """Serves `/evidence.jpg`: 404 until it was asked for ``late`` times, then ``status`` with ``content``."""

    def __init__(self, content: bytes = b"\xff\xd8 a picture", *, late: int = 0, status: int = 200) -> None:
        self.asked = 0
        pictures = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                pictures.asked += 1
                found = status if pictures.asked > late else 404
                self.send_response(found)
                self.send_header("content-type", "image/jpeg")
                self.end_headers()
                self.wfile.write(content if found == 200 else b"")

            def log_message(self, *_: object) -> None: ...

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.link = f"http://127.0.0.1:{self._server.server_port}/evidence.jpg?signature=0f"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()


async def mailed(told: Notice, **entry: object) -> EmailMessage:
    with MailReceiver() as server:
        sink = sink_to(f"mailto://127.0.0.1:{server.port}/desk@plant.example?from=yard@plant.example", **entry)
        assert await sink.deliver(told) == ACCEPTED
        await sink.close()
        (mail,) = server.wait_for(1)
    return mail


def attachments(mail: EmailMessage) -> list[tuple[str | None, bytes]]:
    return [(each.get_filename(), each.get_content()) for each in mail.iter_attachments()]


async def test_the_picture_of_what_opened_is_attached_as_soon_as_it_is_kept() -> None:
    alert = opened()
    with Pictures(late=1) as pictures:
        linked = msgspec.structs.replace(notice(alert), evidence_url=pictures.link)
        mail = await mailed(linked)
        assert attachments(mail) == [(f"{alert.alert_id}.jpg", b"\xff\xd8 a picture")]
        assert pictures.asked == 2
        over = msgspec.structs.replace(notice(resolved(alert)), evidence_url=pictures.link)
        assert attachments(await mailed(over)) == [], "what ends was seen when it began"
        assert attachments(await mailed(linked, attach=False)) == []
        assert pictures.asked == 2


@pytest.mark.parametrize(
    ("content", "habit"),
    [(b"x", {"status": 403}), (b"x", {"late": 10**6}), (b"x" * (MAX_PICTURE_BYTES + 1), {})],
)
async def test_a_picture_that_is_not_to_be_had_holds_up_no_message(content: bytes, habit: dict[str, int]) -> None:
    with Pictures(content, **habit) as pictures:
        mail = await mailed(msgspec.structs.replace(notice(opened()), evidence_url=pictures.link), timeout_seconds=3)
    body = mail.get_body(("plain", "html"))
    assert body is not None
    assert "signature=0f" in body.get_content(), "the link is told all the same"
    assert attachments(mail) == []


async def test_a_mail_server_that_refuses_is_tried_again_later() -> None:
    with MailReceiver("451 try again") as server:
        sink = sink_to(f"mailto://127.0.0.1:{server.port}/desk@plant.example?from=yard@plant.example")
        answer = await sink.deliver(notice(opened()))
        await sink.close()
    assert (answer.verdict, answer.reason) == ("later", "broken")


async def test_a_failure_is_one_attempt_and_says_no_secret_whatever_the_url_asks_for() -> None:
    with Receiver([Status(503)]) as receiver:
        sink = sink_to(json_target(receiver) + "?retry=5&wait=0")
        answer = await sink.deliver(notice(opened()))
        await sink.close()
    assert (answer.verdict, answer.reason) == ("later", "broken")
    assert SECRET not in answer.detail
    assert len(receiver.got) == 1


async def test_a_redirect_is_no_success_even_where_the_url_wants_it() -> None:
    with Receiver() as elsewhere, Receiver([Status(302, location=elsewhere.url)]) as receiver:
        sink = sink_to(json_target(receiver) + "?redirect=yes")
        assert (await sink.deliver(notice(opened()))).verdict == "later"
        await sink.close()
    assert elsewhere.got == []


async def test_after_the_deadline_nothing_is_known_so_it_is_told_again() -> None:
    ends: list[Ended] = []
    ended = threading.Event()

    def keep(end: Ended) -> None:
        ends.append(end)
        ended.set()

    with Receiver([Slow(1.5), Status()]) as receiver:
        sink = sink_to(json_target(receiver), timeout_seconds=0.5)
        lanes = Lanes(
            sink,
            RetryPolicy(max_age_ms=None, first_ms=1),
            ended=keep,
            gone=lambda _gone: None,
        )
        lanes.offer(notice(opened()))
        assert await asyncio.to_thread(ended.wait, 20)
        await sink.close()
    assert (ends[0].end.outcome, ends[0].attempts) == ("delivered", 2)
    assert len({got.json["message"] for got in receiver.got}) == 1, "both say the same id"


@pytest.mark.parametrize("schema", sorted(DENIED))
def test_what_reaches_only_this_machine_is_refused(schema: str) -> None:
    with pytest.raises(BadDocument, match=f"target: {schema}:// reaches only this machine"):
        sink_to(f"{schema.upper()}://{SECRET}")


@pytest.mark.parametrize(
    "target",
    ["", SECRET, f"pigeon://{SECRET}", f"http://{SECRET}/", f"json://a/{SECRET}, json://b/", f"json://[{SECRET}"],
)
def test_a_target_that_is_none_is_refused_and_never_repeated(target: str) -> None:
    with pytest.raises(BadDocument, match=r"sinks\[0\].target: ") as refused:
        sink_to(target)
    assert SECRET not in str(refused.value)


def test_without_apprise_the_sink_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "apprise", None)
    with pytest.raises(BadDocument, match=r"needs Apprise, which is not installed: pip install 'apprise>=2.2,<3'"):
        sink_to("json://127.0.0.1/")


def test_a_name_cannot_begin_a_line_of_its_own() -> None:
    sly = msgspec.structs.replace(opened(), label="a\nalert b")
    title, text = words(notice(sly))
    assert title == title.replace("\n", "")
    assert "a?alert b" in text

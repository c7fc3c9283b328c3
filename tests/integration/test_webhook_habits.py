"""A webhook's receiver at its worst: experiments W2 and W3.

W2: answers 500 twenty times, asks to wait, resets after processing, drips, redirects, answers a gigabyte.
W3: is gone, refuses the login, has no name any more, has a certificate that ended.
Waits are those of the router, made short; with the dice at 1 they are known beforehand.
"""

import asyncio
import resource
import shutil
import socket
import ssl
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec
import pytest

from router.breaker import BreakerPolicy
from router.lanes import Ended, Lanes
from router.retry import RetryPolicy
from router.sinks import Notice, Sink, open_sink
from schemas.codec import encode
from schemas.messages import delivery_id
from tests.support.alerts import opened
from tests.support.figures import Record, show
from tests.support.receiver import Drip, Habit, Huge, Receiver, Reset, Status

SECOND = 0.01
"""What stands for a second here, so that twenty attempts take seconds."""
POLICY = RetryPolicy(max_age_ms=None, first_ms=round(1000 * SECOND), longest_ms=round(60_000 * SECOND))
NEVER_OPEN = BreakerPolicy(failures=10**6)


def alert(number: int = 0) -> Notice:
    told = opened(number, at=round(time.time() * 1000))
    return Notice(told, encode(told))


class Story:
    """A webhook's lanes, and everything that ended."""

    def __init__(
        self, url: str, *, policy: RetryPolicy = POLICY, breaker: BreakerPolicy | None = None, **entry: object
    ):
        written = {"name": "desk", "kind": "webhook", "url": url, "timeout_seconds": 10} | entry
        self.sink: Sink = open_sink(written, "sinks[0]", {})
        self.ends: list[Ended] = []
        self._changed = asyncio.Event()
        self.lanes = Lanes(
            self.sink, policy, ended=self._keep, gone=lambda _gone: None, dice=lambda: 1.0, breaker=breaker
        )

    def _keep(self, end: Ended) -> None:
        self.ends.append(end)
        self._changed.set()

    async def tell(self, *notices: Notice) -> Sequence[Ended]:
        """Offers them and waits until every one has ended."""
        for notice in notices:
            self.lanes.offer(notice)
        return await self.until(lambda: len(self.ends) >= len(notices))

    async def until(self, true: Callable[[], bool], seconds: float = 60) -> Sequence[Ended]:
        """Waits until it holds; looked at after every end and now and then."""
        async with asyncio.timeout(seconds):
            while not true():
                self._changed.clear()
                try:
                    async with asyncio.timeout(0.05):
                        await self._changed.wait()
                except TimeoutError:
                    continue
        return self.ends

    async def close(self) -> None:
        """Withdraws what waits and closes the sink."""
        await self.lanes.withdraw()
        await self.sink.close()


async def told(habits: Sequence[Habit], **how: object) -> tuple[Receiver, Ended]:
    """One alert to a receiver with these habits, to its end."""
    with Receiver(list(habits)) as receiver:
        story = Story(receiver.url, breaker=NEVER_OPEN, **how)  # type: ignore[arg-type]
        (end,) = await story.tell(alert())
        await story.close()
    return receiver, end


# W2


async def test_w2_twenty_failures_are_followed_by_the_waits_that_were_promised(record_property: Record) -> None:
    receiver, end = await told([Status(500)] * 20 + [Status()])
    assert (end.end.outcome, end.attempts) == ("delivered", 21)
    assert len(set(receiver.ids)) == 1
    waits = [later.at - sooner.at for sooner, later in zip(receiver.got, receiver.got[1:], strict=False)]
    promised = [min(60, 2**number) * SECOND for number in range(20)]
    for wait, should in zip(waits, promised, strict=True):
        assert should * 0.8 <= wait <= should * 1.2 + 0.25, (waits, promised)  # and what a busy machine adds
    worst = max(wait / should for wait, should in zip(waits, promised, strict=True))
    show(record_property, 1, [end], receiver=receiver, times=f"20 waits, at most {worst:.2f} of the promised")


async def test_w2_a_receiver_that_asks_for_seven_seconds_gets_them(record_property: Record) -> None:
    receiver, end = await told([Status(429, retry_after="7"), Status()])
    assert end.attempts == 2
    waited = receiver.got[1].at - receiver.got[0].at
    assert waited >= 7
    show(record_property, 1, [end], receiver=receiver, times=f"waited {waited:.1f} s where 7 were asked for")


async def test_w2_a_reset_after_processing_is_one_duplicate_with_the_same_id(record_property: Record) -> None:
    receiver, end = await told([Reset(), Status()])
    assert (end.end.outcome, end.attempts) == ("delivered", 2)
    assert len(receiver.ids) == 2
    assert len(set(receiver.ids)) == 1
    show(record_property, 1, [end], receiver=receiver)


async def test_w2_a_head_that_drips_ends_at_the_deadline(record_property: Record) -> None:
    began = time.monotonic()
    receiver, end = await told([Drip(head_at_once=False), Status()], timeout_seconds=1)
    took = time.monotonic() - began
    assert took <= 1 + 1 + 1, "an attempt ends within a second of its deadline"
    assert end.attempts == 2
    assert len(receiver.got) == 2
    show(record_property, 1, [end], receiver=receiver, times=f"a drip of a 1 s deadline over after {took:.1f} s")


async def test_w2_a_redirect_is_a_failure_and_its_target_is_never_asked(record_property: Record) -> None:
    with Receiver() as elsewhere:
        receiver, end = await told([Status(302, location=elsewhere.url)])
    assert (end.end.outcome, end.end.reason, end.attempts) == ("refused", "redirect", 1)
    assert len(receiver.got) == 1
    assert elsewhere.got == []
    show(record_property, 1, [end], receiver=receiver)


async def test_w2_a_gigabyte_of_an_answer_costs_no_memory(record_property: Record) -> None:
    await told([Status()])  # what is loaded once is loaded
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    receiver, end = await told([Huge()])
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert end.end.outcome == "delivered"
    assert grown <= 16 * 1024, f"{grown} KiB more"
    show(record_property, 1, [end], receiver=receiver, times=f"1 GB cost {grown} KiB")


# W3


async def test_w3_a_receiver_that_is_gone_disables_the_sink(record_property: Record) -> None:
    with Receiver([Status(410)]) as receiver:
        story = Story(receiver.url, breaker=BreakerPolicy(probe_every_ms=10))
        await story.tell(alert(0))
        story.lanes.offer(alert(1))
        await asyncio.sleep(0.3)  # thirty times the time of a probe
        await story.close()
    assert story.lanes.breaker.state == "disabled"
    assert [(end.end.outcome, end.end.reason) for end in story.ends] == [("refused", "gone")]
    assert len(receiver.got) == 1
    show(record_property, 1, story.ends, receiver=receiver)


async def test_w3_a_refused_login_opens_the_breaker_at_once_and_nothing_is_lost(record_property: Record) -> None:
    notices = [alert(number) for number in range(20)]
    with Receiver([Status(401), Status(401), Status()]) as receiver:
        story = Story(receiver.url, breaker=BreakerPolicy(probe_every_ms=500), lanes=1)
        story.lanes.offer(notices[0])
        await story.until(lambda: story.lanes.breaker.state == "open")
        for each in notices[1:]:
            story.lanes.offer(each)
        await story.until(lambda: len(story.ends) == len(notices))
        await story.close()
    assert {end.end.outcome for end in story.ends} == {"delivered"}
    assert receiver.got[1].at - receiver.got[0].at >= 0.45, "nobody asks before the probe"
    assert receiver.got[2].at - receiver.got[1].at >= 0.45
    delivered = [delivery_id(each.alert) for each in notices]
    assert sorted(receiver.ids[2:]) == sorted(delivered)
    show(record_property, len(notices), story.ends, receiver=receiver)


async def test_w3_five_failures_open_it_and_when_the_receiver_is_back_everything_is_told(
    record_property: Record,
) -> None:
    notices = [alert(number) for number in range(40)]
    with Receiver([Status(503)]) as receiver:
        story = Story(receiver.url, breaker=BreakerPolicy(probe_every_ms=300), lanes=1)
        for each in notices:
            story.lanes.offer(each)
        await story.until(lambda: story.lanes.breaker.state == "open")
        await asyncio.sleep(0.9)
        asked = [got.at for got in receiver.got]
        # What was under way when the fifth failed arrives at once; a probe comes 0.3 s later.
        probes = [at for at in asked if at > asked[4] + 0.25]
        receiver.habits = [Status()]
        back = time.time()
        await story.until(lambda: len(story.ends) == len(notices))
        await story.close()
    told_after = receiver.taken[-1].at - back
    show(
        record_property,
        len(notices),
        story.ends,
        receiver=receiver,
        times=f"all told {told_after:.1f} s after it was back",
    )
    assert len(asked) - len(probes) <= 5 + 16, "those that were under way, and no more"
    assert len(probes) <= 4, "one every 0.3 s"
    assert {end.end.outcome for end in story.ends} == {"delivered"}


async def test_w3_a_name_that_is_gone_for_a_while_is_tried_again(
    monkeypatch: pytest.MonkeyPatch, record_property: Record
) -> None:
    real = socket.getaddrinfo
    gone = [True, True]

    def resolve(host: str, *rest: object, **more: object) -> object:
        if host == "desk.plant" and gone and gone.pop():
            raise socket.gaierror(socket.EAI_AGAIN, "not now")
        return real("127.0.0.1" if host == "desk.plant" else host, *rest, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    with Receiver() as receiver:
        story = Story(f"http://desk.plant:{receiver.port}/hook", allowed_targets=["desk.plant", "127.0.0.1"])
        (end,) = await story.tell(alert())
        await story.close()
    assert (end.end.outcome, end.attempts, end.detail) == ("delivered", 3, "the host name is not known")
    show(record_property, 1, [end], receiver=receiver)


@pytest.fixture
def ended_certificate(tmp_path: Path) -> tuple[str, ssl.SSLContext]:
    """A certificate for 127.0.0.1 that ended yesterday, vouched for by itself."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not there to make a certificate")
    (tmp_path / "index").touch()
    (tmp_path / "serial").write_text("01")
    (tmp_path / "ca.cnf").write_text(
        f"[ca]\ndefault_ca=ours\n[ours]\ndatabase={tmp_path}/index\nserial={tmp_path}/serial\nnew_certs_dir={tmp_path}\n"
        "default_md=sha256\npolicy=any\nx509_extensions=names\n[any]\ncommonName=supplied\n"
        "[names]\nsubjectAltName=IP:127.0.0.1\nbasicConstraints=CA:TRUE\n"
    )
    key, asked, made = (str(tmp_path / name) for name in ("key.pem", "asked.pem", "made.pem"))
    for command in (
        ["req", "-new", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=127.0.0.1", "-keyout", key, "-out", asked],
        ["ca", "-batch", "-selfsign", "-config", str(tmp_path / "ca.cnf"), "-keyfile", key, "-in", asked, "-out", made,
         "-startdate", "20200101000000Z", "-enddate", "20200102000000Z", "-notext"],
    ):  # fmt: skip
        subprocess.run(["openssl", *command], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(made, key)
    return made, context


async def test_w3_a_certificate_that_ended_is_waited_for_and_called_by_its_name(
    ended_certificate: tuple[str, ssl.SSLContext], record_property: Record
) -> None:
    trusted, context = ended_certificate
    with Receiver(tls=context) as receiver:
        url = receiver.url.replace("http://", "https://")
        policy = msgspec.structs.replace(POLICY, most_attempts=3)
        story = Story(url, policy=policy, ca_file=trusted)
        (end,) = await story.tell(alert())
        await story.close()
    assert (end.end.outcome, end.end.reason, end.attempts) == ("gave_up", "tls", 3)
    assert end.detail == "certificate refused: certificate has expired"
    assert receiver.got == []
    show(record_property, 1, [end], receiver=receiver)

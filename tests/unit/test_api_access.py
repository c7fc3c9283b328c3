"""Who may use which route, and of which cameras."""

import time

import pytest
import structlog
from fastapi import APIRouter, FastAPI
from fastapi.routing import iter_route_contexts

from api.access import ANYBODY, FAILURES_A_MINUTE, undecided
from api.tokens import TokenFile
from evidence.store import EvidenceStore
from runtime.signing import sign
from tests.support.alerts import opened
from tests.support.api import Seeing, Topics, guarding, jpeg, make_app, serving, write_configs

GATE, YARD = opened(1, camera="gate"), opened(2, camera="cam_yard")
REMOTE = {"peer": "192.0.2.7", "url": "http://plant.example"}
PICTURE = {"content": jpeg(), "headers": {"content-type": "image/jpeg"}}
ROIS = {"cameras": []}
OPEN = {"/health", "/livez", "/readyz", "/openapi.json"}
SECRET = "correct horse battery"


@pytest.fixture
def topics():
    made = Topics()
    made.alerts = [GATE, YARD]
    for alert in made.alerts:
        made.index.take(alert)
    return made


@pytest.fixture
def configs(tmp_path):
    return write_configs(tmp_path)


@pytest.fixture
def store(tmp_path):
    made = EvidenceStore(str(tmp_path / "evidence"))
    for alert in (GATE, YARD):
        made.put(alert.alert_id, alert.opened_at, "evidence.jpg", jpeg())
    return made


@pytest.fixture
def file(configs):
    return TokenFile(configs / "tokens.json")


@pytest.fixture
def app(configs, topics, store):
    """Around the tokens that there are by then."""

    def made(**told):
        guard = guarding(configs, SECRET, **told)
        app, looking = make_app(configs, Seeing, topics=topics, showing=topics.showing(store), guard=guard)
        looking.start().result(10)
        return app

    return made


def token(file, *roles, cameras=None, days=None, name="ana"):
    return file.create(name, roles, cameras, None if days is None else round(time.time() * 1000) + days * 86_400_000, 0)


def path_of(route):
    return route.path.replace("{alert_id}", GATE.alert_id).replace("{silence_id}", GATE.alert_id)


# Every route


def test_every_route_has_one_decision_and_one_without_is_found(app, file):
    token(file, "admin")
    made = app()
    assert undecided(made.routes) == []
    router = APIRouter(prefix="/late")

    @router.get("/forgotten")
    def forgotten() -> None: ...

    @router.get("/twice", dependencies=[ANYBODY, ANYBODY])
    def twice() -> None: ...

    made.include_router(router)
    made.mount("/files", FastAPI())
    found = undecided(made.routes)
    assert [each.split(":")[0] for each in found] == ["/late/forgotten", "/late/twice", "/files"]


async def test_without_a_token_every_route_but_the_open_ones_is_refused_and_leads_to_the_scheme(app, file):
    token(file, "admin")
    made = app(failures_per_minute=1000)
    asked = 0
    for peer in ({}, REMOTE):
        async with serving(made, **peer) as api:
            for route in iter_route_contexts(made.routes):
                for method in route.methods:
                    answer = await api.request(method, path_of(route))
                    asked += 1
                    if route.path in OPEN:
                        assert answer.status_code == 200, route.path
                    else:
                        assert answer.status_code == 401, (method, route.path)
                        assert answer.headers["www-authenticate"].startswith("Bearer")
                        assert answer.headers["content-type"] == "application/problem+json"
    assert asked >= 2 * 17


async def test_the_openapi_document_names_what_each_operation_needs(app):
    made = app()
    async with serving(made) as api:
        document = (await api.get("/openapi.json")).json()
    assert document["components"]["securitySchemes"]["token"]["scheme"] == "bearer"
    for path, operations in document["paths"].items():
        for operation in operations.values():
            needs = operation.get("security", [])
            assert ({"token": []} in needs) == (path not in {"/livez", "/readyz"}), path
            assert ({} in needs) == (path == "/health"), path
    link = document["paths"]["/alerts/{alert_id}/clip.mp4"]["get"]["security"]
    assert link == [{"token": []}, {"link": []}]


@pytest.mark.parametrize(
    ("roles", "statuses"),
    [
        (["read"], (200, 403, 403, 403, 200)),
        (["infer"], (403, 200, 403, 403, 403)),
        (["read", "infer"], (200, 200, 403, 403, 200)),
        (["admin"], (200, 200, 200, 200, 200)),
    ],
)
async def test_a_role_opens_what_it_names_and_admin_everything(app, file, roles, statuses):
    secret = token(file, *roles)
    async with serving(app(), token=secret, **REMOTE) as api:
        answers = (
            await api.get("/alerts"),
            await api.post("/infer", **PICTURE),
            await api.put("/config/rois", json=ROIS, headers={"If-Match": "*"}),
            await api.post(f"/alerts/{GATE.alert_id}/mark", json={"true": True}),
            await api.get("/metrics"),
        )
    assert tuple(each.status_code for each in answers) == statuses


# Cameras


async def test_a_token_for_a_camera_sees_nothing_of_the_others(app, file, topics):
    secret = token(file, "admin", cameras=["cam_yard"])
    async with serving(app(), token=secret, **REMOTE) as api:
        assert [each["camera_id"] for each in (await api.get("/alerts")).json()["alerts"]] == ["cam_yard"]
        assert (await api.get("/alerts", params={"camera": "gate"})).json()["alerts"] == []
        theirs, others = f"/alerts/{YARD.alert_id}", f"/alerts/{GATE.alert_id}"
        nobodys = "/alerts/00000000-0000-5000-8000-000000000000"
        for what, status in (("", 200), ("/evidence.jpg", 200), ("/clean.jpg", 404), ("/clip.mp4", 404)):
            assert (await api.get(theirs + what)).status_code == status, what
            refused = await api.get(others + what)
            assert refused.status_code == 404
            assert refused.json() == (await api.get(nobodys + what)).json(), "whether there is one is not told"
        assert (await api.post(f"{theirs}/mark", json={"true": True})).status_code == 200
        assert (await api.post(f"{others}/mark", json={"true": True})).status_code == 404
        assert [each["id"] for each in (await api.get("/config/cameras")).json()["cameras"]] == ["cam_yard"]
        assert (await api.post("/infer?camera_id=cam_yard", **PICTURE)).status_code == 200
        assert (await api.post("/infer?camera_id=cam_bare", **PICTURE)).status_code == 404
        assert (await api.get("/metrics")).status_code == 403
        replaced = await api.put("/config/rois", json=ROIS, headers={"If-Match": "*"})
        assert replaced.status_code == 403, "the document is that of every camera"
    assert [mark.by for mark in topics.marks] == ["ana"]


@pytest.mark.parametrize("source", ["file", "kafka"])
async def test_the_rois_shown_are_those_of_the_token_s_cameras(app, file, source):
    every, bound = token(file, "admin", name="all"), token(file, "read", cameras=["gate"], name="gate")
    made = app()
    gate = {"camera_id": "gate", "forbidden_rois": [{"name": "a", "points": [[1, 1], [9, 1], [9, 9]]}]}
    both = {"cameras": [{**gate, "alert_classes": ["object"]}, {**gate, "camera_id": "other"}]}
    if source == "kafka":
        async with serving(made, token=every) as api:
            done = await api.put("/config/rois", json=both, headers={"If-Match": "*"})
            assert done.status_code == 200, done.text
    async with serving(made, token=bound) as api:
        for query in ("", "?at=now") if source == "kafka" else ("",):
            answer = (await api.get(f"/config/rois{query}")).json()
            assert answer["source"] == source
            shown = [each["camera_id"] for each in answer["cameras"]]
            assert shown == (["gate"] if source == "kafka" else [])
            assert "other" not in str(answer)
            assert "cam_yard" not in str(answer)


# Tokens


async def test_this_machine_alone_is_let_in_while_there_are_no_tokens(app):
    made = app()
    for peer, url, more, may in (
        ("127.0.0.1", "http://localhost:8000", {}, True),
        ("::1", "http://[::1]:8000", {}, True),
        ("::ffff:127.0.0.1", "http://127.0.0.1:8000", {}, True),
        ("192.0.2.7", "http://localhost:8000", {}, False),
        ("127.0.0.1", "http://backsight.example:8000", {}, False),
        ("127.0.0.1", "http://localhost:8000", {"X-Forwarded-For": "127.0.0.1"}, False),
        ("127.0.0.1", "http://localhost:8000", {"Forwarded": "for=127.0.0.1"}, False),
        ("127.0.0.1", "http://localhost:8000", {"Via": "1.1 proxy"}, False),
    ):
        async with serving(made, peer=peer, url=url) as api:
            answers = [
                await api.get("/alerts", headers=more),
                await api.put("/config/rois", json=ROIS, headers={"If-Match": "*", **more}),
            ]
        assert {each.status_code for each in answers} == {200 if may else 401}, (peer, url, more)
        if not may:
            assert "backsight tokens create" in answers[0].json()["detail"]


async def test_with_the_first_token_this_machine_needs_one_too_and_what_is_revoked_ends_at_once(app, file):
    made = app()
    async with serving(made) as api:
        assert (await api.get("/alerts")).status_code == 200
        secret = token(file, "read")
        asked = {"headers": {"Authorization": f"Bearer {secret}"}}
        assert (await api.get("/alerts")).status_code == 401
        assert (await api.get("/alerts", **asked)).status_code == 200
        file.revoke("ana")
        assert (await api.get("/alerts", **asked)).status_code == 401
        file.path.unlink()
        assert (await api.get("/alerts")).status_code == 401, "what was closed does not open again"


@pytest.mark.parametrize("spoilt", [b"", b"{", b'{"tokens": [{"name": "x"}]}', b"\xff\xfe"])
async def test_a_file_that_is_spoilt_changes_nothing(app, file, spoilt):
    secret = token(file, "read")
    async with serving(app(), token=secret) as api:
        assert (await api.get("/alerts")).status_code == 200
        file.path.write_bytes(spoilt)
        assert (await api.get("/alerts")).status_code == 200
        assert (await api.get("/alerts", headers={"Authorization": "Bearer other"})).status_code == 401


async def test_a_token_counts_until_its_time_is_over_and_only_whole(app, file):
    secret, over = token(file, "read"), token(file, "read", days=-1, name="over")
    holds = token(file, "read", days=1, name="holds")
    async with serving(app(failures_per_minute=1000)) as api:
        for header, status in (
            (f"Bearer {secret}", 200),
            (f"bearer {secret}", 200),
            (f"Bearer {holds}", 200),
            (f"Bearer {over}", 401),
            (f"Bearer {secret[:-1]}", 401),
            (f"Bearer {secret}x", 401),
            (f"Basic {secret}", 401),
            (secret, 401),
            ("Bearer ", 401),
            (f"Bearer {'a' * 5000}", 401),
        ):
            assert (await api.get("/alerts", headers={"Authorization": header})).status_code == status, header[:20]
        for query in (f"?token={secret}", f"?access_token={secret}", f"?authorization=Bearer {secret}"):
            assert (await api.get(f"/alerts{query}")).status_code == 401, "never in the address"


async def test_auth_that_is_off_lets_everybody_in(configs, topics):
    from api.access import Guard

    app, _ = make_app(configs, Seeing, topics=topics, guard=Guard(None))
    async with serving(app, **REMOTE) as api:
        assert (await api.get("/alerts")).status_code == 200
        assert (await api.put("/config/rois", json=ROIS, headers={"If-Match": "*"})).status_code == 200


async def test_health_tells_details_to_those_who_may_read_alone(app, file):
    reads, infers = token(file, "read"), token(file, "infer", name="robot")
    made = app()
    for secret, details in ((None, False), (infers, False), ("bst_wrong", False), (reads, True)):
        async with serving(made, token=secret, **REMOTE) as api:
            answer = await api.get("/health")
        assert answer.status_code == 200
        assert (answer.json() == {"status": "ok"}) is not details
        assert ("model" in answer.json()) is details


# Links


async def test_a_signed_link_is_its_own_authorisation_for_that_alert_alone(app, file):
    token(file, "admin")
    expires = round(time.time()) + 60
    link = {"expires": str(expires), "signature": sign(SECRET, GATE.alert_id, expires)}
    async with serving(app(), **REMOTE) as api:
        assert (await api.get(f"/alerts/{GATE.alert_id}/evidence.jpg", params=link)).status_code == 200
        assert (await api.get(f"/alerts/{YARD.alert_id}/evidence.jpg", params=link)).status_code == 403
        for path in (f"/alerts/{GATE.alert_id}", "/alerts", "/metrics"):
            assert (await api.get(path, params=link)).status_code == 401, path


# Limits and log


async def test_a_token_that_asks_too_often_waits_and_the_others_do_not(app, file):
    hasty, other = token(file, "read"), token(file, "read", name="other")
    now = [0.0]
    made = app(per_minute=60, clock=lambda: now[0])
    async with serving(made, token=hasty) as api:
        answers = [await api.get("/alerts") for _ in range(12)]
        assert [each.status_code for each in answers] == [200] * 10 + [429] * 2
        assert answers[-1].headers["retry-after"] == "1"
        async with serving(made, token=other) as second:
            assert (await second.get("/alerts")).status_code == 200
        now[0] += 1
        assert (await api.get("/alerts")).status_code == 200
        assert (await api.get("/alerts")).status_code == 429


async def test_failures_are_logged_without_what_was_sent_and_an_address_with_many_is_answered_429(app, file):
    secret = token(file, "read")
    now = [0.0]
    made = app(clock=lambda: now[0])
    with structlog.testing.capture_logs() as lines:
        async with serving(made, token="bst_wr0ngX", **REMOTE) as api:
            answers = [await api.get("/alerts") for _ in range(FAILURES_A_MINUTE + 5)]
            right = await api.get("/alerts", headers={"Authorization": f"Bearer {secret}"})
        async with serving(made, peer="192.0.2.8") as api:
            elsewhere = await api.get("/alerts")
        now[0] += 60
        async with serving(made, **REMOTE) as api:
            later = await api.get("/alerts")
    assert [each.status_code for each in answers] == [401] * FAILURES_A_MINUTE + [429] * 5
    assert int(answers[-1].headers["retry-after"]) >= 1
    assert right.status_code == 200, "others may share the address"
    assert (elsewhere.status_code, later.status_code) == (401, 401)
    failed = [line for line in lines if line["event"] == "authentication_failed"]
    assert len(failed) == FAILURES_A_MINUTE + 2
    assert (failed[0]["peer"], failed[0]["path"], failed[0]["reason"]) == ("192.0.2.7", "/alerts", "unknown token")
    assert [line["event"] for line in lines].count("authentication_failures_go_on") == 1
    assert "wr0ngX" not in str(lines)
    assert secret not in str(lines)


async def test_the_log_says_whose_token_it_was_who_was_refused_and_what_was_changed(app, file):
    reads, changes = token(file, "read"), token(file, "admin", name="ben")
    made = app()
    with structlog.testing.capture_logs() as lines:
        async with serving(made, token=reads) as api:
            await api.put("/config/rois", json=ROIS, headers={"If-Match": "*"})
        async with serving(made, token=changes) as api:
            await api.put("/config/rois", json=ROIS, headers={"If-Match": "*"})
    events = [(line["event"], line.get("caller")) for line in lines if line["event"] != "model_loaded"]
    assert events == [("not_allowed", "ana"), ("request", "ana"), ("rois_replaced", "ben"), ("request", "ben")]

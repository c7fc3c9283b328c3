"""What applying rois.yaml would publish, and when it holds."""

from runtime.revisions import RevisionHistory
from runtime.roi_apply import AHEAD_MS, plan_revisions
from schemas.documents.rois import RoiDefaults, Rois
from schemas.effective import CameraRules, RoiRevision, revision_of

NOW = 1_800_000_000_000
DEFAULTS = RoiDefaults()


def rois(*cameras: str, severity: str = "warning") -> Rois:
    points = [[100, 100], [500, 100], [500, 400]]
    entries = [
        {
            "camera_id": camera,
            "alert_classes": ["object"],
            "forbidden_rois": [{"name": "dock", "points": points, "severity": severity}],
        }
        for camera in cameras
    ]
    return Rois.model_validate({"cameras": entries})


def applied(*plans: Rois, origin: str = "file") -> RevisionHistory:
    history = RevisionHistory()
    for number, document in enumerate(plans):
        for revision in plan_revisions(history, document, DEFAULTS, NOW + number * 60_000, origin=origin).publish:
            history.add(revision)
    return history


def test_a_camera_s_first_document_holds_from_the_beginning() -> None:
    (revision,) = plan_revisions(RevisionHistory(), rois("gate"), DEFAULTS, NOW).publish
    assert revision.effective_from == 0
    assert revision.revision == revision_of(revision.document)
    assert revision.written is not None
    assert revision.written["forbidden_rois"][0]["name"] == "dock"


def test_applying_twice_changes_nothing() -> None:
    plan = plan_revisions(applied(rois("gate")), rois("gate"), DEFAULTS, NOW)
    assert plan.publish == ()
    assert plan.unchanged == ("gate",)


def test_a_change_takes_effect_ten_seconds_ahead_and_never_before_the_one_it_follows() -> None:
    history = applied(rois("gate"))
    (change,) = plan_revisions(history, rois("gate", severity="critical"), DEFAULTS, NOW).publish
    assert change.effective_from == NOW + AHEAD_MS
    history.add(change)
    (back,) = plan_revisions(history, rois("gate"), DEFAULTS, NOW - 3_600_000).publish  # a clock that went back
    assert back.effective_from == change.effective_from + 1
    assert history.at("gate", NOW).revision != change.revision
    assert history.at("gate", NOW + AHEAD_MS) == change


def test_a_camera_that_is_gone_gets_an_empty_document() -> None:
    (gone,) = plan_revisions(applied(rois("gate", "dock")), rois("gate"), DEFAULTS, NOW).publish
    assert (gone.camera_id, gone.document) == ("dock", CameraRules("dock"))
    history = applied(rois("gate", "dock"))
    history.add(gone)
    assert plan_revisions(history, rois("gate"), DEFAULTS, NOW).publish == ()


def test_what_came_through_the_api_is_not_overruled_unasked() -> None:
    history = applied(rois("gate"), rois("gate", severity="critical"), origin="api")
    plan = plan_revisions(history, rois("gate"), DEFAULTS, NOW + 120_000)
    assert (plan.publish, plan.overruled) == ((), ("gate",))
    forced = plan_revisions(history, rois("gate"), DEFAULTS, NOW + 120_000, force=True)
    assert [each.camera_id for each in forced.publish] == ["gate"]


def test_history_answers_with_the_revision_of_the_instant() -> None:
    def revision(effective_from: int) -> RoiRevision:
        return RoiRevision("gate", f"{effective_from:016x}", effective_from, 0, "file", CameraRules("gate"))

    history = RevisionHistory([revision(200), revision(100)])
    assert history.at("gate", 99) is None
    assert history.at("gate", 100).effective_from == 100
    assert history.at("gate", 199).effective_from == 100
    assert history.at("gate", 200).effective_from == 200
    assert history.at("other", 200) is None

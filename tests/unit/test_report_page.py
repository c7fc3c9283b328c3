"""The page itself: well-formed, alone, escaped, and of a size that a browser takes."""

import time
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import pytest
from msgspec import structs

from replay.comparison import Comparison, Verdicts
from replay.report.drawing import Picture
from replay.report.page import MOST_CARDS, Page, chosen, page_of
from replay.report.write import name_of, place_pictures, render
from rules.kinds import PictureSize
from schemas.messages import Mark
from tests.support.comparisons import AFTER, BEFORE, DOCUMENT, TRIED, comparison, raised, side
from tests.support.histories import roi, rules

NASTY = "<script>alert(1)</script>\"'&{{ 7*7 }}\x00\x1b"


def page(made: Comparison, marks: dict[str, Mark] | None = None, picture: Picture | None = None) -> Page:
    places = chosen(made, marks or {})
    return page_of(made, marks or {}, places, [picture] * len(places), lambda _: "data:image/jpeg;base64,AA==")


def elements(html: str) -> ElementTree.Element:
    """The page read by an XML parser: it forgives nothing that a browser would have to guess."""
    return ElementTree.fromstring(html)


def text_of(element: ElementTree.Element) -> str:
    return " ".join(" ".join(element.itertext()).split())


def shown(**changes: object) -> Picture:
    alert = raised(599, under=TRIED)
    values = {
        "jpeg": b"\xff\xd8picture",
        "size": PictureSize(640, 360),
        "source_size": PictureSize(1920, 1080),
        "evidence": alert.evidence,
        "words": "its frame",
    }
    return Picture(**values | changes)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "made",
    [
        comparison(),
        comparison([], []),
        comparison(BEFORE, BEFORE),
        comparison(notes=("a note",), lost=("an id",), verdicts_before=Verdicts(3, 1), inexact=()),
        comparison(sides=(side("recorded"), side("candidate"))),
        comparison(cameras=()),
    ],
    ids=["differing", "no alerts", "all the same", "notes", "no documents", "no camera judged"],
)
@pytest.mark.parametrize("picture", [None, shown()], ids=["no picture", "picture"])
def test_the_page_is_well_formed_whatever_is_on_it(made: Comparison, picture: Picture | None) -> None:
    tree = elements(render(page(made, picture=picture)))
    ids = [each.attrib["id"] for each in tree.iter() if "id" in each.attrib]
    assert len(ids) == len(set(ids))
    for link in tree.iter("a"):
        assert link.attrib["href"].removeprefix("#") in ids
    for named in tree.iter():
        for name in named.attrib.get("aria-labelledby", "").split():
            assert name in ids


def test_the_page_needs_nothing_else_and_runs_no_script() -> None:
    class Asked(HTMLParser):
        def __init__(self) -> None:
            super().__init__()
            self.tags: set[str] = set()
            self.places: list[str] = []

        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            self.tags.add(tag)
            self.places += [value or "" for name, value in attrs if name in ("src", "href", "xlink:href", "action")]

    asked = Asked()
    html = render(page(comparison(), picture=shown()))
    asked.feed(html)
    assert not asked.tags & {"script", "link", "iframe", "object", "form", "base"}
    assert all(place.startswith(("#", "data:image/jpeg;base64,")) for place in asked.places)
    assert "@import" not in html
    assert "default-src 'none'" in html


def test_names_that_are_code_are_shown_and_not_run() -> None:
    document = rules(roi(NASTY), labels=(NASTY,), camera=NASTY)
    after = rules(roi(NASTY, severity="critical"), labels=(NASTY,), camera=NASTY)
    alert = raised(60, under=document, roi=NASTY, label=NASTY)
    mark = Mark(alert.alert_id, True, 1, NASTY, NASTY)
    made = comparison(
        [alert], [raised(61, under=after, roi=NASTY, label=NASTY)], sides=(side(NASTY, document), side(NASTY, after)),
        notes=(NASTY,),
    )  # fmt: skip
    html = render(page(made, {alert.alert_id: mark}, shown(words=NASTY)))
    tree = elements(html)
    assert not list(tree.iter("script"))
    assert "<script" not in html.lower()
    assert all(not name.startswith("on") for each in tree.iter() for name in each.attrib)
    assert "<script>alert(1)</script>\"'&{{ 7*7 }}\ufffd\ufffd" in "".join(tree.itertext())


def test_every_differing_alert_has_a_card_in_order_of_time() -> None:
    tree = elements(render(page(comparison())))
    cards = [text_of(each.find("header")) for each in tree.iter("article")]  # type: ignore[arg-type]
    assert [card[:9] for card in cards] == ["~ changed", "− removed", "+ added :", "~ changed"]
    assert "opened 1 s earlier" in cards[0]
    assert "only before: for 20 s, 7 hits" in cards[1]
    assert "only after: for 30 s, 7 hits" in cards[2]
    assert "not resolved any more" in cards[3]


def test_a_picture_is_described_and_both_polygons_lie_over_it() -> None:
    tree = elements(render(page(comparison(), picture=shown())))
    card = next(tree.iter("article"))
    image = card.find(".//img")
    assert image is not None
    assert image.attrib["alt"].startswith("camera cam_1: object, 87 % sure, at 2026-09-21 14:23:19")
    assert (image.attrib["width"], image.attrib["height"]) == ("640", "360")
    assert {each.attrib["class"] for each in card.iter("polygon")} == {"case", "before", "after"}
    assert card.find(".//rect[@class='box']") is not None
    assert card.find(".//circle[@class='anchor after']") is not None
    assert "Picture: its frame." in text_of(card)


def test_without_a_picture_the_place_is_drawn_all_the_same() -> None:
    card = next(elements(render(page(comparison()))).iter("article"))
    assert card.find(".//img") is None
    assert "no picture is kept any more" in text_of(card)
    drawn = card.find(".//svg[@role='img']")
    assert drawn is not None
    assert drawn.attrib["viewBox"] == "0 0 1280 720"


def test_marks_are_on_their_cards_and_a_loss_is_said() -> None:
    removed = BEFORE[1]
    marks = {
        removed.alert_id: Mark(removed.alert_id, True, 1, "ana", "a crate"),
        AFTER[1].alert_id: Mark(AFTER[1].alert_id, False, 1, "ben"),
    }
    cards = {card.kind: card for card in page(comparison(), marks).cards if card.verdict}
    assert cards["removed"].verdict == "marked true by ana: a crate"
    assert cards["removed"].lost
    assert cards["added"].verdict == "marked a false alarm by ben"
    assert not cards["added"].lost
    assert "would be lost: marked true by ana" in render(page(comparison(), marks))


def test_the_polygon_of_a_side_is_of_the_document_that_judged() -> None:
    older = structs.replace(DOCUMENT, rois=(roi("loading_zone", points=((0, 0), (1, 0), (0, 1))),))
    alert = raised(600, under=older)
    made = comparison([alert], [], sides=(side("recorded", older, DOCUMENT), side("after", TRIED)))
    (card,) = page(made).cards
    assert card.drawing is not None
    assert card.drawing.before.points == "0,0 1280,0 0,720"
    assert card.drawing.after.points.startswith("320.0,180.0 1152.0,180.0")


def test_two_thousand_differing_alerts_stay_a_page() -> None:
    alerts = [raised(10 * number, roi=f"roi_{number % 7}") for number in range(2000)]
    late = alerts[-1]
    marks = {late.alert_id: Mark(late.alert_id, True, 1, "ana")}
    began = time.monotonic()
    made = page(comparison(alerts, []), marks, shown())
    html = render(made)
    assert time.monotonic() - began < 20
    assert len(made.cards) == MOST_CARDS
    assert made.cards[-1].verdict == "marked true by ana"
    assert f"{MOST_CARDS} alerts are shown here, 1,500 more are not" in html
    assert len(html) < 6_000_000


def test_few_pictures_lie_within_the_page_and_many_beside_it(tmp_path: Path) -> None:
    pictures = [shown(jpeg=bytes([number]) * 1000) for number in range(3)]
    inside = place_pictures(pictures, tmp_path / "few", 3000)
    assert inside(pictures[0]).startswith("data:image/jpeg;base64,AAAA")
    assert list((tmp_path / "few").iterdir()) == []
    beside = place_pictures(pictures, tmp_path / "many", 2999)
    assert [(tmp_path / "many" / beside(each)).read_bytes() for each in pictures] == [each.jpeg for each in pictures]


def test_pictures_of_an_earlier_report_go_and_other_files_stay(tmp_path: Path) -> None:
    pictures = [shown(jpeg=b"one"), shown(jpeg=b"two")]
    place_pictures(pictures, tmp_path, 0)
    (tmp_path / "pictures" / "mine.jpg").write_bytes(b"mine")
    place_pictures(pictures[1:], tmp_path, 0)
    assert {each.name for each in (tmp_path / "pictures").iterdir()} == {"mine.jpg", name_of(pictures[1])}
    (tmp_path / "pictures" / "mine.jpg").unlink()
    place_pictures(pictures, tmp_path)
    assert list(tmp_path.iterdir()) == []

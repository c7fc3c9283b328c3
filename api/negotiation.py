"""What the caller wants to be answered with (RFC 9110, section 12.5.1), as far as we have a choice."""

from typing import Final, Literal

from api.problems import ApiProblem

JSON: Final = "application/json"
JPEG: Final = "image/jpeg"
Kind = Literal["application/json", "image/jpeg"]


def wanted(accept: str | None) -> Kind:
    """JSON, or an annotated JPEG where the header prefers it to JSON; raises `ApiProblem` 406 for neither."""
    if not accept:
        return JSON
    json, jpeg = _weight(accept, JSON), _weight(accept, JPEG)
    if json == jpeg == 0:
        raise ApiProblem(406, f"there is {JSON} and {JPEG}")
    return JPEG if jpeg > json else JSON


def _weight(accept: str, kind: str) -> float:
    """The weight that the most precise range which covers ``kind`` gives it."""
    best: tuple[int, float] = (-1, 0.0)
    ranges = (kind, kind.split("/")[0] + "/*", "*/*")
    for part in accept.split(","):
        name, *parameters = (piece.strip().lower() for piece in part.split(";"))
        if name in ranges:
            precision = len(ranges) - ranges.index(name)
            best = max(best, (precision, _quality(parameters)), key=lambda each: each[0])
    return best[1]


def _quality(parameters: list[str]) -> float:
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip() == "q":
            try:
                return min(1.0, max(0.0, float(value)))
            except ValueError:
                return 0.0
    return 1.0

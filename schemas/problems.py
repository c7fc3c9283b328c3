"""How a document or a message is refused: every mistake at once, each with its place."""

from typing import NamedTuple


class Problem(NamedTuple):
    """One mistake: where (``cameras[2].forbidden_rois[0].points``) and what was expected there."""

    place: str
    message: str

    def __str__(self) -> str:
        return f"{self.place}: {self.message}"


class BadDocument(ValueError):
    """A document that does not check. Carries every problem found, so that a person mends them in one go."""

    def __init__(self, problems: list[Problem]) -> None:
        self.problems = problems
        super().__init__("\n".join(map(str, problems)))


class Undecodable(ValueError):
    """A record that cannot be read: ``reason`` is one of a short list, fit for a metric label."""

    def __init__(self, reason: str, detail: str = "") -> None:
        self.reason = reason
        self.detail = detail
        super().__init__(f"{reason}: {detail}" if detail else reason)

"""Matchers of routes and silences: `severity = critical`, `camera =~ "gate_.*"`. Pure.

Regular expressions are RE2's (https://github.com/google/re2/wiki/Syntax): linear in time, whatever was written and
whatever they are held against. They match the whole value, as in Prometheus Alertmanager.
"""

from collections.abc import Callable, Mapping
from typing import Any

import re2
from msgspec import Struct

from schemas.documents.routes import MATCHER, VALUES

MOST_PATTERN = 1_000
"""Characters of a regular expression."""


class BadMatcher(ValueError):
    """The text is no matcher; says what was expected."""


class Matcher(Struct, frozen=True):
    """One condition on one label. A label that an alert lacks is the empty text."""

    label: str
    operator: str
    value: str
    test: Callable[[str], bool]

    def holds(self, labels: Mapping[str, str]) -> bool:
        """Whether it holds for these labels."""
        return self.test(labels.get(self.label, ""))

    def __str__(self) -> str:
        return f"{self.label} {self.operator} {self.value}"


def matcher(text: str) -> Matcher:
    """The written matcher; quotes around the value are taken off. Raises `BadMatcher`."""
    found = MATCHER.match(text)
    if found is None:
        raise BadMatcher(f"{text!r} is no matcher; expected LABEL = VALUE with one of = != =~ !~")
    label, operator, value = found["label"], found["operator"], found["value"]
    if value.startswith(("=", "~")):
        raise BadMatcher(
            f"{text!r}: {operator}{value[0]} is no operator; expected one of = != =~ !~ (quotes around a value that"
            f" begins with {value[0]})"
        )
    if len(value) >= 2 and value[0] == value[-1] and value[0] in "\"'":
        value = value[1:-1]
    if operator in ("=", "!="):
        holds = _equal(value)
    else:
        pattern = _compiled(text, value)
        holds = lambda given: pattern.fullmatch(given) is not None  # noqa: E731
    known = VALUES.get(label)
    if known is not None and not any(map(holds, known)):
        raise BadMatcher(f"{text!r}: {label} is never that; expected one of {', '.join(known)}")
    return Matcher(label, operator, value, holds if operator in ("=", "=~") else _not(holds))


def _equal(value: str) -> Callable[[str], bool]:
    return lambda given: given == value


def _not(holds: Callable[[str], bool]) -> Callable[[str], bool]:
    return lambda given: not holds(given)


def _compiled(text: str, value: str) -> Any:
    if len(value) > MOST_PATTERN:
        raise BadMatcher(f"the regular expression of {text[:40]!r}… is longer than {MOST_PATTERN} characters")
    options = re2.Options()
    options.log_errors = False
    try:
        return re2.compile(value, options)
    except re2.error as error:
        reason = error.args[0]
        said = reason.decode(errors="replace") if isinstance(reason, bytes) else str(reason)
        raise BadMatcher(f"{text!r} holds no regular expression (RE2): {said}") from None

"""Instants, lengths and sizes as the report writes them."""

from replay.spans import in_words


def moment(at: int) -> str:
    """An instant (milliseconds UTC) without the letters that separate date, time and zone: the page says UTC once."""
    return in_words(at).replace("T", " ").removesuffix("Z")


def lasting(ms: int) -> str:
    """A length of time, in the two largest units that say something."""
    if ms < 60_000:
        return f"{ms / 1000:g} s"
    seconds = round(ms / 1000)
    minutes, seconds = divmod(seconds, 60)
    if minutes < 60:
        return f"{minutes} min {seconds} s" if seconds else f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 48:
        return f"{hours} h {minutes} min" if minutes else f"{hours} h"
    days, hours = divmod(hours, 24)
    return f"{days} d {hours} h" if hours else f"{days} d"


def percent(fraction: float) -> str:
    """A confidence or a share."""
    return f"{100 * fraction:.0f} %"

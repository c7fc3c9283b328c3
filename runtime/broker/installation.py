"""Bring Java, jars and the class-data archive together."""

from __future__ import annotations

from runtime.broker.jars import Say, provide_jars
from runtime.broker.java import find_java
from runtime.broker.launch import Installation


def install(say: Say = lambda _: None) -> Installation:
    """What is needed to start a broker; the first call on a machine fetches 45 MB."""
    return Installation(java=find_java(), jars=provide_jars(say=say))

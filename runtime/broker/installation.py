"""Bring Java, jars and the class-data archive together."""

from __future__ import annotations

from runtime.broker.archive import provide_archive
from runtime.broker.jars import Say, cache_folder, provide_jars
from runtime.broker.java import find_java
from runtime.broker.launch import Installation


def install(say: Say = lambda _: None) -> Installation:
    """What is needed to start a broker; the first call on a machine fetches 45 MB and takes some 15 s."""
    java = find_java()  # first: it costs 0.1 s, and without it the jars are of no use
    jars = provide_jars(say=say)
    return Installation(java=java, jars=jars, archive=provide_archive(java, jars, cache_folder(), say))

"""The rules as a process: starts the Faust app from code, quietly, and ends it."""

import asyncio
from typing import Final

from rules.app import RulesApp
from rules.watchdog import exit_code
from runtime.lifecycle import EXIT_OK, Stop
from runtime.logs import get_logger
from runtime.redact import redact
from runtime.settings import Settings

LOOK_SECONDS: Final = 0.1
STOP_SECONDS: Final = 8.0

log = get_logger(__name__)


def run(settings: Settings, stop: Stop) -> int:
    """Judges until ``stop`` is set; answers the exit code.

    0 after a stop, 1 on a fault that a restart may mend, 3 when Kafka cannot be reached or a topic is missing.
    """
    return asyncio.run(_serve(settings, stop))


async def _serve(settings: Settings, stop: Stop) -> int:
    app = RulesApp(settings)
    app.finalize()
    starting = asyncio.ensure_future(app.start())
    failure: BaseException | None = None
    said_ready = False
    while not stop.is_set():
        app.health.beat()
        if starting.done() and starting.exception() is not None:
            failure = starting.exception()
        elif app.crashed:
            failure = app.failure or app._crash_reason
        if failure is not None:
            break
        if not said_ready and app.is_ready():
            said_ready = True
            log.info("ready", group=app.conf.id)
        await asyncio.sleep(LOOK_SECONDS)
    code = EXIT_OK if failure is None else exit_code(failure)
    if failure is not None and app.failure is None:
        log.error("rules_failed", error=f"{type(failure).__name__}: {redact(str(failure))}")
    app.end_soon(code)
    log.info("stopping")
    starting.cancel()
    try:
        async with asyncio.timeout(STOP_SECONDS):
            await app.stop()
    except TimeoutError:
        log.warning("faust_did_not_stop_in_time")
    return code

"""Cameras that are not there: the synthetic yard, filmed once and played over RTSP again and again."""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from demos.rtsp_server import RtspServer
from demos.yard import Yard
from demos.yard_demo import film
from runtime.health import CannotServe, Health
from runtime.lifecycle import EXIT_FAULT, EXIT_OK, Stop
from runtime.logs import get_logger
from runtime.settings import Settings

LOOK_SECONDS: Final = 1.0

log = get_logger(__name__)


def simulate(
    yards: Mapping[str, Yard], folder: Path, seconds: float, host: str, port: int, settings: Settings, stop: Stop
) -> int:
    """Films ``seconds`` of each yard into ``folder`` and plays them at ``host`` until ``stop``; the exit code."""
    servers: list[RtspServer] = []
    health = Health("simulator")
    health.check("cameras", lambda: None if servers and servers[0].running else "are not being played (yet)")
    try:
        health.serve(settings.health_port, settings.health_host)
        server = RtspServer(film(folder, yards, seconds), host=host, port=port).start()
        servers.append(server)
        log.info("cameras_played", urls=[server.url(name) for name in yards])
        while not stop.wait(LOOK_SECONDS):
            health.beat()
            if not server.running:
                log.error("server_died")
                return EXIT_FAULT
        return EXIT_OK
    except CannotServe as error:
        log.error("cannot_listen", reason=str(error))
        return EXIT_FAULT
    except RuntimeError as error:
        log.error("not_started", reason=str(error))
        return EXIT_FAULT
    finally:
        for server in servers:
            server.stop()
        health.close()

"""The documents: cameras.yaml, rois.yaml, services.yaml, routes.yaml and the environment."""

from collections.abc import Mapping

from cli.checks.finding import Finding, fault, note, ok, warning
from cli.reference import OTHER_VARIABLES
from router.configuration import load_router
from runtime.configs import Checked
from runtime.settings import SERVICES_VARIABLES, redis_notice
from schemas.problems import BadDocument

_OURS = ("ALERTING_", "API_", "INFERENCE_")
_COMPOSES = ("_MEMORY",)  # of the compose file's containers; they get the whole .env
_KNOWN = {*SERVICES_VARIABLES, *OTHER_VARIABLES}


def configs(checked: Checked, environ: Mapping[str, str]) -> list[Finding]:
    """Every mistake is a fault, every doubt a warning."""
    found = [fault("configs", str(problem), "`backsight config check`") for problem in checked.problems]
    doubts = list(checked.warnings)
    sinks = "nobody"
    if checked.settings is not None:
        try:
            router = load_router(checked.settings, environ)
        except BadDocument as bad:
            found += [fault("configs", str(problem), "`backsight routes check`") for problem in bad.problems]
        else:
            doubts += router.warnings
            sinks = ", ".join(sink.name for sink in router.sinks) or sinks
    found += [warning("configs", str(doubt), "`backsight config check`") for doubt in doubts]
    if not found:
        rois = sum(len(entry.forbidden_rois) for entry in checked.rois.cameras)
        found.append(ok("configs", f"{len(checked.cameras)} camera(s), {rois} ROI(s); alerts go to {sinks}"))
    if not checked.cameras and not checked.problems:
        found.append(warning("configs", "no camera is enabled", "write configs/cameras.yaml"))
    if notice := redis_notice(environ):
        found.append(note("configs", notice, "docs/from-redis.md"))
    found += [
        note("configs", f"{name} is set, and nothing reads it", "docs/configuration.md has what is read")
        for name in sorted(environ)
        if name.startswith(_OURS)
        and not name.endswith(_COMPOSES)
        and _KNOWN.isdisjoint({name, name.removesuffix("_FILE")})
    ]
    return found

"""Every camera, probed: does it answer, with what, how fast, and by which clock."""

from cli.checks.finding import Finding, fault, ok, warning
from ingest.probing import Probe, probe
from ingest.sources import SourceFault
from runtime.configs import ResolvedCamera
from schemas.documents.cameras import Camera

CLOCK_OFF_MS = 5000.0

_DO = {
    "refused": "correct user and password in the URL's variable; some cameras lock out after several wrong ones",
    "not_found": "correct the path: the camera's manual or its web page names the stream",
    "unreachable": "is it on? `ping` it from this machine; check address, port, VLAN and firewall",
    "timed_out": "it holds the connection and says nothing: restart it, or look for a firewall in between",
    "no_video": "is this the RTSP port (usually 554) and a video stream?",
    "no_picture": "restart the camera; a key frame interval of 1 to 2 s helps",
    "ended": "the camera ends the stream: does it allow one more session?",
    "broken": "try the same URL in a player on this machine",
}


def camera(resolved: ResolvedCamera, seconds: float) -> list[Finding]:
    """One line, and one more for each doubt."""
    try:
        seen = probe(resolved, seconds)
    except SourceFault as found:
        return [fault(f"camera {resolved.camera.id}", str(found), _DO[found.reason])]
    return judged(resolved.camera, seen)


def judged(camera: Camera, seen: Probe) -> list[Finding]:
    """What is to be said of what was seen."""
    subject = f"camera {camera.id}"
    found = [ok(subject, described(seen))]
    if seen.fps is not None and seen.fps < camera.fps_target * 0.9:
        do = f"raise the camera's frame rate, or set fps_target to {max(1.0, seen.fps):.0f}"
        found.append(warning(subject, f"sends {seen.fps:.1f} fps, less than fps_target {camera.fps_target:g}", do))
    if seen.clock_behind_ms is not None and abs(seen.clock_behind_ms) > CLOCK_OFF_MS:
        said = f"its clock is {_apart(seen.clock_behind_ms)} ours"
        do = "give the camera a time server; alerts go by this machine's clock, the time in its picture does not"
        found.append(warning(subject, said, do))
    if seen.width > 2 * camera.width:
        said = f"{seen.width} pixels are decoded and made into {camera.width}"
        found.append(
            warning(subject, said, "name its sub-stream in cameras.yaml, which costs a fraction (docs/tuning.md)")
        )
    return found


def described(seen: Probe) -> str:
    """The probe in one line."""
    fps = "unknown fps" if seen.fps is None else f"{seen.fps:.1f} fps"
    said = f"{seen.codec} {seen.width} x {seen.height}, {fps}, first picture after {seen.first_ms / 1000:.1f} s"
    if seen.clock_behind_ms is not None:
        said += f", clock {_apart(seen.clock_behind_ms)} ours (delay included)"
    return said if seen.stamped else f"{said}, without timestamps"


def _apart(behind_ms: float) -> str:
    return f"{abs(behind_ms) / 1000:.1f} s {'behind' if behind_ms > 0 else 'ahead of'}"

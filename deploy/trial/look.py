"""Runs inside an image, by its Python and as its user: the API is started as a container would be, and shown a picture.

It prints one line per fact, and ends with an error at the first that does not hold.
"""

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import httpx
import simplejpeg

from demos.yard import Yard

WITHIN_SECONDS = 120
AT_MS = 1_000  # how far into an incident of the yard the picture is taken


def main() -> None:
    """Everything there is to see, in order."""
    print(f"runs as {os.getuid()}:{os.getgid()}")
    expect(os.getuid() == 10001 and os.getgid() == 10001, "expected 10001:10001")
    for tool in ("gcc", "cc", "java", "mvn", "pip", "git"):
        expect(shutil.which(tool) is None, f"{tool} is in the image")
    print("no compiler, no Java, no pip in it")
    with Path("/proc/mounts").open() as mounts:
        expect(
            any(line.split()[1] == "/" and "ro" in line.split()[3].split(",") for line in mounts), "root is writable"
        )
    Path("/data/tried").write_text("yes")
    Path("/app/var/tried").unlink()
    print("the root is read-only, /data takes files, and var/ is /data")
    with subprocess.Popen(["backsight", "api"], env={**os.environ, "INFERENCE_DEVICE": "cpu"}) as server:
        try:
            look(server)
        finally:
            server.terminate()
    expect(server.returncode == 0, f"backsight api ended with {server.returncode}")
    print("backsight api stopped with 0 on SIGTERM")


def look(server: subprocess.Popen[bytes]) -> None:
    """The shipped model finds what the yard has on an incident's picture."""
    yard = Yard(7)
    incident = yard.incident(0)
    picture, truths = yard.at(incident.starts_ms + AT_MS)
    jpeg = simplejpeg.encode_jpeg(picture, colorspace="BGR")
    with httpx.Client(base_url="http://127.0.0.1:8000", trust_env=False, timeout=30) as client:
        begun = time.monotonic()
        while True:
            expect(server.poll() is None and time.monotonic() - begun < WITHIN_SECONDS, "backsight api does not answer")
            try:
                if client.get("/health").json()["status"] != "loading":
                    break
            except httpx.TransportError:
                pass
            time.sleep(0.1)  # another process's start has no event to wait for
        print(f"backsight api answers after {time.monotonic() - begun:.1f} s: {client.get('/health').text[:300]}")
        answer = client.post("/infer", content=jpeg, headers={"content-type": "image/jpeg"}).raise_for_status().json()
    seen = sorted({each["label"] for each in answer["detections"]})
    print(f"in the yard: {sorted({each.label for each in truths})}; the shipped model sees {seen}")
    expect("object" in seen, "the model did not see the object")


def expect(holds: bool, otherwise: str) -> None:
    """Ends with the words ``otherwise`` unless it holds."""
    if not holds:
        sys.exit(f"not as it should be: {otherwise}")


if __name__ == "__main__":
    main()

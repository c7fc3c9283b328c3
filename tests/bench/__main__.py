"""Runs every benchmark, or those named: `python -m tests.bench engine rules`."""

import subprocess
import sys
from pathlib import Path


def main(names: list[str]) -> int:
    """Each in a process of its own, so that none warms another; answers how many failed."""
    found = sorted(path.stem.removeprefix("bench_") for path in Path(__file__).parent.glob("bench_*.py"))
    unknown = sorted(set(names) - set(found))
    if unknown:
        print(f"no benchmark called {', '.join(unknown)}; there are {', '.join(found)}", file=sys.stderr)
        return 2
    failed = []
    for name in names or found:
        print(f"\n== {name}", flush=True)
        if subprocess.run([sys.executable, "-m", f"tests.bench.bench_{name}"], check=False).returncode:
            failed.append(name)
    if failed:
        print(f"\nfailed: {', '.join(failed)}", file=sys.stderr)
    return len(failed)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

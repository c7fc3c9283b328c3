#!/usr/bin/env bash
# Makes the environment that `make` works in: deploy/setup.sh run|dev|ultralytics
# Installs what it can (Python packages always; system packages on Debian and Ubuntu as root), and where it cannot,
# says exactly what to install.
set -euo pipefail
cd "$(dirname "$0")/.."

want=${1:?run, dev or ultralytics}
lock=requirements/$want.lock
venv=${VENV:-.venv}
mark=$venv/.installed-$want

say() { printf '%s\n' "$*" >&2; }

debian_root() { [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; }

# apt_install WHY PACKAGE…: installs on Debian and Ubuntu as root, else says what to install and answers 1.
apt_install() {
    local why=$1
    shift
    if debian_root; then
        say "installing $* ($why)"
        if apt-get update -qq >&2 &&
            DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >&2; then
            return 0
        fi
    fi
    say "please install: $* ($why)"
    say "  on Debian or Ubuntu: sudo apt-get install $*"
    return 1
}

find_python() {
    local name
    for name in ${PYTHON:-} python3.13 python3.12 python3.11 python3; do
        # A version manager's stand-in may be on the PATH and not run, so ask it.
        if "$name" -c 'import sys; sys.exit(not ((3, 11) <= sys.version_info < (3, 14)))' 2>/dev/null; then
            command -v "$name"
            return 0
        fi
    done
    return 1
}

if [ ! -x "$venv/bin/python" ]; then
    if ! python=$(find_python); then
        apt_install "Backsight runs on Python 3.11 to 3.13" python3 python3-venv || exit 2
        python=$(find_python) || { say "this machine's Python is too old: 3.11, 3.12 or 3.13 is needed"; exit 2; }
    fi
    if ! "$python" -m venv "$venv" 2>/dev/null; then
        rm -rf "$venv"
        apt_install "to make a Python environment" python3-venv || exit 2
        "$python" -m venv "$venv"
    fi
fi

# A bundle (make bundle, docs/offline.md) brings the packages along: then nothing is asked for over a network.
pip=("$venv/bin/python" -m pip install --quiet --disable-pip-version-check)
if [ -d offline/wheels ]; then
    pip+=(--no-index --find-links offline/wheels)
fi

# The lock's own sum, so that a changed lock is installed and an unchanged one costs nothing.
sum=$(sha256sum "$lock" pyproject.toml | sha256sum | cut -d' ' -f1)
if [ "$(cat "$mark" 2>/dev/null)" != "$sum" ]; then
    say "installing Python packages of $lock"
    "${pip[@]}" --require-hashes -r "$lock"
    "${pip[@]}" --no-deps --no-build-isolation -e .
    echo "$sum" >"$mark"
fi

# OpenCV's wheel needs two libraries of a desktop that a server image lacks.
if ! "$venv/bin/python" -c 'import cv2' 2>/dev/null; then
    apt_install "OpenCV needs them" libgl1 libglib2.0-0 || exit 2
    "$venv/bin/python" -c 'import cv2'
fi

# The local Kafka's jars come through Maven, unless they are here already or a repository is named.
if [ -z "${KAFKA_BOOTSTRAP_SERVERS:-}${BACKSIGHT_MAVEN_REPOSITORY:-}" ] && ! command -v mvn >/dev/null; then
    if ! "$venv/bin/python" -c 'from runtime.broker.jars import provide_jars; provide_jars()' 2>/dev/null; then
        apt_install "to fetch Apache Kafka; or set BACKSIGHT_MAVEN_REPOSITORY, or KAFKA_BOOTSTRAP_SERVERS" maven || exit 2
    fi
fi

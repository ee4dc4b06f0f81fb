#!/bin/sh
# Makes .venv ready: finds a Python, creates the environment, installs pyproject.toml's packages, writes a stamp.
#
# The stamp holds the checksum of pyproject.toml and this folder's path. As long as both stay the same, and no package
# has gone, the next call ends in milliseconds. A changed pyproject.toml runs pip again in the same .venv; a moved folder
# or an environment that lost its pip gets a new .venv. The stamp is written last: a set-up that failed or was
# interrupted leaves none, and the next call tries again.
#
# PYTHON=/path/to/python chooses the interpreter. TORCH_INDEX=URL gives pip one more package index, for another build of
# PyTorch. Unset, a Linux x86-64 machine without an NVIDIA card takes PyTorch's own index of CPU builds, since the
# ordinary index serves it a CUDA build of 8 GB; TORCH_INDEX=none switches that off. Only POSIX sh and tools that
# Debian and macOS ship.
set -eu
unset PYTHONPATH PYTHONHOME # a robot's or a cluster's PYTHONPATH would make pip count foreign packages as installed

cd "$(dirname "$0")/.."
venv=.venv
log=$venv/setup.log
cpu_index=https://download.pytorch.org/whl/cpu
here=$(pwd -P)
stamp="$(cksum <pyproject.toml) $here"

fail() {
    printf 'set-up: %s\n' "$*" >&2
    exit 1
}

# True for Python 3.11 to 3.14: the versions for which all pinned packages publish wheels.
suitable() {
    "$1" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 14))' >/dev/null 2>&1
}

find_python() {
    for candidate in ${PYTHON:+"$PYTHON"} python3 python3.14 python3.13 python3.12 python3.11; do
        if suitable "$candidate"; then
            printf '%s\n' "$candidate"
            return
        fi
        if [ "$candidate" = "${PYTHON:-}" ]; then
            fail "PYTHON=$PYTHON is not a Python 3.11 to 3.14. Mend: name one, or leave PYTHON unset"
        fi
    done
    found=$(python3 --version 2>/dev/null || echo "no python3")
    if [ "$(uname -s)" = Darwin ]; then
        mend="brew install python@3.13"
    else
        mend="sudo apt install python3 python3-venv (Debian 12, Ubuntu 24.04 or newer), or conda env create -f environment.yml"
    fi
    fail "Python 3.11 to 3.14 is needed and $found was found. Mend: $mend"
}

# How many things lie beside the installed packages: fewer than when the stamp was written means that some have gone.
count_packages() {
    ls $venv/lib/python3*/site-packages 2>/dev/null | wc -l | tr -d ' '
}

usable() {
    [ -d $venv ] && [ "$(cat $venv/location 2>/dev/null)" = "$here" ] && suitable $venv/bin/python &&
        $venv/bin/python -m pip --version >/dev/null 2>&1
}

make_venv() {
    if usable; then
        rm -f $venv/stamp
        return
    fi
    python=$(find_python) || exit 1
    version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
    "$python" -c 'import venv, ensurepip' >/dev/null 2>&1 ||
        fail "Python $version has no venv module. Mend: sudo apt install python3-venv (or python$version-venv)"
    rm -rf $venv
    "$python" -m venv $venv || fail "could not create $venv with Python $version (the reason stands above)"
    printf '%s\n' "$here" >$venv/location
}

check_disk() {
    need=3000000
    free=$(df -Pk . | awk 'NR == 2 { print $4 }')
    if [ "$free" -lt $need ]; then
        fail "$((free / 1000)) MB of disk are free here and $((need / 1000)) MB are needed. Mend: free some, then run the same command"
    fi
}

plain_linux() { [ "$(uname -sm)" = "Linux x86_64" ]; }

has_nvidia() { nvidia-smi -L >/dev/null 2>&1; }

# True if the index $1 answers for torch. Asked before pip runs: pip would try for minutes. The alarm ends what no
# time-out covers, such as a name server that does not answer.
reachable() {
    $venv/bin/python - "$1" >$log 2>&1 <<'END'
import os, signal, sys, urllib.parse, urllib.request

url = sys.argv[1].rstrip("/") + "/torch/"
if url.startswith("file:"):
    sys.exit(not os.path.isdir(urllib.request.url2pathname(urllib.parse.urlsplit(url).path)))
signal.alarm(8)
urllib.request.urlopen(urllib.request.Request(url, headers={"User-Agent": "pip"}), timeout=5).close()
END
}

# Sets $index, the one more index for pip, or leaves it empty.
choose_index() {
    index=${TORCH_INDEX-default}
    case $index in
    none) index= ;;
    default)
        index=
        if plain_linux && ! has_nvidia; then index=$cpu_index; fi
        ;;
    esac
    if [ -n "$index" ] && ! reachable "$index"; then
        echo "  $index does not answer: PyTorch comes from the ordinary package index."
        index=
    fi
}

announce() {
    size="2 GB" minutes="2 to 5 minutes"
    if plain_linux && [ -z "$index" ]; then
        size="2 GB, or about 8 GB where the package index serves PyTorch's CUDA build"
        minutes="2 to 15 minutes"
    fi
    echo "Setting up $venv, once: $size, $minutes.${index:+ PyTorch from $index}"
}

# pip's many lines go to the log; a terminal sees one line that changes, a file or CI sees none.
install() {
    start=$(date +%s)
    PIP_USER=0 $venv/bin/python -m pip install --disable-pip-version-check --no-input --progress-bar off \
        ${index:+--extra-index-url "$index"} --editable '.[dev]' >$log 2>&1 &
    pip=$!
    trap 'kill $pip 2>/dev/null; echo; fail "interrupted. Mend: run the same command again"' INT TERM
    while [ -t 1 ] && kill -0 $pip 2>/dev/null; do
        now=$(awk '/^Collecting/ { line = $1 " " $2 } /^Installing/ { line = "Installing them all" } END { print line }' $log)
        printf '\r  %4d s  %-60.60s' $(($(date +%s) - start)) "$now"
        sleep 1
    done
    if [ -t 1 ]; then printf '\r%72s\r' ''; fi
    if ! wait $pip; then
        grep -E '^ *(ERROR|error)' $log | tail -n 3 >&2 || tail -n 3 $log >&2
        fail "pip failed; all it said stands in $log. Mend: check the network and the disk, then run the same command"
    fi
    trap - INT TERM
    echo "  Ready after $(($(date +%s) - start)) s."
}

if [ "$(cat $venv/stamp 2>/dev/null)" = "$stamp" ] && suitable $venv/bin/python &&
    [ "$(count_packages)" -ge "$(cat $venv/packages 2>/dev/null || echo 1)" ]; then
    exit 0
fi
check_disk
make_venv
choose_index
announce
install
count_packages >$venv/packages
printf '%s\n' "$stamp" >$venv/stamp

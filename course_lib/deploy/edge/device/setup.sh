#!/bin/sh
# Prepares the board for edge_bench.py's ONNX models: numpy and ONNX Runtime in the folder "site" beside this file.
#
#     sh setup.sh              the versions that fit this Python
#     PYTHON=python3.8 sh setup.sh
#
# Nothing outside this folder is changed, nothing is run as root, and a second call does nothing. Packages come from the
# folder "wheels" beside this file if there is one (a board without network), else from where this board's pip is told
# to look. The C network needs none of this: python3 edge_bench.py --runtime c
set -eu
cd "$(dirname "$0")"
PYTHON=${PYTHON:-python3}

say() { echo "setup: $*"; }
fail() { echo "setup: $1" >&2; exit "$2"; }

command -v "$PYTHON" >/dev/null || fail "no $PYTHON here. Mend: sudo apt-get install python3" 3
version=$("$PYTHON" -c 'import sys; print("%d.%d" % sys.version_info[:2])')

works() { PYTHONPATH="site${PYTHONPATH:+:$PYTHONPATH}" "$PYTHON" -c 'import numpy, onnxruntime; print("numpy", numpy.__version__, "and ONNX Runtime", onnxruntime.__version__)' 2>/dev/null; }
if found=$(works); then
    say "nothing to do: Python $version has $found"
    exit 0
fi

case $version in
    3.6) packages="numpy==1.19.4 onnxruntime==1.10.0 protobuf<3.20" ;;   # Jetson Nano, JetPack 4.6: 1.19.5 dies there
    3.7) packages="numpy==1.21.6 onnxruntime==1.14.1" ;;
    3.8) packages="numpy==1.24.4 onnxruntime==1.19.2" ;;                 # JetPack 5
    3.9) packages="numpy==1.26.4 onnxruntime==1.19.2" ;;
    3.10) packages="numpy==1.26.4 onnxruntime==1.23.2" ;;                # Jetson Orin, JetPack 6
    *) packages="numpy onnxruntime" ;;
esac
say "Python $version: $packages"

"$PYTHON" -m pip --version >/dev/null 2>&1 || fail "this Python has no pip. Mend: sudo apt-get install python3-pip" 3
if [ -d wheels ]; then
    say "from the folder wheels, without network"
    set -- --no-index --find-links wheels
else
    set --
fi
rm -rf site.part pip.part
if [ "$version" = 3.6 ]; then
    # The pip of JetPack 4 is too old to know these wheels; 22 is too new for Python 3.6. A newer one, for this only:
    say "pip: a version below 22, in a folder that is removed again"
    "$PYTHON" -m pip install -q "$@" --target pip.part 'pip<22' || fail "pip could not be installed: see above" 4
    PYTHONPATH=$PWD/pip.part${PYTHONPATH:+:$PYTHONPATH}
    export PYTHONPATH
fi
# shellcheck disable=SC2086  # several packages in one word
"$PYTHON" -m pip install -q "$@" --only-binary=:all: --target site.part $packages ||
    fail "the packages could not be installed: see above. Without network, put their wheels into a folder wheels here" 4
rm -rf site pip.part
mv site.part site
found=$(works) || fail "installed, but they cannot be imported. Mend: rm -r site, and tell what this says: PYTHONPATH=site $PYTHON -c 'import onnxruntime'" 5
say "ready: $found, in $PWD/site"

#!/bin/sh
# Makes a virtual environment with the pinned reference packages (OpenCV, onnxruntime, …) in the folder $1 and prints
# the absolute path of its interpreter. A second run finds it ready. `--torch` adds PyTorch, which the trainer links against.
set -eu

here=$(cd "$(dirname "$0")/.." && pwd)
mkdir -p "$1"
dir=$(cd "$1" && pwd)
if ! python3 -c 'import venv, ensurepip' 2>/dev/null; then
    sudo=
    [ "$(id -u)" = 0 ] || sudo=sudo
    { $sudo apt-get update -q && $sudo apt-get install -y -q python3 python3-venv; } >&2
fi
[ -x "$dir/bin/python" ] || python3 -m venv "$dir" >&2
"$dir/bin/python" -m pip install -q --disable-pip-version-check -r "$here/tests/python/requirements.txt" >&2
if [ "${2:-}" = --torch ]; then
    "$dir/bin/python" -m pip install -q --disable-pip-version-check -r "$here/tests/python/requirements-torch.txt" >&2
fi
echo "$dir/bin/python"

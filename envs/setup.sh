#!/bin/sh
# setup.sh VENV: make the virtual environment with the pinned packages; get bedtools where it is missing.
set -eu
venv=$1
python=${PYTHON:-python3}

stop() {
    printf 'error: %s\nfix: %s\n' "$1" "$2" >&2
    exit 1
}

"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null ||
    stop "$python is missing or older than 3.11" "install Python 3.11 or newer, or run make PYTHON=/path/to/python3.11"
"$python" -c 'import venv, ensurepip' 2>/dev/null ||
    stop "$python has no venv module" "apt-get install python3-venv (Debian, Ubuntu), or use another Python"
command -v c++ >/dev/null || command -v g++ >/dev/null ||
    stop "no C++ compiler, which MOODS is built with" "apt-get install g++ (Debian, Ubuntu)"

if ! command -v bedtools >/dev/null; then
    echo "getting bedtools"
    sudo=
    [ "$(id -u)" = 0 ] || sudo="sudo -n"
    if command -v apt-get >/dev/null && { [ -z "$sudo" ] || $sudo true 2>/dev/null; }; then
        $sudo apt-get update -qq && $sudo apt-get install -y -qq --no-install-recommends bedtools >/dev/null ||
            stop "apt-get could not install bedtools" "install bedtools by hand and run make again"
    elif command -v mamba >/dev/null; then
        mamba install -y -q -c conda-forge -c bioconda bedtools
    elif command -v conda >/dev/null; then
        conda install -y -q -c conda-forge -c bioconda bedtools
    else
        stop "bedtools is missing" "install it (apt-get install bedtools, or conda install -c bioconda bedtools) and run make again"
    fi
fi

echo "installing the packages of envs/requirements.lock into $venv (a few minutes the first time)"
[ -x "$venv/bin/python" ] || "$python" -m venv "$venv"
"$venv/bin/python" -m pip install -q --disable-pip-version-check -r envs/requirements.lock
"$venv/bin/python" -m pip install -q --disable-pip-version-check --no-deps --no-build-isolation -e .

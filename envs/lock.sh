#!/bin/sh
# lock.sh: resolve pyproject.toml's ranges anew, in a throw-away environment, into envs/requirements.lock.
set -eu
torch=${TORCH:-2.13.0}
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install -q "torch==$torch" setuptools wheel
"$folder/venv/bin/python" -m pip install -q ".[workflow,slurm,dev]"
{
    echo "# Exact versions that the tests passed with. Made by \`make lock\` from the ranges of pyproject.toml."
    "$folder/venv/bin/python" -m pip freeze --all --exclude genebert --exclude pip | sed 's/ @ .*//; s/+cpu$//'
} >envs/requirements.lock

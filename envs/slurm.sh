#!/bin/sh
# slurm.sh: get what the tests through SLURM need, in CI and containers; anywhere else say how to.
# Where services are managed it installs nothing: Debian's packages would start theirs.
set -eu
if command -v slurmctld >/dev/null && command -v munged >/dev/null; then
    exit 0
fi
if [ "$(id -u)" = 0 ] && [ ! -d /run/systemd/system ] && command -v apt-get >/dev/null; then
    echo "getting slurm-wlm and munge"
    if apt-get update -qq && apt-get install -y -qq --no-install-recommends slurm-wlm munge >/dev/null; then
        exit 0
    fi
fi
echo "note: tests through SLURM are skipped; for them: apt-get install slurm-wlm munge (Debian, Ubuntu)"

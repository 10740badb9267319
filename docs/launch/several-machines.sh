#!/bin/sh
# The same on every machine, with a folder that all of them see:
#   several-machines.sh FIRST_HOST MACHINES RANKS_EACH llama2-70b /shared/runs/70b [--key value ...]
# Not run by the project's tests.
set -eu
first=$1 machines=$2 ranks=$3 recipe=$4 run=$5
shift 5
exec torchrun --shutdown-timeout 570 --nnodes "$machines" --nproc-per-node "$ranks" \
  --rdzv-backend c10d --rdzv-endpoint "$first:29500" --rdzv-id "$(basename "$run")" \
  -m arriero.cli -- run "$recipe" --run "$run" "$@"

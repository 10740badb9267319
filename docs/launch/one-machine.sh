#!/bin/sh
# All GPUs of this machine (or so many CPU processes): one-machine.sh 8 llama2-7b /data/runs/7b [--key value ...]
set -eu
ranks=$1 recipe=$2 run=$3
shift 3
exec torchrun --shutdown-timeout 570 --standalone --nproc-per-node "$ranks" -m arriero.cli -- run "$recipe" --run "$run" "$@"

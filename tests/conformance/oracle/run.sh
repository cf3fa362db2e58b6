#!/bin/sh
# Makes the oracle's cases from the SDK and compares. The folder is one in which npm has installed @notionhq/workers.
#     run.sh ORACLE_PEER WORKERS FOLDER [SEED]
set -eu
peer=$1
workers=$2
modules=$3
seed=${4:-1}
here=$(cd "$(dirname "$0")" && pwd)
lua=$(cd "$here/../../../lua" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
node "$here/generate.mjs" "$modules" "$seed" >"$work/cases.jsonl"
node "$here/formats.mjs" "$modules" "$seed" >"$work/formats.jsonl"
status=0
"$peer" "$lua" "$here/values.lua" || status=1
"$peer" "$lua" "$here/run.lua" "$work/cases.jsonl" || status=1
"$peer" "$lua" "$here/formats.lua" "$work/formats.jsonl" || status=1
python3 "$here/run_scripts.py" "$workers" "$work/cases.jsonl" || status=1
exit $status

#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# Runs the workloads on all allocators, one process for each run, and makes the
# tables and plots.  Called by `make bench`, `make bench-memory` and
# `make bench-huge`; README.md lists the variables that it takes.
set -uo pipefail

usage="Usage: BENCH_PROGRAM=FILE BENCH_RESULTS=DIR run.sh speed|memory|huge"
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
mode=${1-}
program=${BENCH_PROGRAM:?$usage}
results=${BENCH_RESULTS:?$usage}/$mode
raw=$results/raw.csv
latency=$results/latency.csv

case $mode in
speed)
    rounds=5 seconds=0.3 list=--workloads wanted=""
    traced="burst big-churn-1 server-2"
    ;;
memory)
    rounds=3 seconds=3 list=--memory wanted="" traced="*"
    ;;
huge)
    rounds=3 seconds=0.3 list=--workloads
    wanted="churn-1 big-churn-1 medium-1 large-1 burst" traced=burst
    ;;
*)
    echo "$usage" >&2
    exit 2
    ;;
esac
rounds=${BENCH_ROUNDS:-$rounds}
seconds=${BENCH_SECONDS:-$seconds}
read -ra workload_patterns <<<"${BENCH_WORKLOADS:-$wanted}"
read -ra allocator_patterns <<<"${BENCH_ALLOCATORS-}"
read -ra traced_patterns <<<"$traced"
run_limit=${BENCH_LIMIT:-$(awk "BEGIN { print int(60 + 60 * $seconds) }")}
export BENCH_CLOCK=${BENCH_CLOCK:-wall}

# --- What to run -------------------------------------------------------------

# matches NAME PATTERN...: whether a pattern is the name, or the name without
# its number of threads.  Without patterns everything matches.
matches()
{
    local name=$1 pattern
    shift
    [ $# -gt 0 ] || return 0
    for pattern in "$@"; do
        # shellcheck disable=SC2053  # patterns are meant
        if [[ $name == $pattern || ${name%-[0-9]*} == $pattern ]]; then
            return 0
        fi
    done
    return 1
}

workloads=()
declare -A mark description
while read -r name kind text; do
    if matches "$name" "${workload_patterns[@]}"; then
        workloads+=("$name")
        mark[$name]=$kind
        description[$name]=$text
    fi
done < <("$program" "$list")

# The specification of each allocator, by name.
declare -A spec
allocators=()

# try SPECIFICATION: whether it can be loaded and works; says why not.
try()
{
    { "$program" --seconds 0.0001 pair "$1" >"$results/try"; } 2>&1
}

# add_allocator SPECIFICATION: unless it is not wanted or not installed.
add_allocator()
{
    local name=${1%%=*} reason
    matches "$name" "${allocator_patterns[@]}" || return 0
    if ! reason=$(try "$1"); then
        echo "Left out: $name (${reason#bench: })"
        [[ $name != partyalloc* ]] || exit 1
        return 0
    fi
    spec[$name]=$1
    allocators+=("$name")
}

# one_run WORKLOAD ALLOCATOR ROUND [OPTION...]: adds the figures to the tables.
one_run()
{
    local workload=$1 allocator=$2 round=$3 code=0
    shift 3
    [ "$mode" != huge ] || set -- --huge-pages "$@"
    # A subshell keeps the message about a signal out of the terminal.
    (
        timeout "$run_limit" "$program" --seconds "$seconds" "$@" \
            "$workload" "${spec[$allocator]}" >"$results/figures" || exit $?
    ) 2>"$results/errors" || code=$?
    if [ "$code" -ne 0 ]; then
        echo "$workload,$allocator,$round,failed,$code" >>"$raw"
        printf '\r%s on %s failed with code %s: %s\033[K\n' "$workload" \
            "$allocator" "$code" "$(head -n 1 "$results/errors")" >&2
        return 0
    fi
    awk -v round="$round" -v head="$workload,$allocator,$round" \
        -v raw="$raw" -v latency="$latency" '
        $1 == "bucket" && round == "trace" { next }
        $1 == "bucket" { print head "," $2 "," $3 >>latency; next }
        { print head "," $1 "," $2 >>raw }' "$results/figures"
}

# Whether an allocator can run a workload.
suits()
{
    case $2 in
    floor) [ "${mark[$1]}" = floor ] ;;
    partyalloc*) true ;;
    *) [ "${mark[$1]}" != verbs ] ;;
    esac
}

# --- The rounds --------------------------------------------------------------

runs_done=0 runs_all=0 started=$SECONDS

progress()
{
    local left="" text
    runs_done=$((runs_done + 1))
    if [ "$runs_done" -gt 10 ]; then
        left=$(((SECONDS - started) * (runs_all - runs_done) / runs_done))
        left=$(printf ', about %d:%02d left' $((left / 60)) $((left % 60)))
    fi
    text="$runs_done of $runs_all: $*$left"
    if [ -t 2 ]; then
        printf "\r%s\033[K" "$text" >&2
    elif [ $((runs_done % 50)) -eq 1 ]; then
        printf "%s\n" "$text" >&2
    fi
}

# is_traced WORKLOAD: whether its resident memory is recorded.
is_traced()
{
    matches "$1" "${traced_patterns[@]}"
}

# Each round begins with another allocator, so that none always runs in the
# heat of the same neighbour.
one_round()
{
    local round=$1 workload i allocator count=${#allocators[@]}
    for workload in "${workloads[@]}"; do
        for ((i = 0; i < count; i++)); do
            allocator=${allocators[(i + round) % count]}
            suits "$workload" "$allocator" || continue
            progress "round $round of $rounds, $workload, $allocator"
            one_run "$workload" "$allocator" "$round"
        done
    done
}

# Sampling costs a little time, so traced runs are separate.
trace_round()
{
    local workload allocator
    for workload in "${workloads[@]}"; do
        is_traced "$workload" || continue
        for allocator in "${allocators[@]}"; do
            suits "$workload" "$allocator" || continue
            [ "$allocator" != floor ] || continue
            progress "resident memory over time, $workload, $allocator"
            one_run "$workload" "$allocator" trace --trace \
                "$results/resident-$workload-$allocator.txt"
        done
    done
}

count_runs()
{
    local workload allocator
    for workload in "${workloads[@]}"; do
        for allocator in "${allocators[@]}"; do
            suits "$workload" "$allocator" || continue
            runs_all=$((runs_all + rounds))
            if is_traced "$workload" && [ "$allocator" != floor ]; then
                runs_all=$((runs_all + 1))
            fi
        done
    done
}

# --- Everything --------------------------------------------------------------

# What a reader must know to judge the figures.
machine()
{
    local model huge=/sys/kernel/mm/transparent_hugepage/enabled
    model=$(sed -n "s/^model name.*: //p" /proc/cpuinfo | head -n 1)
    echo "$(date -u +%Y-%m-%d), $(uname -sr), ${model:-$(uname -m)}," \
        "$(nproc) cores, load $(cut -d" " -f1 /proc/loadavg)"
    echo "$rounds rounds of about $seconds s, $BENCH_CLOCK time"
    if [ "$mode" = huge ]; then
        echo "Huge pages as the machine has them: $(cat "$huge" 2>&1)"
    else
        echo "Huge pages off"
    fi
}

mkdir -p "$results"
rm -f "$results"/*.txt "$results"/*.svg
echo workload,allocator,round,figure,value >"$raw"
echo workload,allocator,round,ns,calls >"$latency"

names="partyalloc $("$program" --allocators | grep -v '^partyalloc$')"
[ "$mode" != huge ] || names="partyalloc partyalloc-huge ${names#partyalloc}"
[ "$mode" != speed ] || names="floor $names"
for name in $names ${BENCH_PEERS-}; do
    add_allocator "$name"
done
if [ ${#workloads[@]} -eq 0 ] || [ ${#allocators[@]} -eq 0 ]; then
    echo "Nothing to run" >&2
    exit 1
fi
count_runs
machine | tee "$results/report.text"
for ((round = 1; round <= rounds; round++)); do
    one_round "$round"
done
trace_round
[ ! -t 2 ] || printf '\r\033[K' >&2
rm -f "$results/try" "$results/figures" "$results/errors"

for workload in "${workloads[@]}"; do
    echo "$workload,${description[$workload]}"
done >"$results/workloads.csv"
sort -t, -k1,1 -k2,2 -k4,4n "$latency" >"$latency.sorted"
awk -f "$here/summary.awk" -v mode="$mode" -v results="$results" \
    -v order="${allocators[*]}" -v clock="$BENCH_CLOCK" \
    "$results/workloads.csv" "$raw" "$latency.sorted" |
    tee -a "$results/report.text"
rm -f "$latency.sorted"
if [ "${GNUPLOT:-no}" != no ]; then
    bash "$here/plot.sh" "$mode" "$results" "${allocators[@]}"
else
    echo "No plots: gnuplot was not found by configure"
fi
echo "Tables and plots: $results"
# A failed run of any partyalloc is a failure of the whole.
! grep -q '^[^,]*,partyalloc[^,]*,[^,]*,failed,' "$raw"

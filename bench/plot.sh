#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# Draws the plots of a suite's run with gnuplot, as SVG.
# Usage: plot.sh MODE RESULTS ALLOCATOR...
set -euo pipefail

mode=$1
results=$2
shift 2
allocators=("$@")
gnuplot=${GNUPLOT:-gnuplot}

# draw NAME WIDTH TITLE: its input follows the common settings.
draw()
{
    {
        cat <<END
set terminal svg size $2,480 font "sans-serif,12" background "white"
set output "$results/$1.svg"
set title "$3"
set key outside right top
set grid
END
        cat
    } | "$gnuplot" || echo "No plot of $1" >&2
}

# plot_bars ALLOCATOR...: the time of each relative to partyalloc's, workloads
# side by side.
plot_bars()
{
    local data=$results/bars.txt width
    awk -F, -v order="$*" '
        $3 == "ns" {
            best[$1, $2] = $4
            if (!seen[$1]++)
                row[++rows] = $1
        }
        END {
            n = split(order, name, " ")
            printf "workload"
            for (j = 1; j <= n; j++) printf " %s", name[j]
            print ""
            for (i = 1; i <= rows; i++) {
                ours = best[row[i], "partyalloc"]
                if (!ours) continue
                printf "%s", row[i]
                for (j = 1; j <= n; j++) {
                    value = "NaN"
                    if ((row[i], name[j]) in best)
                        value = best[row[i], name[j]] / ours
                    printf " %s", value
                }
                print ""
            }
        }' "$results/summary.csv" >"$data"
    # Without partyalloc there is nothing to compare with.
    [ "$(wc -l <"$data")" -gt 1 ] || return 0
    width=$((300 + 45 * $(wc -l <"$data")))
    draw bars "$width" "Time per operation, partyalloc = 1 (less is better)" \
        <<END
set style data histograms
set style histogram clustered gap 1
set style fill solid 0.8
set logscale y 2
set xtics rotate by 50 right
set key autotitle columnheader
plot for [i=2:$(($# + 1))] "$data" using i:xtic(1)
END
}

# latency_points WORKLOAD ALLOCATOR: 1 / (1 - part of the calls), and ns.
latency_points()
{
    awk -F, -v w="$1" -v a="$2" '
        $1 == w && $2 == a { ns[++n] = $4; calls[n] = $5; all += $5 }
        END {
            for (i = 1; i <= n; i++) {
                left = all - seen
                print all / left, ns[i]
                seen += calls[i]
            }
        }' <(sort -t, -k4,4n "$results/latency.csv")
}

plot_latency()
{
    local workload=$1 allocator file plots=
    for allocator in "${allocators[@]}"; do
        file=$results/latency-$workload-$allocator.txt
        latency_points "$workload" "$allocator" >"$file"
        if [ -s "$file" ]; then
            plots+="\"$file\" using 1:2 with steps lw 2 title \"$allocator\","
        fi
    done
    draw "latency-$workload" 900 "Latency of single calls: $workload" <<END
set logscale xy
set xlabel "percentile"
set ylabel "ns"
set xtics ("50" 2, "90" 10, "99" 100, "99.9" 1000, "99.99" 1e4, "99.999" 1e5)
plot ${plots%,}
END
}

plot_resident()
{
    local workload=$1 allocator file plots=
    for allocator in "${allocators[@]}"; do
        file=$results/resident-$workload-$allocator.txt
        if [ -s "$file" ]; then
            plots+="\"$file\" using 1:(\$2/1024) with lines lw 2"
            plots+=" title \"$allocator\","
        fi
    done
    draw "resident-$workload" 900 "Resident memory: $workload" <<END
set xlabel "ms"
set ylabel "MiB"
set yrange [0:*]
plot ${plots%,}
END
}

# The workloads in a table's first column, or with files of their own.
with_latency()
{
    tail -n +2 "$results/latency.csv" | cut -d, -f1 | sort -u
}

with_trace()
{
    cut -d, -f1 "$results/workloads.csv" | while read -r workload; do
        if compgen -G "$results/resident-$workload-*.txt" >/dev/null; then
            echo "$workload"
        fi
    done
}

if [ "$mode" != memory ]; then
    # The floor can run a few workloads only.
    [ "${allocators[0]}" != floor ] || set -- "${allocators[@]:1}"
    plot_bars "$@"
fi
for workload in $(with_latency); do
    plot_latency "$workload"
done
for workload in $(with_trace); do
    plot_resident "$workload"
done

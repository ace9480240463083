# SPDX-License-Identifier: MIT
#
# Makes the tables of a suite's run.  Reads workloads.csv, raw.csv and the
# sorted latency.csv; prints tables, and writes summary.csv and latency
# percentiles as CSV into `results`.
#
# Variables: mode, results, order (allocators, separated by spaces), clock.

BEGIN {
    FS = ","
    allocators = split(order, name, " ")
    time = clock == "cpu" ? "cpu_ns" : "ns"
}

FNR == 1 { file++ }
file == 1 { workload[++workloads] = $1; described[$1] = $2; next }
$1 == "workload" { next }
file == 2 { take_figure($1, $2, $3, $4, $5); next }
{ take_bucket($1 SUBSEP $2, $4, $5) }

END {
    write_summary()
    if (mode == "memory") {
        memory_tables()
        exit
    }
    time_table()
    peak_table()
    latency_table()
    depot_table()
}

# --- Reading -----------------------------------------------------------------

# Values of a figure are kept in the order of the rounds.
function take_figure(w, a, round, figure, value,    key)
{
    if (figure == "failed")
        failed[w, a] = 1
    if (round == "trace")
        return
    key = w SUBSEP a SUBSEP figure
    values[key, ++count[key]] = value + 0
}

function take_bucket(key, ns, calls)
{
    bucket_ns[key, ++buckets[key]] = ns
    bucket_calls[key, buckets[key]] = calls
    all_calls[key] += calls
}

# --- Figures of several rounds -----------------------------------------------

function known(w, a, figure)
{
    return count[w, a, figure] > 0 && !((w, a) in failed)
}

# The value at position `part` (0 the least, 1 the most) of the sorted rounds.
function quantile(w, a, figure, part,    key, n, i, j, sorted, x)
{
    key = w SUBSEP a SUBSEP figure
    n = count[key]
    for (i = 1; i <= n; i++) {
        x = values[key, i]
        for (j = i - 1; j >= 1 && sorted[j] > x; j--)
            sorted[j + 1] = sorted[j]
        sorted[j + 1] = x
    }
    return sorted[1 + int((n - 1) * part + 0.5)]
}

function best(w, a, figure)
{
    return quantile(w, a, figure, 0)
}

function median(w, a, figure)
{
    return quantile(w, a, figure, 0.5)
}

function total(w, a, figure,    key, i, sum)
{
    key = w SUBSEP a SUBSEP figure
    for (i = 1; i <= count[key]; i++)
        sum += values[key, i]
    return sum + 0
}

# The time that a part of the calls of all rounds did not exceed.
function pooled(w, a, part,    key, i, seen)
{
    key = w SUBSEP a
    for (i = 1; i <= buckets[key]; i++) {
        seen += bucket_calls[key, i]
        if (seen > all_calls[key] * part)
            break
    }
    return bucket_ns[key, i > buckets[key] ? buckets[key] : i]
}

function is_peer(a)
{
    return a != "floor" && a !~ /^partyalloc/
}

# --- Printing ----------------------------------------------------------------

# A number with about three digits, as short as can be.
function short(x)
{
    if (x >= 1e6)
        return sprintf("%.1fM", x / 1e6)
    if (x >= 1e5)
        return sprintf("%.0fk", x / 1e3)
    if (x >= 1e4)
        return sprintf("%.1fk", x / 1e3)
    return sprintf(x < 100 ? "%.1f" : "%.0f", x)
}

function heading(text)
{
    printf "\n%s\n\n", text
}

function column_names(first, last,    i)
{
    printf "%-17s", first
    for (i = 1; i <= allocators; i++)
        printf " %13s", name[i]
    printf "%s\n", last
}

function write_summary(    i, j, f, figures, figure, file)
{
    file = results "/summary.csv"
    print "workload,allocator,figure,best,median" > file
    f = split("ns cpu_ns peak_kib final_kib freed_kib rest_kib p50_ns p99_ns " \
              "p99.9_ns p99.99_ns max_ns max_own_ns cache_misses " \
              "cache_overflows depot_pushes depot_pops depot_retries " \
              "kernel_calls", figures, " ")
    for (i = 1; i <= workloads; i++)
        for (j = 1; j <= allocators; j++)
            for (figure = 1; figure <= f; figure++)
                if (known(workload[i], name[j], figures[figure]))
                    printf "%s,%s,%s,%s,%s\n", workload[i], name[j],
                        figures[figure],
                        best(workload[i], name[j], figures[figure]),
                        median(workload[i], name[j], figures[figure]) > file
    close(file)
}

function cell(w, a, text)
{
    if ((w, a) in failed)
        text = "failed"
    else if (!known(w, a, "ns"))
        text = "-"
    printf " %13s", text
}

# --- Speed -------------------------------------------------------------------

# The fastest peer of a workload.
function fastest(w, except,    j, a, found)
{
    found = ""
    for (j = 1; j <= allocators; j++) {
        a = name[j]
        if (!is_peer(a) || !known(w, a, time) || index(except, " " a " "))
            continue
        if (found == "" || best(w, a, time) < best(w, found, time))
            found = a
    }
    return found
}

function time_table(    i, j, w, a, peer, ratio, logs, n)
{
    heading("Nanoseconds per operation, best / median of the rounds" \
            (clock == "cpu" ? ", processor time" : "") \
            "; ratio: best peer / partyalloc")
    column_names("workload", "   ratio  best peer")
    for (i = 1; i <= workloads; i++) {
        w = workload[i]
        printf "%-17s", w
        for (j = 1; j <= allocators; j++)
            cell(w, name[j], known(w, name[j], time) ? \
                 short(best(w, name[j], time)) "/" \
                 short(median(w, name[j], time)) : "")
        peer = fastest(w, "")
        if (peer != "" && known(w, "partyalloc", time)) {
            ratio = best(w, peer, time) / best(w, "partyalloc", time)
            printf "  %6.2f  %s", ratio, peer
            # These show how time grows with threads; they are not part of
            # the comparison.
            if (w !~ /^scale-/) {
                logs += log(ratio)
                n++
            }
        }
        print ""
    }
    if (n > 0)
        printf "\nGeometric mean of the %d ratios (without scale-*): %.2f\n",
            n, exp(logs / n)
}

# The leanest of the three fastest peers.
function leanest(w,    k, peer, except, found)
{
    except = " "
    for (k = 1; k <= 3; k++) {
        peer = fastest(w, except)
        if (peer == "")
            break
        except = except peer " "
        if (found == "" ||
            median(w, peer, "peak_kib") < median(w, found, "peak_kib"))
            found = peer
    }
    return found
}

function peak_table(    i, j, w, a, peer)
{
    heading("Resident memory in MiB above the start, peak / at the end " \
            "(medians); ratio: ours / leanest of the three fastest peers")
    column_names("workload", "   ratio  leanest")
    for (i = 1; i <= workloads; i++) {
        w = workload[i]
        printf "%-17s", w
        for (j = 1; j <= allocators; j++) {
            a = name[j]
            cell(w, a, known(w, a, "ns") ? \
                 sprintf("%.1f/%.1f", median(w, a, "peak_kib") / 1024,
                         median(w, a, "final_kib") / 1024) : "")
        }
        peer = leanest(w)
        if (peer != "" && known(w, "partyalloc", "ns") &&
            median(w, peer, "peak_kib") > 0)
            printf "  %6.2f  %s", median(w, "partyalloc", "peak_kib") / \
                   median(w, peer, "peak_kib"), peer
        print ""
    }
}

function latency_row(w, a)
{
    printf "%-10s %-14s %8.0f %8.0f %8.0f %8.0f", w, a, pooled(w, a, 0.5),
        pooled(w, a, 0.99), pooled(w, a, 0.999), pooled(w, a, 0.9999)
    printf " %9.0f %9.0f  %6d of %-6d  %6d of %d\n",
        quantile(w, a, "max_ns", 1), quantile(w, a, "max_own_ns", 1),
        total(w, a, "over_10us") - total(w, a, "over_10us_switched"),
        total(w, a, "over_10us"),
        total(w, a, "over_100us") - total(w, a, "over_100us_switched"),
        total(w, a, "over_100us")
}

function latency_table(    i, j, w, a, shown)
{
    for (i = 1; i <= workloads; i++)
        for (j = 1; j <= allocators; j++) {
            w = workload[i]
            a = name[j]
            if (!known(w, a, "p50_ns"))
                continue
            if (!shown++) {
                heading("Nanoseconds of single calls, all rounds together; " \
                        "own: not interrupted by the scheduler")
                print "workload   allocator           p50      p99    p99.9" \
                      "   p99.99       max   max own  own > 10 us      " \
                      "own > 100 us"
            }
            latency_row(w, a)
        }
}

function depot_table(    i, w, shown, operations)
{
    for (i = 1; i <= workloads; i++) {
        w = workload[i]
        if (!known(w, "partyalloc", "depot_pops"))
            continue
        if (!shown++) {
            heading("The slow ways of partyalloc, per 1,000 operations")
            printf "%-17s %9s %9s %9s %9s %9s %13s\n", "workload", "misses",
                "overflows", "pushes", "pops", "retries", "kernel calls"
        }
        operations = median(w, "partyalloc", "all_operations") / 1000
        printf "%-17s %9.3f %9.3f %9.3f %9.3f %9.5f %13.5f\n", w,
            median(w, "partyalloc", "cache_misses") / operations,
            median(w, "partyalloc", "cache_overflows") / operations,
            median(w, "partyalloc", "depot_pushes") / operations,
            median(w, "partyalloc", "depot_pops") / operations,
            median(w, "partyalloc", "depot_retries") / operations,
            median(w, "partyalloc", "kernel_calls") / operations
    }
}

# --- Memory ------------------------------------------------------------------

function mib(w, a, figure)
{
    return sprintf("%.1f", median(w, a, figure) / 1024)
}

function memory_tables()
{
    burst_table()
    producers_table()
    inherit_table()
    trim_table()
}

function percent(kept, peak)
{
    return peak > 0 ? 100 * kept / peak : 0
}

function burst_table(    i, j, w, a, shown)
{
    for (i = 1; i <= workloads; i++)
        for (j = 1; j <= allocators; j++) {
            w = workload[i]
            a = name[j]
            if (w !~ /^burst/ || !((w, a) in failed || known(w, a, "rest_kib")))
                continue
            if (!shown++) {
                heading("Bursts: best time; MiB at the peak, when all is " \
                        "freed, and a second later (medians)")
                print "workload         allocator       ms      peak    freed" \
                      "    later  of peak"
            }
            if ((w, a) in failed) {
                printf "%-16s %-14s failed\n", w, a
                continue
            }
            printf "%-16s %-14s %5.0f %8s %8s %8s %7.1f%%\n", w, a,
                best(w, a, time) * median(w, a, "operations") / 1e6,
                mib(w, a, "peak_kib"), mib(w, a, "freed_kib"),
                mib(w, a, "rest_kib"),
                percent(median(w, a, "rest_kib"), median(w, a, "peak_kib"))
        }
}

function producers_table(    j, a, w, live, peak)
{
    w = "many-producers"
    for (j = 1; j <= allocators; j++) {
        a = name[j]
        if (!known(w, a, "live_kib"))
            continue
        if (!live)
            heading("16 producers, one thread that only frees: ns per block, " \
                    "MiB live and resident at the most (least of the rounds)")
        live = best(w, a, "live_kib") / 1024
        peak = best(w, a, "peak_kib") / 1024
        printf "%-14s %8.1f ns  live %6.1f  peak %6.1f  (live + 25%% + 8 " \
               "would be %6.1f)\n", a, best(w, a, time), live, peak,
               1.25 * live + 8
    }
}

function inherit_table(    j, k, a, w, shown)
{
    w = "inherit"
    for (j = 1; j <= allocators; j++) {
        a = name[j]
        if (!known(w, a, "after_10000_kib"))
            continue
        if (!shown++) {
            heading("10,000 threads in turn: KiB resident (mappings) after " \
                    "so many")
            printf "%-14s", "allocator"
            for (k = 1000; k <= 10000; k += 3000)
                printf " %14d", k
            print ""
        }
        printf "%-14s", a
        for (k = 1000; k <= 10000; k += 3000)
            printf " %14s", sprintf("%d (%d)",
                median(w, a, "after_" k "_kib"),
                median(w, a, "after_" k "_mappings"))
        print ""
    }
}

function trim_table(    i, w, n, rows)
{
    n = split("no-trim trim", rows, " ")
    if (!known("no-trim", "partyalloc", "p50_ns") ||
        !known("trim", "partyalloc", "p50_ns"))
        return
    heading("Nanoseconds of single calls of partyalloc, undisturbed and " \
            "while another thread trims")
    print "workload   allocator           p50      p99    p99.9   p99.99" \
          "       max   max own  own > 10 us      own > 100 us"
    for (i = 1; i <= n; i++)
        latency_row(rows[i], "partyalloc")
    printf "p99.9 while trimming / undisturbed: %.2f\n",
        pooled("trim", "partyalloc", 0.999) / \
        pooled("no-trim", "partyalloc", 0.999)
}

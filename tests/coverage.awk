# SPDX-License-Identifier: MIT
#
# Makes a table of gcov's "File '...'" and "Lines executed:...% of ..." lines,
# for the sources below src/, worst first.

/^File / {
    file = ""
    if (match($0, /src\/[a-z_]+\.[ch]/))
        file = substr($0, RSTART, RLENGTH)
}

/^Lines executed:/ && file != "" {
    split($0, part, /[:%]| of /)
    percent[file] = part[2]
    lines[file] = $NF
    total += $NF
    reached += $NF * part[2] / 100
    file = ""
}

END {
    if (total == 0) {
        print "no source was counted"
        exit 1
    }
    for (file in percent)
        printf "%6.2f%% of %4d lines  %s\n", percent[file], lines[file], \
            file | "sort -n"
    close("sort -n")
    printf "%6.2f%% of %4d lines  all\n", 100 * reached / total, total
}

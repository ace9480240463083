# SPDX-License-Identifier: MIT
# What the tests in shell share: they print TAP by hand.
#
#     . "$srcdir/tests/tap.sh"
#     plan 2
#     check "a name that reads as a sentence" command with arguments
#     finish
#
# A command that fails says why on standard output.

# Where the sources are; the tests run in the top folder of the build.
srcdir=${srcdir:-.}
number=0
failures=0

plan() {
    echo "1..$1"
}

skip_all() {
    echo "1..0 # SKIP $1"
    exit 0
}

check() {
    name=$1
    shift
    number=$((number + 1))
    if output=$("$@" 2>&1); then
        echo "ok $number - $name"
    else
        failures=$((failures + 1))
        echo "not ok $number - $name"
        printf '%s\n' "$output" | sed 's/^/# /'
    fi
}

finish() {
    test "$failures" -eq 0
}

# Fails, and shows its argument, unless that is empty.
nothing_in() {
    test -z "$1" || { printf '%s\n' "$1"; false; }
}

# Succeeds when two texts are equal, and otherwise shows what differs.
same_text() {
    test "$1" = "$2" || {
        echo "expected:"; printf '%s\n' "$1"
        echo "found:"; printf '%s\n' "$2"
        false
    }
}

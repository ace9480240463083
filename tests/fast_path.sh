# SPDX-License-Identifier: MIT
# The code of the two fast paths, so that it cannot rot: how many instructions
# a cache hit takes, and what is not among them.  For gcc -O2 on x86-64 only:
# elsewhere the figures differ.
. "${srcdir:-.}/tests/tap.sh"

library=.libs/libpartyalloc.so
test -r "$library" || skip_all "there is no shared library"
readelf -h "$library" | grep -q X86-64 || skip_all "not for x86-64"
case $BUILD_COMPILER in
*clang* | *-O[013s]*) skip_all "not built by gcc -O2" ;;
*-O2*) ;;
*) skip_all "not built by gcc -O2" ;;
esac
test -z "$BUILD_EXTRAS" || skip_all "built with checks of its own"

# The instructions of a function, without addresses, without padding (a nop of
# two bytes is an xchg by name) and without the landing pad of -fcf-protection.
code_of() {
    objdump -d --no-show-raw-insn "$library" |
        awk -v start="<$1>:" '
            $2 == start { inside = 1; next }
            inside && NF == 0 { exit }
            /xchg +%ax,%ax/ || $2 ~ /^(nop|data16|cs|endbr64)/ { next }
            inside { $1 = ""; print }'
}

# From the entry to the first return, falling through every branch: what runs
# when everything is as it should be.
hit_of() {
    code_of "$1" | awk '{ print } /^ *ret/ { exit }'
}

# Checks that a pattern is in at most so many lines of a text.
at_most() {
    found=$(printf '%s\n' "$3" | grep -cE "$2")
    test "$found" -le "$1" || {
        echo "$found lines with $2, at most $1 expected:"
        printf '%s\n' "$3"
        false
    }
}

branches='^ *j[a-ln-z]'          # conditional ones
locks='lock|xchg|mfence|lfence|sfence'

# What loads or stores; lea only calculates.
memory_of() {
    printf '%s\n' "$1" | grep '(%' | grep -v ' lea '
}

allocate=$(hit_of partyalloc_allocate)
free=$(hit_of partyalloc_free)

reaches_return() {
    printf '%s\n' "$allocate" | grep -q ret &&
        printf '%s\n' "$free" | grep -q ret
}

plan 10
# Both functions begin at the start of a cache line.
are_aligned() {
    nm "$library" | awk '
        $3 ~ /^partyalloc_(allocate|free)$/ { found++; if ($1 !~ /[048c]0$/) bad++ }
        END { exit found != 2 || bad }'
}

check "both_paths_begin_with_a_line_of_the_cache" are_aligned
check "both_paths_fall_through_to_a_return" reaches_return
check "an_allocation_is_17_instructions" at_most 17 . "$allocate"
check "an_allocation_has_2_branches" at_most 2 "$branches" "$allocate"
check "an_allocation_touches_memory_6_times" \
    at_most 6 . "$(memory_of "$allocate")"
check "a_free_is_25_instructions" at_most 25 . "$free"
check "a_free_has_4_branches" at_most 4 "$branches" "$free"
check "a_free_touches_memory_11_times" at_most 11 . "$(memory_of "$free")"
all_fast_code=$(for name in partyalloc_allocate allocate_above_direct \
    partyalloc_free free_elsewhere; do code_of "$name"; done)
check "no_fast_path_calls" at_most 0 '^ *call' "$all_fast_code"
check "no_fast_path_synchronises" at_most 0 "$locks" "$all_fast_code"
finish

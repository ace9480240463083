# SPDX-License-Identifier: MIT
# The layers: which part of the library may know which other one.
. "${srcdir:-.}/tests/tap.sh"

# A part is the files x.h and x.c; the files of the slab layer and of the
# system layer are one part each.  Everyone may include compiler and fatal.
# A line names only parts that stand further up in the table.
layers='
fatal:
compiler:
os:
options:        partyalloc
stack:          os
magazine:       stack
page_map:       os
size_class:     page_map
metadata:       os
chunk:          metadata os page_map
slab_index:     metadata os size_class
slab:           chunk magazine metadata os page_map size_class slab_index
depot:          magazine metadata os page_map size_class slab
large:          options os page_map
thread_cache:   depot large magazine metadata options os page_map size_class slab stack
thread:         chunk depot metadata options os partyalloc thread_cache
shortage:       chunk depot large os slab thread thread_cache
callbacks:      large page_map partyalloc shortage size_class slab thread thread_cache
upkeep:         chunk depot large options os partyalloc shortage slab thread thread_cache
service:        partyalloc
stats:          depot large metadata os page_map partyalloc slab thread_cache
'

part_of() {
    case $1 in
    slab_internal.h | slab_state.h | slab_local.c | slab_purge.c | \
        slab_reserve.c | slab_retire.c | slab_return.c) echo slab ;;
    thread_cache_*) echo thread_cache ;;
    depot_*) echo depot ;;
    large_*) echo large ;;
    os_linux.c | os_thread.c | os_account.[ch]) echo os ;;
    *) echo "${1%.[ch]}" ;;
    esac
}

included() {
    sed -n 's/^ *# *include "\([a-z_.]*\)".*/\1/p' "$1"
}

allowed() {
    printf '%s\n' "$layers" | sed -n "s/^$1: *//p"
}

forbidden() {
    for file in "$srcdir"/src/*.[ch]; do
        part=$(part_of "$(basename "$file")")
        for header in $(included "$file"); do
            other=$(part_of "$header")
            case " $part compiler fatal $(allowed "$part") " in
            *" $other "*) ;;
            *) echo "$(basename "$file") includes $header" ;;
            esac
        done
    done
}

unknown_parts() {
    for file in "$srcdir"/src/*.[ch]; do
        part=$(part_of "$(basename "$file")")
        printf '%s\n' "$layers" | grep -q "^$part:" || echo "$file"
    done
}

# In the table itself: parts that name one below them.
upward() {
    known=' partyalloc '
    printf '%s\n' "$layers" | sed 's/://' | while read -r part others; do
        for other in $others; do
            case $known in
            *" $other "*) ;;
            *) echo "$part names $other" ;;
            esac
        done
        known="$known$part "
    done
}

ck_includers() {
    (cd "$srcdir/src" && grep -l '^ *# *include <ck_' ./*.[ch])
}

plan 4
check "every_part_has_its_place_in_the_table" nothing_in "$(unknown_parts)"
check "the_table_leads_downwards_only" nothing_in "$(upward)"
check "no_part_includes_what_its_layer_may_not_know" nothing_in "$(forbidden)"
check "only_the_stack_includes_concurrency_kit" \
    same_text "./stack.h" "$(ck_includers)"
finish

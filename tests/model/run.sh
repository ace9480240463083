# SPDX-License-Identifier: MIT
# "make model": checks the models with Spin, and that each of their mutants is
# found.  Needs spin and a C compiler.  Prints TAP.
. "${srcdir:-.}/tests/tap.sh"

command -v spin >/dev/null || skip_all "spin is missing (Debian: spin)"
compiler=${CC:-cc}
models=$(cd "$srcdir/tests/model" && pwd)
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
depth=100000
megabytes=4000

# Generates, compiles and runs a verifier; its arguments are the model and the
# defines.
verify() {
    model=$1
    shift
    (cd "$folder" && rm -f pan* &&
        spin "$@" -a "$models/$model.pml" >spin.log 2>&1 &&
        $compiler -O2 -w -DSAFETY -DCOLLAPSE -DMEMLIM=$megabytes -o pan pan.c &&
        ./pan -m$depth >pan.log 2>&1) || { cat "$folder"/*.log; return 1; }
}

found() {
    sed -n 's/.*errors: //p' "$folder/pan.log"
}

# Every state was visited, and none was bad.
holds() {
    verify "$@" && test "$(found)" = 0 &&
        ! grep -q "Search not completed\|max search depth too small" \
            "$folder/pan.log" || { cat "$folder/pan.log"; false; }
}

# An assertion failed: the model can tell the mutant from the original.
is_found() {
    verify "$@" && grep -q "assertion violated" "$folder/pan.log" ||
        { echo "not found"; false; }
}

plan 18
check "every_magazine_and_every_block_is_in_one_place_only" holds depot
check "a_pop_without_a_generation_is_found" is_found depot -DNO_GENERATION
check "a_batch_pop_that_leaves_the_generation_is_found" \
    is_found depot -DSTEPS=2 -DBATCH_POP
check "a_batch_pop_that_raises_the_generation_holds" \
    holds depot -DSTEPS=2 -DBATCH_POP -DBATCH_POP_RAISES
check "a_magazine_that_is_pushed_before_it_is_detached_is_found" \
    is_found depot -DLATE_DETACH
check "a_pop_that_does_not_compare_is_found" is_found depot -DNO_RECHECK
check "a_thread_that_forgets_its_magazines_at_its_death_is_found" \
    is_found depot -DLOST_AT_DEATH
check "every_block_at_rest_is_found_again" holds slab
check "a_fill_ends_whoever_stands_still" holds slab -DFREEZE
check "a_fill_that_searches_for_ever_is_found" is_found slab -DFREEZE -DNO_SETTLE
check "a_return_that_looks_before_it_counts_is_found" is_found slab -DHELD_FIRST
check "a_fill_that_lists_before_it_lets_go_is_found" is_found slab -DLIST_FIRST
check "a_fill_that_does_not_list_is_found" is_found slab -DNO_LIST
check "a_cache_is_used_by_its_thread_or_by_who_claims_it" holds claim
check "a_claim_without_a_barrier_is_found" is_found claim -DNO_BARRIER
check "a_thread_that_looks_before_it_enters_is_found" \
    is_found claim -DLATE_ENTERED
check "a_claim_that_ends_without_a_look_is_found" is_found claim -DNOT_COMPARED
check "a_thread_that_forgets_a_claim_at_its_end_is_found" \
    is_found claim -DFORGOTTEN
finish

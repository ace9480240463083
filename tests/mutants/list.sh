# SPDX-License-Identifier: MIT
# The mutants: small faults, each of which the named tests must find.
#
#     mutant NAME FILE SED-EXPRESSION TEST...

# --- Sizes ---

mutant a_size_one_too_large_for_its_class src/size_class.h \
    's/(size == 0) - 1) >>/(size == 0)) >>/' unit_size_class
mutant a_step_of_the_classes_is_missed src/size_class.h \
    's/size_t last = size - 1;/size_t last = size;/' unit_size_class
mutant a_reciprocal_is_rounded_down src/size_class.h \
    's/granules \* size_classes\[class\].reciprocal/granules * (size_classes[class].reciprocal - 1)/' \
    unit_size_class contract_sizes
mutant the_direct_table_is_read_one_granule_low src/callbacks.c \
    's/direct\[(size + GRANULE - 1) >> GRANULE_SHIFT\]/direct[size >> GRANULE_SHIFT]/' \
    contract_sizes
mutant a_product_may_overflow src/callbacks.c \
    's/__builtin_mul_overflow(count, size, &bytes)/((bytes = count * size), 0)/' \
    contract_zeroed
mutant a_zeroed_small_block_is_not src/callbacks.c \
    's/memset(block, 0, bytes);/(void)bytes;/' contract_zeroed
mutant a_large_block_may_be_longer_than_all_memory src/large.c \
    's/size > LARGE_SIZE_MAX || alignment/alignment/' \
    absurd_sizes unit_large
mutant a_bad_alignment_is_taken src/callbacks.c \
    's/if (alignment == 0 || (alignment \& (alignment - 1)) != 0)/if (alignment == 0)/' \
    contract_aligned
mutant a_bad_alignment_is_taken_where_the_block_fits src/callbacks.c \
    '/partyalloc_reallocate_aligned/,/^}/s/alignment == 0 ||/alignment == 0 \&\&/' \
    contract_aligned
mutant an_aligned_class_is_any_class src/callbacks.c \
    's/size_classes\[class\].size % alignment != 0/false/' contract_aligned
mutant no_class_is_aligned src/callbacks.c \
    's/size_classes\[class\].size % alignment != 0/true/' contract_aligned
mutant an_aligned_block_is_copied_to_its_own_size src/callbacks.c \
    's/(alignment <= UNIT_BYTES || size <= usable)/alignment <= UNIT_BYTES/' \
    contract_reallocate
mutant out_of_memory_leaves_errno src/callbacks.c \
    's/errno = ENOMEM;/;/' absurd_sizes contract_zeroed memory_limit
mutant a_reallocation_copies_half src/callbacks.c \
    's/size < usable ? size : usable);/(size < usable ? size : usable) \/ 2);/' \
    contract_reallocate
mutant a_reallocation_keeps_the_old_block src/callbacks.c \
    '/memcpy(block, pointer/,/return block/s/partyalloc_free(pointer, memory_type_id);//' \
    contract_reallocate operation_sequences
mutant a_block_keeps_what_it_does_not_need src/callbacks.c \
    's/(size > usable \/ 2 || usable <= GRANULE)/true/' contract_reallocate

# --- Addresses ---

mutant a_misaligned_address_is_looked_up src/page_map.h \
    's/ | (uint64_t)address << 60//' unit_page_map misuse_pointers
mutant an_address_is_not_compared_with_its_block src/slab_state.h \
    's/unlikely(index \* size_classes\[class\].size != offset)/false/' \
    misuse_pointers
mutant a_descriptor_of_the_wrong_unit src/page_map.c \
    's/for (size_t i = 0; i < units; i++)/for (size_t i = 0; i + 1 < units; i++)/' \
    unit_page_map contract_sizes

# --- Freeing twice ---

mutant the_top_of_a_magazine_is_not_compared src/thread_cache.h \
    's/unlikely(top == cursor->limit) || unlikely(\*top == block)/unlikely(top == cursor->limit)/' \
    misuse_double_free
mutant the_state_is_not_judged src/slab_state.h \
    '/FAST_PATH.*slab_judge/,/^}/s/BLOCK_OUT/BLOCK_OUT \&\& false/' \
    misuse_double_free
mutant anothers_block_is_not_judged src/thread_cache.h \
    '/cursor_push_away/,/^}/s/BLOCK_OUT)/BLOCK_OUT \&\& false)/' \
    misuse_double_free
mutant an_address_inside_of_anothers_block_has_a_state \
    src/thread_cache.h \
    '/cursor_push_away/,/^}/s/unlikely(state == NULL)/unlikely(false)/' \
    misuse_anywhere
mutant an_own_block_past_its_cache_is_not_judged src/thread_cache.c \
    's/(mine \&\& \*top == block) || !slab_is_live(class, block)/mine ? *top == block : !slab_is_live(class, block)/' \
    unit_thread_cache
mutant the_top_is_not_compared_on_the_slow_way src/thread_cache.c \
    's/(mine \&\& \*top == block) || !slab_is_live/!slab_is_live/' misuse_double_free
mutant a_large_block_may_be_freed_twice src/callbacks.c \
    's/        large_free_gone(pointer);/        return;/' misuse_double_free
mutant an_address_inside_of_a_large_block_is_freed_twice src/large.c \
    's/is_inside_of_block(pointer) ?/false ?/' misuse_pointers unit_large
mutant any_large_block_below_covers_an_address src/large.c \
    's/ \&\& mapped_of(word) > (uintptr_t)pointer - start;/;/' \
    misuse_double_free
mutant the_unit_of_an_address_is_not_found src/large.c \
    '/^static bool is_inside_of_block/,/^}/s/UNIT_BYTES - 1/UNIT_BYTES + 1/' \
    misuse_pointers
mutant two_threads_may_free_a_large_block src/large.c \
    's/!page_map_replace(block, (void \*)word, (void \*)BLOCK_FREED)/false/' \
    interleaved_large
mutant the_message_is_another src/fatal.c \
    's/"partyalloc: "/"partyalloc - "/' misuse_pointers
mutant a_freed_mapping_is_forgotten src/large.c \
    's/enter(block, ENTRY_LARGE_GONE, BLOCK_FREED);/enter(block, 0, 0);/' \
    misuse_double_free unit_large

# --- The cache ---

mutant a_magazine_takes_one_too_many src/thread_cache.h \
    '/FAST_PATH bool cursor_push(/,/^}/s/top == cursor->limit/top > cursor->limit/' \
    contract_sizes unit_thread_cache operation_sequences
mutant a_magazine_gives_one_twice src/thread_cache.h \
    's/atomic_store_explicit(&cursor->top, top - 1, memory_order_relaxed)/atomic_store_explicit(\&cursor->top, top - (((uintptr_t)top >> 3) % 64 != 40), memory_order_relaxed)/' \
    contract_sizes operation_sequences unit_thread_cache
mutant a_cache_has_no_bound src/thread_cache_room.c \
    's/cache->charged + bytes <= cache->budget/true/' \
    options unit_thread_cache_room
mutant a_limit_never_falls src/thread_cache_room.c \
    's/cursor->limit -= less;//; s/cache->charged -= less \*/cache->charged -= 0 */' \
    unit_thread_cache_room
mutant anothers_slots_are_kept src/thread_cache_room.c \
    's/lower_limit(cache, class, &bin->foreign);//' unit_thread_cache_room
mutant a_bin_with_other_blocks_is_idle src/thread_cache_room.c \
    's/ && \*top == rest->seen_block//' unit_thread_cache_room
mutant a_flush_forgets_anothers_blocks src/thread_cache_room.c \
    's/hand_on(cache, class, cache_detach(cache, class, foreign), true);//' \
    unit_thread_cache cross_thread thread_exit

mutant memory_runs_out_before_single_blocks_do src/thread_cache.c \
    '/^static void \*take_last/,/^}/s/return cache_allocate_one(cache, class);/return NULL;/' \
    unit_shortage
mutant memory_runs_out_before_anothers_blocks_do src/thread_cache.c \
    '/^static void \*take_last/,/^}/s/cache_flush_foreign(cache, class);//' \
    unit_shortage
mutant memory_runs_out_for_a_full_cache src/thread_cache.c \
    's/return block != NULL ? block : take_last(cache, class);/return block;/' \
    unit_shortage
mutant what_was_left_is_taken_in_steps_only src/shortage.c \
    '/for_small/,/^}/s/^    {hand_on_all_left, 1},//' unit_shortage
mutant what_was_left_is_taken_at_once src/shortage.c \
    's/LEFT_STEPS_MAX = 64/LEFT_STEPS_MAX = 1/' unit_shortage

mutant what_lies_idle_in_the_depot_stays src/upkeep.c \
    's/ \&\& depot_drain_idle_step())/ \&\& false)/' unit_depot
mutant no_round_through_the_depot_begins src/upkeep.c \
    's/^        depot_begin_idle();//' unit_depot
mutant the_depot_is_drained_in_any_time src/upkeep.c \
    's/while (os_now() - start < budget_ns \/ 2 \&\& depot/while (depot/' unit_depot
mutant a_child_counts_what_it_has_lost src/thread.c \
    's/^    depot_settle();//' unit_depot
mutant each_period_begins_a_round src/depot.c \
    '/^void depot_begin_idle/,/^}/s/unsigned none = 0;/unsigned none = idle_left;/' \
    unit_depot
mutant single_blocks_stay_in_the_depot src/depot.c \
    's/^    tray_drain_idle(class);//' unit_depot
mutant single_blocks_are_told_by_the_first_one src/depot_tray.c \
    '/^void tray_drain_idle/,/^}/s/i < SINGLES_MAX/i < 1/' unit_depot

mutant the_held_slab_is_carved_first src/slab.c \
    's/if (count == 0 \&\& spare_held(source, class, wanted))/if (false)/' unit_slab
mutant a_held_slab_is_carved_for_single_blocks_first src/slab_local.c \
    's/if (hold_another(source, slab_choose_rested(source, class, 1)))/if (false)/' \
    unit_slab_local
mutant a_slab_with_a_block_is_as_good src/slab.c \
    '/^static struct slab .*choose_rested/,/^}/s/memory_order_relaxed) < wanted/memory_order_relaxed) < 1/' \
    unit_slab
mutant a_spared_slab_has_the_owner_of_another src/slab.c \
    '/^static struct slab .*choose_rested/,/^}/s/adopt(slab, source->owner);//' unit_slab
mutant a_slab_without_pages_is_as_good src/slab.c \
    '/^static struct slab \*choose_rested/,/^}/s/slab_purged_pages(slab) != 0/false/' \
    unit_slab
mutant pages_come_whatever_is_written src/slab.c \
    's/geometry->size <= PAGE_BYTES || writes_all(source)/true/' unit_slab_local
mutant pages_never_come_for_wide_blocks src/slab.c \
    's/ || writes_all(source)//' unit_slab_local
mutant no_slab_shows_what_is_written src/slab.c \
    's/ || source->growth % SAMPLE_INTERVAL == 0)/)/' unit_slab_local
mutant what_lies_behind_blocks_has_pages src/slab.c \
    's/slab->base, blocks_bytes(slab))/slab->base, bytes)/' unit_slab_local
mutant no_slab_changes_hands src/thread_cache.c \
    's/^        slab_adopt(block, owner);/        return;/' unit_thread_cache
mutant a_slab_keeps_its_owner src/slab.c \
    's/ \&\& changes_owner(slab))/ \&\& false)/' unit_slab
mutant a_slab_changes_its_owner_for_a_block src/slab.c \
    's/ \&\& changes_owner(slab))/)/' unit_slab
mutant a_slab_with_blocks_to_carve_is_not_ready src/slab.c \
    '/^bool slab_is_ready/,/^}/s/has_uncarved(slab));/false);/' \
    unit_thread_cache
mutant a_slab_in_which_blocks_rest_is_not_ready src/slab.c \
    '/^bool slab_is_ready/,/^}/s/(atomic_load_explicit(&slab->resting, memory_order_relaxed) != 0 ||/(false ||/' \
    unit_thread_cache
mutant what_others_can_spare_serves_last src/thread_cache.c \
    's/if (slab_is_ready(source))/if (true)/' unit_thread_cache

mutant a_block_far_from_home_takes_the_slow_way src/callbacks.c \
    's/if (unlikely(leaf == NULL) || !push(thread_bins, leaf, pointer))/if (true)/' \
    unit_thread_cache
mutant a_thread_that_moves_keeps_its_leaf src/page_map.h \
    's/    home->leaf = page_map_leaf(block);//' unit_page_map

mutant each_page_of_metadata_takes_a_fault src/metadata.c \
    's/^    make_present(region, start + bytes);//' unit_metadata

# --- Threads ---

mutant the_first_thread_maps_its_chunk src/thread.c \
    's/^    chunk_map_ahead();//' first_call
mutant the_first_thread_maps_metadata src/thread.c \
    's/^    metadata_map_ahead();//' first_call

mutant a_thread_without_a_cache_gets_nothing src/callbacks.c \
    's/return cache_allocate_without(class);/return NULL;/' unit_shortage
mutant a_thread_without_a_cache_sees_slabs_only src/thread_cache.c \
    '/^void \*cache_allocate_without/,/^}/s/: depot_take_any_one(class)/: NULL/' \
    unit_shortage
mutant a_thread_without_a_cache_sees_no_single_blocks src/thread_cache.c \
    '/^void \*cache_allocate_without/,/^}/s/= depot_take_one(class)/= NULL/' \
    unit_shortage
mutant a_thread_without_a_cache_keeps_its_slab src/thread_cache.c \
    '/^void \*cache_allocate_without/,/^}/s/slab_let_go(&source);//' \
    unit_shortage
mutant the_rest_of_a_magazine_is_lost src/depot.c \
    '/^void \*depot_take_any_one/,/^}/s/drain(class, magazine);//' \
    unit_shortage
mutant large_blocks_make_no_room_for_a_cache src/callbacks.c \
    '/^static struct cache \*enter/,/^}/s/large_drop(ROOM_STEP) != 0/false/' \
    unit_shortage
mutant an_exiting_thread_keeps_its_cache src/thread.c \
    '/static void exit_thread/,/^}/s/cache_put_left(cache);/;/' \
    thread_exit short_threads
mutant any_idle_cache_will_do src/thread_cache_idle.c \
    's/os_processor() % PLACES/0/' unit_thread_cache_idle
mutant a_left_cache_is_lost_to_the_next_one src/thread_cache_idle.c \
    's/if (before != NULL)/if (false)/' thread_exit short_threads
mutant a_left_cache_is_flushed_at_once src/thread_cache.c \
    's/FLUSH_STEP = 4/FLUSH_STEP = 1 << 20/' unit_thread_cache_idle
mutant a_left_cache_keeps_its_empty_magazines src/thread_cache.c \
    '/^bool cache_flush_step/,/^}/s/cache_flush_empties(cache);//' \
    unit_thread_cache_idle
mutant a_left_cache_is_nobodys src/thread_cache_idle.c \
    's/since + age <= now ? take_left(place) : NULL/NULL/' thread_exit
mutant a_left_cache_is_anybodys_at_once src/thread_cache_idle.c \
    's/since + age <= now/true/' unit_thread_cache_idle
mutant a_successor_gets_medium_blocks src/thread_cache.c \
    's/flush_from(cache, cache->medium_from);//' thread_exit
mutant a_successor_gets_anothers_blocks src/thread_cache.c \
    '/^void cache_flush_for_successor/,/^}/s/cache_flush_foreign(cache, class);/;/' \
    thread_exit
mutant memory_runs_out_beside_a_left_cache src/shortage.c \
    's/return cache_flush_left(0);/return false;/' unit_shortage
mutant memory_never_runs_out_for_who_borrows_a_cache src/shortage.c \
    's/LEFT_STEPS_MAX = 64/LEFT_STEPS_MAX = INT_MAX/' unit_claim thread_exit
mutant a_trim_passes_left_caches_by src/upkeep.c \
    's/cache_flush_all_left();//' thread_exit
mutant upkeep_passes_left_caches_by src/upkeep.c \
    's/return cache_flush_left(LEFT_AGE) ||/return/' thread_exit
mutant an_exited_thread_goes_on_with_its_cache src/thread.c \
    '/static void exit_thread/,/^}/s/thread_bins = &bins_departed;//' \
    interleaved_threads
mutant a_child_forgets_the_others_caches src/thread.c \
    '/^static void set_straight/,/^}/s/cache_flush(cache);//' forked_child
mutant a_child_makes_all_caches_anew src/thread_cache_idle.c \
    '/^void cache_put_flushed/,/^}/s/put_flushed(cache, place_here());/;/' \
    unit_thread_cache_idle
mutant a_thread_without_a_key_keeps_its_cache src/thread.c \
    's/ || pthread_setspecific(key, cache) != 0)/ || (pthread_setspecific(key, cache), false))/' \
    thread_keys

mutant a_thread_uses_a_cache_that_is_claimed src/thread_cache.h \
    '/^static inline bool cache_enter/,/^}/s/return false;/return true;/' unit_claim
mutant a_claim_does_not_look_for_the_thread src/thread_cache_claim.c \
    's/        !atomic_load_explicit(&bins->entered, memory_order_acquire))/        true)/' \
    unit_claim
mutant a_claim_does_without_a_barrier src/thread_cache_claim.c \
    's/if (os_barrier_everywhere() &&/if ((os_barrier_everywhere() || true) \&\&/' \
    unit_claim
mutant a_cache_left_behind_is_nobodys src/thread_cache_claim.c \
    's/    cache_put_left(cache);//' unit_claim
mutant a_cache_left_behind_can_be_claimed src/thread_cache_claim.c \
    's/    atomic_store_explicit(&bins->entered, true, memory_order_relaxed);//' \
    unit_claim
mutant a_thread_ends_as_if_nothing_was_claimed src/thread_cache_claim.c \
    's/while (!cache_enter(cache)) {/while (false) {/' unit_claim
mutant a_claim_outlives_a_fork src/thread.c \
    's/if (likely(!cache_is_claimed(cache)))/if (true)/' unit_claim
mutant a_child_goes_by_the_clock_of_its_parent src/thread.c \
    '/^static void go_on_with/,/^}/s/cache_note_thread(cache);/;/' unit_claim
mutant a_trim_takes_from_busy_threads src/thread_cache_claim.c \
    's/if (may_have_unused(cache) \&\& has_not_run(cache) \&\&/if (may_have_unused(cache) \&\&/' \
    unit_claim
mutant upkeep_takes_from_busy_threads src/thread_cache_claim.c \
    's/^               idle_ns;/               0;/' unit_claim
mutant further_magazines_of_idle_threads_stay src/thread_cache_claim.c \
    's/return cache_flush_further(cache, class);/return false;/' unit_claim
mutant memory_runs_out_beside_idle_threads src/shortage.c \
    's/^    {hand_on_some_unused, ANY_NUMBER},//' unit_claim
mutant a_thread_with_reserved_memory_goes_without_its_slabs src/upkeep.c \
    's/bool idle_too = !option_quiet();/bool idle_too = true;/' unit_claim
mutant upkeep_takes_slabs_though_memory_is_reserved src/upkeep.c \
    's/(!option_quiet() && cache_flush_unused_step())/cache_flush_unused_step()/' \
    unit_claim
mutant a_trim_passes_idle_threads_by src/upkeep.c \
    's/^        cache_flush_unused();/;/' idle_threads
mutant upkeep_passes_idle_threads_by src/upkeep.c \
    's/(!option_quiet() && cache_flush_unused_step())/false/' idle_threads

mutant a_medium_magazine_is_deep_at_once src/thread_cache_medium.c \
    's/MEDIUM_SLOTS_MIN = 2/MEDIUM_SLOTS_MIN = 16/' unit_thread_cache_medium
mutant a_medium_magazine_stays_as_it_is src/thread_cache_medium.c \
    's/    if (rest->spills != 0)/    if (false)/' unit_thread_cache_medium
mutant a_medium_magazine_is_deep_for_what_comes_once \
    src/thread_cache_medium.c 's/    if (rest->spills != 0)/    if (true)/' \
    unit_thread_cache_medium

# --- Depot and slabs ---

mutant a_trim_holds_every_slab_for_a_while src/slab_purge.c \
    's/    if (purge->ranges_ever != ranges)/    if (true)/' unit_slab_purge
mutant a_slab_of_medium_blocks_goes_back_as_a_whole src/slab_purge.c \
    's/if (size_classes\[slab->class\].size > 2 \* PAGE_BYTES)/if (false)/' \
    idle_threads
mutant a_depot_without_a_bottom src/depot.c \
    's/>= DEPTH_MAX/>= 1000000/' unit_depot
mutant others_take_the_last_magazine_of_a_shelf src/depot.c \
    's/RESERVED = 2/RESERVED = 0/' unit_depot
mutant what_is_left_to_others_is_not_taken_at_last src/thread_cache.c \
    's/return take_last(cache, class);/return NULL;/' unit_shortage
mutant blocks_come_back_marked_as_away src/depot.c \
    '/^static struct magazine \*take(/,/^}/s/slab_mark_out(magazine);//' \
    unit_depot cross_thread
mutant a_slab_is_carved_one_too_far src/slab.c \
    's/(carved + i) \*/(carved + i + 1) */' unit_slab contract_sizes
mutant a_slab_is_never_listed_again src/slab_return.c \
    's/if (before == 0 ||/if (false ||/' unit_slab unit_depot thread_exit
mutant a_slab_is_held_by_two src/slab.c \
    's/return atomic_compare_exchange_strong(&slab->held, &expected, true);/atomic_store(\&slab->held, true); return !expected;/' \
    unit_slab
mutant a_fork_counts_nothing_anew src/thread.c \
    's/^    cache_count_anew(cache);//' unit_claim
mutant a_fork_leaves_caches_to_be_claimed src/thread_cache_room.c \
    '/^void cache_settle/,/^}/s/atomic_store_explicit(&cache->bins.entered, true, memory_order_relaxed);//' \
    unit_claim
mutant a_fork_counts_a_block_twice src/slab_local.c \
    '/^void slab_count_anew/,/^}/s/set_local_free(slab, 0);//' unit_slab_local
mutant a_fork_does_not_count_what_is_dirty src/slab_local.c \
    '/^void slab_count_anew/,/^}/s/(int64_t)resting - before/0/' unit_slab_local
mutant what_is_not_counted_yet_is_taken src/slab.c \
    '/^static size_t take_resting/,/^}/s/wanted > resting/false/' unit_slab
mutant what_is_not_counted_yet_is_the_holders src/slab_local.c \
    's/index < end \&\& resting != 0/index < end/' unit_slab_local
mutant pages_ahead_of_use_stay src/slab_purge.c \
    's/index == carved \&\& slab->present > end/carved > slab->present/' \
    unit_slab_purge
mutant what_lies_behind_the_last_block_stays src/slab_purge.c \
    's/if (index == geometry->capacity)/if (false)/' unit_slab_purge
mutant a_slab_let_go_forgets_what_its_holder_freed src/slab_local.c \
    's/atomic_fetch_add_explicit(&slab->resting, count, memory_order_release);//' \
    unit_slab_local
mutant all_free_slabs_stay_with_their_holder src/slab_local.c \
    's/if (spare > 1)/if (false)/' unit_slab_local
mutant no_free_slab_stays_with_its_holder src/slab_local.c \
    's/if (spare > 1)/if (spare > 0)/' unit_slab_local
mutant medium_blocks_do_not_stay_with_the_slabs_of_a_cache \
    src/thread_cache_medium.c \
    '/^void \*cache_allocate_one/,/^}/s/if (block == NULL \&\& is_local(cache, class))/if (false)/' \
    unit_thread_cache_medium
mutant a_holder_never_lets_go src/slab_local.c \
    's/HELD_MAX + 1/HELD_MAX + 100/' unit_slab_local
mutant a_slab_let_go_is_still_the_holders src/slab_local.c \
    's/atomic_store_explicit(&slab->holder, NULL, memory_order_relaxed);//' \
    unit_slab_local
mutant a_held_block_is_not_judged src/slab_state.h \
    '/^FAST_PATH .*slab_judge/,/^}/s/BLOCK_OUT))/BLOCK_OUT \&\& false))/' \
    misuse_double_free
mutant a_medium_class_keeps_too_many_blocks src/thread_cache_medium.c \
    's/MEDIUM_SLOTS_MAX = 16/MEDIUM_SLOTS_MAX = 60/' \
    unit_thread_cache_medium
mutant a_spill_leaves_the_blocks_where_they_were \
    src/thread_cache_medium.c \
    's/top - count, memory_order_release/top, memory_order_release/' \
    unit_thread_cache_medium contract_sizes misuse_double_free random_load
mutant a_double_free_behind_a_spill_is_dropped \
    src/thread_cache_medium.c \
    's/slab_misuse_slow(class, block);/;/' misuse_double_free
mutant a_flush_has_medium_blocks_in_the_depot src/thread_cache_room.c \
    '/^void cache_flush_bin/,/^}/s/if (cache_is_medium(cache, class))/if (false)/' \
    unit_thread_cache_medium
mutant an_idle_class_keeps_its_blocks src/thread_cache.c \
    's/% IDLE_INTERVAL == 0/% IDLE_INTERVAL == IDLE_INTERVAL/' \
    unit_thread_cache_room
mutant a_step_of_purging_has_no_bound src/slab_purge.c \
    's/if (last - first > most)/if (false)/' unit_slab_purge
mutant what_a_step_left_is_forgotten src/slab_purge.c \
    's/purge->effort == 0 ? 0 : resting/resting/' unit_slab_purge
mutant a_step_goes_on_when_its_time_is_over src/slab_purge.c \
    's/while (index < carved \&\& purge->effort != 0)/while (index < carved)/' \
    unit_slab_purge
mutant a_step_gives_back_what_is_reserved src/slab_purge.c \
    's/if (resting < carved \&\& !slab->reserved)/if (resting < carved)/' \
    unit_slab_purge
mutant what_has_no_pages_is_looked_at_for_ever src/slab_purge.c \
    's/if (resting < carved \&\& !slab->reserved)/if (!slab->reserved)/' \
    unit_slab_purge
mutant scattered_long_blocks_are_never_dirty src/slab_purge.c \
    's/next = carved - (carved - resting) \/ 2;/next = carved + (carved - resting) \/ 2;/' \
    unit_slab_purge
mutant a_look_for_old_pages_waits_for_slow_paths_only src/thread_cache.c \
    's/ \&\& cache->looked_in == slab_age()//' unit_thread_cache
mutant a_step_takes_one_slab src/slab_purge.c \
    's/STEP_SLABS_MAX = 8/STEP_SLABS_MAX = 1/' unit_slab_purge
mutant a_slab_in_use_again_holds_up_all_others src/slab_purge.c \
    's/PASSED_MAX = 64/PASSED_MAX = 1/' unit_slab_purge
mutant all_may_stay_dirty src/slab_purge.c \
    's/slab_used_bytes() >> DIRTY/slab_used_bytes() << DIRTY/' unit_slab_purge
mutant a_step_takes_one_slab_more_than_it_has_places src/slab_purge.c \
    's/i < STEP_SLABS_MAX \&\& purge.effort/i <= STEP_SLABS_MAX \&\& purge.effort/' \
    unit_slab_purge
mutant a_bin_that_overflows_stays_as_narrow_as_it_was src/thread_cache.c \
    's/\*slots = slots_after(cache, class, before);//' unit_thread_cache_room
mutant a_spare_bundle_of_empties_is_lost src/thread_cache_room.c \
    '/^void cache_flush_empties/,/^}/s/if (spare != NULL)/if (false)/' \
    unit_thread_cache_room
mutant a_spare_bundle_of_empties_serves_never \
    src/thread_cache_room.c \
    '/^struct magazine \*cache_take_empty/,/^}/s/magazine = take_list(&cache->spare_empties);/;/' \
    unit_thread_cache_room
mutant a_page_with_a_live_block_is_given_back src/slab_purge.c \
    's/(start + PAGE_BYTES - 1) >> PAGE_SHIFT/start >> PAGE_SHIFT/' \
    unit_slab_purge memory_returns operation_sequences
mutant given_back_pages_are_counted_for_ever src/slab_purge.c \
    's/count_purged(-((int64_t)used << PAGE_SHIFT));//' \
    unit_slab_purge
mutant a_parent_in_the_tree_is_not_marked src/slab_index.c \
    's/for (unsigned up = level + 1; up-- > 0;)/for (unsigned up = level + 1; up-- > level;)/' \
    unit_slab_index
mutant a_mark_above_is_lost src/slab_index.c \
    's/set_from(path, up, set);//' interleaved_parts
mutant a_slab_without_a_place_in_the_index_is_one src/slab_index.c \
    '/^bool slab_index_insert/,/^}/s/return false;/return true;/' \
    unit_slab_index

# --- Slabs given up ---

mutant a_slab_with_live_blocks_is_retired src/slab_retire.c \
    's/return resting == load(&slab->carved);/return true;/' unit_slab_retire
mutant all_that_is_free_is_retired src/slab_retire.c \
    's/class < CLASS_COUNT \&\& done < bytes/class < CLASS_COUNT/' \
    unit_slab_retire
mutant what_was_free_hides_what_is src/slab_retire.c \
    's/        if (is_free(slab))/        if (true)/; s/if (!leave_place(slab))/if (!is_free(slab) || !leave_place(slab))/' \
    unit_slab_retire
mutant a_reserved_slab_is_retired src/slab.c \
    's/resting == carved \&\& !slab->reserved/resting == carved/' unit_slab_retire
mutant a_slab_without_a_block_stays src/slab.c \
    's/resting == carved \&\& !slab->reserved/carved != 0 \&\& &/' unit_slab_retire
mutant a_retired_slab_stays_counted src/slab_retire.c \
    's/^    uncount(slab);//' unit_slab_retire
mutant a_retired_slab_is_not_forgotten src/slab_retire.c \
    's/^    forget(slab);//' unit_slab_retire memory_limit
mutant a_retired_slab_still_lacks_pages src/slab_retire.c \
    's/^    slab_set_purged_pages(slab, 0);//' unit_slab_retire
mutant a_slab_that_is_held_is_retired src/slab_retire.c \
    '/^static struct slab \*take_free/,/^}/s/^            continue;/            ;/' \
    unit_slab_retire
mutant a_retired_slab_is_lost src/slab_retire.c \
    's/slab_index_add(slab->class, SLABS_UNPLACED, slab->number)/(void)0/' \
    unit_slab_retire
mutant a_slab_that_stays_loses_its_entries src/slab_retire.c \
    's/page_map_slab_entry(slab->owner, slab->class), slab);/0, slab);/' \
    unit_slab_retire
mutant a_slab_is_retired_while_memory_is_reserved src/slab_retire.c \
    's/atomic_load(&slab->touched) == 0 \&\&//' unit_slab_retire
mutant a_retired_slab_has_its_place_still src/slab_retire.c \
    's/atomic_store(&slab->placed, false);//' unit_slab_retire
mutant who_brings_the_last_block_to_rest_does_not_say_so src/slab_return.c \
    's/before + count == carved/false/' memory_limit
mutant no_slab_is_retired src/shortage.c \
    's/return slab_retire(shortage->bytes) != 0;/return (void)shortage, false;/' \
    memory_limit
mutant what_is_on_its_way_keeps_slabs src/shortage.c \
    's/^    {bring_to_rest, 1},//' memory_limit
mutant what_threads_have_left_keeps_slabs src/shortage.c \
    '/^static const struct measure for_much/,/^}/s/^    {hand_on_all_left, 1},//' \
    memory_limit
mutant what_the_cap_leaves_does_not_count src/shortage.c \
    's/size_t most = os_room_bytes() +/size_t most =/' memory_limit
mutant what_caches_hold_does_not_count src/shortage.c \
    's/return bytes - most <= cache_totals().bytes + /return bytes - most <= /' \
    unit_shortage
mutant one_measure_is_taken_once src/shortage.c \
    's/ANY_NUMBER = INT_MAX/ANY_NUMBER = 1/' memory_limit
mutant what_cannot_help_is_given_up src/shortage.c \
    's/can_help(bytes) ? for_much : NULL/for_much/' memory_limit
mutant what_no_slab_has_is_not_given_up src/shortage.c \
    's/^    {drop_chunk, 1},//' memory_limit
mutant a_chunk_that_stays_is_lost src/chunk.c \
    '/^size_t chunk_drop/,/^}/s/atomic_compare_exchange_strong_explicit(&current, &none, left,/atomic_compare_exchange_strong_explicit(\&current, \&none, none,/' \
    unit_chunk
mutant what_is_left_of_a_chunk_is_lost src/chunk.c \
    's/drop(done ? before : update)/drop(done ? 0 : update)/' interleaved_parts
mutant pages_that_come_at_once_are_not_noticed src/os_linux.c \
    's/bool now = os_is_present(mapping, PAGE_BYTES);/bool now = false;/' unit_os
mutant a_mapping_in_place_is_not_looked_at src/os_linux.c \
    '/^bool os_map_at/,/^}/s/look_if_filled(address);/;/' unit_os
mutant a_chunk_is_filled_as_a_whole src/chunk.c \
    's/os_fills_mappings() ? 0 : obtain/obtain/' unit_chunk
mutant pages_that_come_at_once_are_mapped_ahead src/large.c \
    's/if (os_fills_mappings())/if (false)/' unit_large_bounds
mutant a_block_that_grows_has_nothing_of_slabs src/callbacks.c \
    '/^static SLOW_PATH void \*grow_slow/,/^}/s/shortage_relieve(&shortage)/false/' \
    memory_limit
mutant no_block_shrinks_at_the_cap src/callbacks.c \
    's/if (block == NULL \&\& stays \&\& size <= usable)/if (false)/' memory_limit
mutant a_block_that_shrinks_at_the_cap_keeps_all src/callbacks.c \
    's/return usable <= SMALL_MAX ? pointer : .*/return pointer;/' memory_limit
mutant leaves_come_before_what_they_are_for src/large.c \
    's/if (base > end || !os_map_at/if (base > end || !page_map_reserve(base, bytes) || !os_map_at/' \
    memory_limit
mutant leaves_come_before_what_grows src/large.c \
    's/if (!os_grow(block, mapped, bytes))/if (!page_map_reserve((uintptr_t)block, bytes) || !os_grow(block, mapped, bytes))/' \
    memory_limit
mutant what_grew_without_a_leaf_stays src/large.c \
    's/os_unmap((char \*)block + mapped, bytes - mapped);/;/' unit_large_bounds
mutant what_is_in_front_without_a_leaf_stays src/large.c \
    '/^static bool map_in_front/,/^}/s/os_unmap((void \*)base, bytes);/;/' \
    unit_large_bounds
mutant upkeep_does_not_look_at_the_clock src/upkeep.c \
    's/while (os_now() - start < budget_ns \&\& give_back_step/while (give_back_step/' \
    unit_slab_purge
mutant upkeep_leaves_nothing_for_later src/upkeep.c \
    's/if (bytes == 0 \&\& slab_dirty_bytes() <= target)/if (false)/' \
    unit_slab_purge
mutant each_call_of_the_upkeep_begins_a_period src/upkeep.c \
    's/return now >= end \&\&/return/' unit_slab_purge
mutant a_trim_collects_more_ranges_than_it_has_places src/slab_purge.c \
    's/if (purge->range_count == RANGES_MAX)/if (false)/' unit_slab_purge
mutant pages_are_made_present_at_once src/os_linux.c \
    's/POPULATE_STEP = 256 << 10/POPULATE_STEP = 1 << 30/' unit_os
mutant what_is_new_is_zeroed src/large.c \
    's/(char \*)block + fresh, 0, size - fresh/block, 0, size/' unit_large
mutant what_waits_is_forgotten_when_a_place_is_empty src/large_kept.c \
    's/return refill_all() || any;/return any;/' unit_large_kept
mutant what_waits_goes_on_waiting_at_an_empty_place src/large_kept.c \
    's/else if (before == 0 \&\& behind == 0)/else if (false)/' unit_large_kept
mutant an_idle_class_goes_all_at_once src/thread_cache_room.c \
    's/FLUSH_IDLE_MAX = 8/FLUSH_IDLE_MAX = 1 << 20/' unit_thread_cache_room
mutant an_idle_class_goes_once_around src/thread_cache_room.c \
    's/cache->hand_stays = true;/;/' unit_thread_cache_room
mutant too_much_is_kept_for_ever src/large_kept.c \
    's/note_too_much(bytes > bound);/note_too_much(false);/' memory_returns
mutant a_stop_can_be_cancelled src/service.c \
    's/pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &before)/(void)(before = 0)/' \
    service_thread
mutant slabs_made_fall src/slab_retire.c \
    's/^    slab_add_dirty(purged - (int64_t)bytes);/&slab_sums.slabs_made--;/' \
    statistics
mutant a_lower_cap_retires_nothing src/upkeep.c \
    's/slab_retire(mapped - bytes);/(void)0;/' memory_limit
mutant a_lower_cap_keeps_what_large_blocks_left src/upkeep.c \
    '/^static void shrink_to/,/large_drop_all/s/if (os_mapped_bytes() > bytes)/if (false)/' \
    unit_large_bounds
mutant a_lower_cap_keeps_what_no_slab_has src/upkeep.c \
    's/^        chunk_drop();/        ;/' unit_large_bounds

# --- Large blocks ---

mutant a_zeroed_large_block_is_dirty src/large.c \
    's/if (zeroed \&\& fresh < size)/if (false)/' contract_zeroed unit_large
mutant a_block_starts_anywhere_in_its_first_unit src/large.c \
    's/((uintptr_t)block \& (UNIT_BYTES - 1)) != 0/false/' misuse_pointers
mutant a_kept_range_need_not_be_aligned src/large_range.h \
    's/ \& ~(alignment - 1);/;/' unit_large_kept unit_large
mutant a_cut_may_begin_before_its_range src/large_range.h \
    's/return base >= base_of(from) ? base : 0;/return base;/' unit_large_kept
mutant the_first_range_that_fits_is_taken src/large_kept.c \
    's/units_of(now) < units_of(\*best)/false/' unit_large_kept unit_large
mutant what_is_cut_off_is_lost src/large_kept.c \
    's/before != 0 ? before : behind/behind/' unit_large_kept unit_large
mutant neighbours_are_never_joined src/large_range.h \
    's/end_of(low) == base_of(high) \&\&/false \&\&/' \
    unit_large_kept unit_large
mutant neighbours_that_lie_apart_stay_apart src/large_kept.c \
    's/in_order || !put_in_order()/true/' \
    unit_large_kept
mutant neighbours_are_looked_for_at_each_miss src/large_places.c \
    's/if (!atomic_load_explicit(\&large_places.apart, memory_order_relaxed))/if (false)/' \
    unit_large_kept
mutant puts_at_once_do_not_tell src/large_places.c \
    's/memory_order_acq_rel) != before)/memory_order_acq_rel) < before)/' \
    unit_large_kept
mutant neighbours_that_lie_apart_are_not_sorted src/large_places.c \
    's/gap != 0; gap/false; gap/' unit_large_kept unit_large_places
mutant some_neighbours_that_lie_apart_are_not_sorted src/large_places.c \
    '/^static void sort(/,/^}/s/i < end; i++/i < end \/ 2; i++/' \
    unit_large_places
mutant ranges_are_sorted_by_long_distances_only src/large_places.c \
    's/gap != 0; gap/gap > 1; gap/' unit_large_places
mutant a_joined_range_has_the_age_of_the_last src/large_range.h \
    's/units_of(low) >= units_of(high) ? low : high)/high)/' unit_large_kept
mutant a_range_never_grows_old src/large_kept.c \
    's/age_of(from, now) > AGE_MAX/false/' unit_large_kept unit_large
mutant what_was_freed_just_now_is_old src/large_range.h \
    's/age <= RANGE_SINCE_MASK - RANGE_AGE_AHEAD ? age : 0/age/' unit_large_kept
mutant a_surplus_stays src/large.c \
    's/kept_drop_step(kept_bound(), !option_quiet());//' unit_large_bounds
mutant a_surplus_stays_when_more_is_mapped src/large.c \
    's/kept_drop_step(kept_bound(), false);//' unit_large_bounds
mutant a_surplus_goes_when_nothing_is_mapped src/large.c \
    '/^void \*large_allocate/,/^}/s/    if (fresh != 0)$/    if (true)/' \
    unit_large_bounds
mutant a_surplus_is_unmapped_at_once src/large_kept.c \
    's/drop_piece(used, DROP_UNITS)/drop_piece(used, RANGE_LENGTH_MAX)/' \
    unit_large_bounds unit_large_kept
mutant a_surplus_waits_for_large_blocks src/thread_cache.c \
    's/^        large_drop_step(aged_too);/        ;/' memory_returns
mutant what_is_old_waits_for_large_blocks src/thread_cache.c \
    's/if (aged_too || large_keeps_too_much())/if (large_keeps_too_much())/' \
    unit_large_bounds
mutant what_a_block_gives_up_is_lost src/large.c \
    '/^static void \*shrink/,/^}/s/kept_give(.*;//' unit_large
mutant what_a_block_gives_up_knows_no_bound src/large.c \
    '/^static void \*shrink/,/^}/s/    kept_drop_step(.*;//' unit_large_bounds
mutant the_last_comer_has_no_place src/large_places.c \
    's/units_of(shortest) >= units_of(new)/true/' unit_large_kept
mutant the_first_range_gives_way src/large_places.c \
    '/^static unsigned shortest_place/,/^}/s/^        place = i;/        ;/' \
    unit_large_kept
mutant the_shortest_of_the_first_ranges_gives_way src/large_places.c \
    '/^static unsigned shortest_place/,/^}/s/i < PLACE_COUNT; i++/i < 2; i++/' \
    unit_large_kept
mutant what_has_no_place_is_unmapped_at_once src/large_kept.c \
    's/if (!is_unused(lost) ||/if (/' unit_large_kept unit_large_bounds
mutant unused_memory_waits_for_a_place src/large_kept.c \
    's/if (!is_unused(lost) ||/if (true ||/' unit_large_kept
mutant what_has_no_place_waits_for_ever src/large_kept.c \
    's/keep(make_used(waiting));/overflow_push(OVERFLOW_WAITING, waiting);/' unit_large_kept
mutant what_is_refused_is_lost src/large_kept.c \
    's/    overflow_push(OVERFLOW_REFUSED, from);//' unit_large_kept
mutant what_is_refused_holds_up_others src/large_kept.c \
    's/overflow_push(OVERFLOW_REFUSED, from)/overflow_push(OVERFLOW_WAITING, from)/' \
    unit_large_kept
mutant what_is_refused_keeps_its_pages src/large_kept.c \
    '/^static size_t give_up/,/^}/s/    os_purge.*//' unit_large_kept
mutant what_is_refused_is_not_tried_again src/large_kept.c \
    's/        from = overflow_pop(OVERFLOW_REFUSED);/;/' unit_large_kept
mutant a_long_range_that_is_refused_is_lost src/large_kept.c \
    '/^static bool is_gone/,/^}/s/return false;$/return true;/' unit_large_kept
mutant a_long_range_is_never_unmapped src/large_kept.c \
    '/^static bool is_gone/,/^}/s/if (os_unmap((void \*)base, bytes))/if (false)/' \
    unit_large_kept
mutant what_waits_does_not_count src/large_kept.c \
    's/ + overflow_bytes()//' unit_large_kept
mutant what_waits_goes_as_a_whole src/large_kept.c \
    's/units_of(from) <= DROP_UNITS/true/' unit_large_kept
mutant a_waiting_range_has_no_generation src/large_overflow.c \
    's/before + 1)/before)/' unit_large_overflow
mutant a_waiting_range_is_not_published src/large_overflow.c \
    's/memory_order_release/memory_order_relaxed/' interleaved_large
mutant a_waiting_range_looks_like_a_block src/large_overflow.c \
    's/RANGE_LENGTH_SHIFT;/RANGE_LENGTH_SHIFT | (from \& 1);/' \
    unit_large_overflow
mutant a_cap_empties_all src/large_kept.c \
    's/dropped != 0 ? dropped : kept_drop_all()/kept_drop_all()/' \
    unit_large_bounds
mutant no_kept_range_makes_room src/shortage.c \
    's/return large_drop(shortage->bytes) != 0;/return (void)shortage, false;/' \
    unit_large_bounds
mutant a_target_that_stays_is_lost src/large.c \
    's/if (!os_unmap_for_move(to, bytes, mapped))/if (!os_unmap_for_move(to, bytes, mapped) \&\& false)/' \
    unit_large_bounds
mutant a_free_gives_back_for_each_block src/thread_cache_medium.c \
    's/        depot_give_one(class, block);/        depot_give_one(class, block), large_drop_step(true);/;s/#include "thread_cache_internal.h"/&\n#include "large.h"/' \
    unit_large_bounds
mutant no_room_is_made_for_a_reservation src/upkeep.c \
    's/while (shortage_relieve(&shortage))/while (false)/' memory_limit
mutant a_reservation_of_metadata_does_without_its_pages src/metadata.c \
    's/os_touch(rest, bytes);/;/' unit_reserve
mutant a_reservation_that_fails_is_kept_quiet_for src/upkeep.c \
    's/^    options_be_quiet();.*//;s/^    bool first =/    options_be_quiet();\n&/' \
    unit_reserve
mutant what_is_reserved_of_metadata_is_counted_twice src/metadata.c \
    's/end = (before > used ? before : used) + bytes;/end = used + bytes;/' \
    unit_metadata
mutant each_reservation_begins_a_region src/metadata.c \
    's/if (end > mapped \&\& !map_for_later(end - mapped))/if (!map_for_later(bytes))/' \
    unit_metadata unit_reserve
mutant metadata_that_failed_stays_reserved src/metadata.c \
    's/atomic_fetch_sub_explicit(&reserved_end, bytes, .*/;/' unit_metadata
mutant a_reserved_region_is_passed_by src/metadata.c \
    's/if (next == NULL) {/if (next == NULL || (place = \&next, next = NULL, true)) {/' \
    unit_metadata
mutant reserved_pieces_stay_apart src/chunk.c \
    's/return put(update, true) ||/return/' unit_chunk
mutant reserved_pieces_have_few_places src/chunk.c \
    's/put(update, false) || add_reserve(update);/put(update, false) || (reserves == NULL \&\& add_reserve(update));/' \
    unit_chunk
mutant what_fails_is_reserved_without_metadata src/chunk.c \
    's/if (metadata_reserve(metadata)) {/metadata_reserve(metadata);{/' unit_chunk
mutant each_reservation_has_all_constant_parts src/upkeep.c \
    's/bool first = !option_quiet();/bool first = true;/' unit_reserve
mutant a_block_keeps_half_of_its_mapping src/large.c \
    's/(spare >= LONG_SPARE_MIN \&\& spare > mapped >> LONG_SPARE_SHIFT)/false/' \
    unit_large
mutant a_block_keeps_nothing_that_it_does_not_need src/large.c \
    's/LONG_SPARE_SHIFT = 2/LONG_SPARE_SHIFT = 20/' unit_large
mutant what_a_block_gives_up_goes_at_once src/large.c \
    '/^static void \*shrink/,/^}/s/    kept_give((uintptr_t)block + bytes,/    os_unmap((char *)block + bytes,/' unit_large
mutant what_was_used_before_comes_before_the_reserve src/slab.c \
    's/reuse(class, owner, SLABS_RESERVED);/reuse(class, owner, SLABS_AVAILABLE);/' \
    reserved_memory
mutant reserved_space_comes_last src/slab.c \
    's/if (slab == NULL \&\& chunk_has_reserved(.*/if (false)/' reserved_memory
mutant memory_is_mapped_beside_what_was_used_before src/slab.c \
    's/slab = reuse(class, owner, SLABS_AVAILABLE);/slab = make(class, owner);/' \
    reserved_memory
mutant spare_blocks_come_before_the_reserve src/slab.c \
    's/!any \&\& !reserve_serves(source, class)/slab == NULL/' \
    reserved_memory
mutant slabs_that_caches_hold_are_not_all_there src/slab_reserve.c \
    's/make_run_present(slab, (struct run){0, pages}, make_present);/make_taken_present(slab, make_present);/' \
    reserved_memory
mutant blocks_in_caches_are_not_there src/slab_reserve.c \
    's/^    else$/    else if (false)/' reserved_memory
mutant what_caches_hold_is_not_touched src/slab_reserve.c \
    's/? populate : os_touch/? populate : populate/' unit_reserve
mutant pages_given_back_come_with_a_reservation src/slab_reserve.c \
    '/^static void make_taken_present/,/^}/s/^            continue;/            ;/' \
    unit_reserve
mutant huge_pages_are_never_asked_for src/large.c \
    's/option_huge_pages() \&\&/false \&\&/' huge_pages
mutant huge_pages_are_not_asked_for_in_kept_memory src/large.c \
    '/^static uintptr_t obtain(/,/^}/s/    if (base == 0)/    if (base != 0) return base; if (base == 0)/' \
    huge_pages
mutant huge_pages_are_not_asked_for_what_grows src/large.c \
    's/        advise((uintptr_t)block, bytes);//' huge_pages
mutant huge_pages_are_always_asked_for src/large.c \
    's/option_huge_pages() \&\&//' huge_pages
mutant a_block_that_grows_is_counted_twice src/os_linux.c \
    's/map(bytes, OS_MAP_ALIGNMENT, bytes - moved);/map(bytes, OS_MAP_ALIGNMENT, bytes);/' \
    unit_os_account memory_limit
mutant a_move_that_fails_leaves_a_gap src/os_linux.c \
    's/            map_there(to, bytes);/            ;/' unit_os
mutant anothers_mapping_goes_with_a_target src/os_linux.c \
    's/!is_one_mapping(to, bytes) || unmap_pages/unmap_pages/' unit_os
mutant two_mappings_move_as_one src/os_linux.c \
    's/is_one_mapping(from, moved)/true/' unit_os
mutant pages_are_made_present_for_all src/large_pages.c \
    's/GET(habit.last) == WRITTEN/true/' unit_large_pages
mutant nobody_asks_again_whether_pages_are_written src/large_pages.c \
    's/ \&\& !is_turn_of_sample()//' unit_large_pages
mutant any_number_of_pages_is_made_present src/large_pages.c \
    's/bytes < OS_PRESENT_MAX ? bytes : OS_PRESENT_MAX/bytes/' unit_large_pages
mutant the_first_sample_says_nothing_while_it_lives src/large_pages.c \
    's/        look_at_first();/;/' unit_large_pages
mutant what_is_not_written_yet_is_a_verdict src/large_pages.c \
    's/^        judge(WRITTEN);/        judge(WRITTEN); else judge(NOT_WRITTEN);/' \
    unit_large_pages
mutant a_verdict_does_not_end_the_look_at_the_first src/large_pages.c \
    's/GET(habit.last) == NONE_YET/GET(habit.last) != WRITTEN/' unit_large_pages
mutant unused_memory_is_joined_with_used src/large_range.h \
    's/is_unused(low) == is_unused(high)/true/' unit_large_unused
mutant unused_memory_is_taken_for_used src/large_kept.c \
    's/is_unused(now) != unused ||//' unit_large_unused
mutant any_range_is_made_longer src/large_kept.c \
    's/lowest->what == 0 || now < lowest->what/true/' unit_large_unused
mutant nothing_is_mapped_in_front src/large.c \
    's/if (front != 0 \&\&/if (false \&\&/' unit_large_bounds
mutant no_less_is_mapped_in_front src/large.c \
    's/(more != 0 \&\& map_in_front(front, lacking))/false/' unit_large_bounds
mutant a_range_is_made_longer_though_it_fits src/large_kept.c \
    's/length >= units || units_of/units_of/' unit_large_unused
mutant a_front_is_lost_with_the_race_for_its_range src/large_kept.c \
    's/keep(part(front.what, base, end_of(front.what)));//' unit_large_unused
mutant a_range_is_taken_though_its_front_is_not src/large_kept.c \
    's/if (!cut(front.place, front.what, base, units - length))/if (!cut(front.place, front.what, base, units - length) \&\& false)/' \
    unit_large_unused
mutant unused_memory_makes_no_room src/large_kept.c \
    's/unused.what != 0 ? unused : used/used/' unit_large_unused
mutant unused_memory_goes_in_steps src/large_kept.c \
    's/^ *: RANGE_LENGTH_MAX);/: DROP_UNITS);/' unit_large_unused
mutant unused_memory_with_pages_goes_at_once src/large_kept.c \
    's/has_pages(unused.what) ?/false ?/' unit_large_unused
mutant unused_memory_goes_when_nobody_asks_for_it src/large_kept.c \
    's/if (aged_too \&\& is_aged(unused.what, now))/if (is_aged(unused.what, now))/' \
    unit_large_unused
mutant nothing_is_mapped_ahead src/large.c \
    's/more = ahead()/more = 0/' unit_large_bounds
mutant any_number_of_bytes_is_mapped_ahead src/large.c \
    's/wanted > AHEAD_MAX/false/' unit_large_bounds
mutant what_is_unused_is_mapped_once_more src/large.c \
    's/size_t unused = kept_unused_bytes();/size_t unused = 0;/' \
    unit_large_bounds
mutant a_kept_range_is_not_published src/large_places.h \
    's/memory_order_acq_rel/memory_order_relaxed/' interleaved_large

# --- The system ---

mutant the_cap_is_soft src/os_account.c \
    's/bytes > cap - counted)/bytes > cap - counted + (1 << 20))/' \
    unit_os_account memory_limit
mutant a_refused_request_takes_room_for_a_moment src/os_account.c \
    '/^bool account_begin/,/^}/s/account now = .*/account now = atomic_fetch_add(\&sum, account_of(bytes, 0)); atomic_fetch_sub(\&sum, account_of(bytes, 0));/' \
    unit_os_account
mutant what_was_not_mapped_is_in_the_peak src/os_account.c \
    '/^bool account_begin/,/^}/s/    return true;/    raise_peak(counted_of(now) + bytes); return true;/' \
    unit_os_account
mutant a_child_counts_what_was_about_to_be_mapped src/thread.c \
    's/    os_after_fork_in_child();//' unit_os_account
mutant a_child_misses_one_side_of_a_move src/os_account.c \
    's/mapped_of(now) + twice/mapped_of(now)/' unit_os_account
mutant a_childs_child_counts_a_move_once_more src/os_account.c \
    's/atomic_store_explicit(&moving, 0, memory_order_relaxed);/;/' unit_os_account
mutant what_has_moved_counts_twice_in_a_child src/os_linux.c \
    '/^bool os_move/,/^}/s/account_moved(moved)/account_moved(0)/' \
    unit_os_account
mutant what_was_not_moved_counts_twice_in_a_child src/os_linux.c \
    '/^bool os_unmap_for_move/,/^}/s/account_moved(moved)/account_moved(0)/' \
    unit_os_account
mutant what_is_unmapped_stays_counted src/os_linux.c \
    '/^bool os_unmap/,/^}/s/account_unmapped(round_up(bytes))/account_unmapped(0)/' \
    unit_os_account system_call_faults
mutant a_free_changes_errno src/os_linux.c \
    's/errno = saved;/;/' unit_os system_call_faults small_machine
mutant what_lies_before_an_aligned_mapping_stays src/os_linux.c \
    '/^static char \*map_with_slack/,/^}/s/give_up(start, before);/;/' unit_os_account
mutant a_refused_purge_is_repeated_for_ever src/os_linux.c \
    's/ \&\& ++tries < EAGAIN_RETRIES//' unit_os
mutant locked_pages_are_given_back src/os_linux.c \
    's/advise(address, bytes, MADV_DONTNEED)/advise(address, bytes, 24)/' \
    unit_os memory_returns
mutant ranges_that_the_system_cannot_take_are_tried_again src/os_linux.c \
    's/before != 0 ? AT_ONCE : ONE_BY_ONE/AT_ONCE/' unit_os
mutant one_refusal_is_for_ever src/os_linux.c \
    's/ == NOT_TRIED)$/ < 9)/' unit_os
mutant a_refusal_of_all_ranges_is_for_ever src/os_linux.c \
    's/if (count > 1 \&\& done != 0 \&\&/if (count > 1 \&\&/' unit_os
mutant a_range_counts_as_purged_though_refused src/os_linux.c \
    's/bytes >= (ssize_t)ranges\[done\].iov_len/bytes >= 0/' unit_os
mutant grants_overlap src/chunk.c \
    's/span_base(now) + (uintptr_t)units \* UNIT_BYTES/span_base(now) + (uintptr_t)(units - 1) * UNIT_BYTES/' \
    unit_chunk
mutant metadata_is_misaligned src/metadata.c \
    's/start = (used + alignment - 1) & ~(alignment - 1);/start = used;/' \
    unit_metadata
mutant a_long_piece_has_no_room_for_the_header src/metadata.c \
    's/bytes + alignment + sizeof(struct region)/bytes + alignment - sizeof(struct region)/' \
    unit_metadata
mutant an_option_may_come_late src/options.c \
    's/return EBUSY;/(void)EBUSY;/' options
mutant an_option_may_have_any_characters src/options.c \
    "s/if (\\*text < '0' || \\*text > '9' ||/if (/" options
mutant an_option_may_have_any_number_of_digits src/options.c \
    's/ || value > option->maximum)$/)/' options
mutant a_fork_beside_the_first_start_hangs src/service.c \
    's/^__attribute__((constructor)) static void load/static void load/; s/^    pthread_condattr_t attributes;/    load();&/' \
    service_thread
mutant the_service_thread_takes_signals src/service.c \
    's/sigfillset(&all);/sigemptyset(\&all);/' service_thread
mutant a_thread_that_could_not_start_runs src/service.c \
    's/^            state = SERVICE_STOPPED;/            ;/' service_thread

# --- The lock-free stack ---

mutant a_pop_without_a_generation src/stack.h \
    's/(head & ~STACK_ADDRESS) + (UINT64_C(1) << STACK_GENERATION_SHIFT)/(head \& ~STACK_ADDRESS)/' \
    interleaved_parts
mutant a_pop_that_does_not_compare src/stack.h \
    '/stack_try_pop(struct stack \*stack, struct stack_node \*\*node)/,/^}/s/return atomic_compare_exchange_strong_explicit(/head = atomic_load(\&stack->head); return atomic_compare_exchange_strong_explicit(/' \
    interleaved_parts
mutant a_push_that_does_not_publish src/stack.h \
    '/stack_try_push(struct stack \*stack, struct stack_node \*node)/,/^}/s/memory_order_release/memory_order_relaxed/' \
    interleaved_parts
mutant a_pop_that_does_not_observe src/stack.h \
    '/stack_try_pop(struct stack \*stack, struct stack_node \*\*node)/,/^}/s/memory_order_ac[a-z_]*/memory_order_relaxed/' \
    interleaved_parts
mutant a_block_at_rest_is_not_published src/slab_return.c \
    '/^void slab_return(unsigned/,/^}/s/memory_order_release/memory_order_relaxed/' \
    interleaved_slabs
mutant a_single_block_is_not_published src/depot_tray.c \
    '/^void depot_give_one(/,/^}/s/memory_order_release/memory_order_relaxed/' \
    interleaved_parts

# --- Two threads in every order ---

mutant who_brings_to_rest_looks_before_it_counts src/slab_return.c \
    's/    uint32_t before = atomic_fetch_add(&slab->resting, count);/    bool held = atomic_load(\&slab->held);\n&/; s/    if (atomic_load(&slab->held))/    if (held)/' \
    interleaved_slabs
mutant a_slab_is_listed_before_it_is_let_go src/slab.c \
    '/^void slab_unhold/,/^}/{s/^    slab_list(slab);//; s/^    atomic_store(&slab->held, false);/    slab_list(slab);\n&/}' \
    interleaved_slabs
mutant a_chunk_goes_back_while_it_is_granted src/chunk.c \
    's/atomic_exchange_explicit(&current, 0, memory_order_acquire);/atomic_load(\&current); atomic_store(\&current, 0);/' \
    interleaved_parts
mutant a_single_block_is_taken_by_two src/depot_tray.c \
    's/atomic_exchange_explicit(place, NULL, memory_order_acquire);/atomic_load(place); atomic_store(place, NULL);/' \
    interleaved_parts
mutant a_kept_range_is_taken_by_two src/large_places.h \
    '/^static inline bool place_replace/,/^}/s/    return atomic_compare/    if (place_look(place) == before) return atomic_store(\&large_places.kept[place], after), true;\n&/' \
    interleaved_large
mutant a_neighbour_that_changes_is_missed src/large_places.c \
    '/^static bool replace_neighbour/,/^}/s/    note_apart();//' interleaved_large
mutant a_cache_that_was_left_is_lost src/thread_cache_idle.c \
    's/    struct cache \*before = atomic_exchange_explicit(&idle\[place\].left, cache,/    struct cache *before = atomic_load(\&idle[place].left); atomic_store(\&idle[place].left, cache); (void)(/' \
    interleaved_threads
mutant a_cache_that_was_left_is_taken_by_two src/thread_cache_idle.c \
    's/    return atomic_exchange_explicit(&idle\[place\].left, NULL,/    struct cache *left = atomic_load(\&idle[place].left); atomic_store(\&idle[place].left, NULL); return (void)(/; /return (void)(/{n;s/memory_order_acquire);/0), left;/}' \
    interleaved_threads
mutant a_neighbour_that_was_joined_in_vain_is_lost src/large_places.c \
    's/    \*lost = put(low.what);/    *lost = 0;/' interleaved_large
mutant a_place_that_is_taken_by_now_is_ours src/large_places.c \
    's/if (place_look(i) != 0 || !place_replace(i, 0, new))/if (place_look(i) != 0 || (place_replace(i, 0, new), false))/' \
    interleaved_large
mutant the_later_one_of_two_leaves_stays src/page_map.c \
    's/^        os_unmap(leaf, sizeof(\*leaf));/        ;/' interleaved_parts

# --- Orders of memory, as two threads see them in interleavings ---

mutant a_taken_chunk_is_not_acquired src/chunk.c \
    '/^static uintptr_t take(/,/^}/s/memory_order_acquire/memory_order_relaxed/' \
    interleaved_parts
mutant a_new_chunk_is_not_published src/chunk.c \
    '/grow_slow(unsigned units)/,/^}/s/memory_order_release/memory_order_relaxed/' \
    interleaved_parts
mutant a_reserved_range_is_not_published src/chunk.c \
    '/^static bool put(/,/^}/s/memory_order_release/memory_order_relaxed/' \
    interleaved_parts
mutant a_place_for_a_reserve_is_not_published src/chunk.c \
    '/^static bool add_reserve(/,/^}/s/memory_order_release/memory_order_relaxed/' \
    interleaved_parts
mutant a_region_is_not_published src/metadata.c \
    '/^static void append(/,/^}/s/memory_order_release/memory_order_relaxed/' \
    interleaved_parts
mutant a_region_is_not_acquired src/metadata.c \
    '/^static struct region \*region_after(/,/^}/s/memory_order_acquire/memory_order_relaxed/' \
    interleaved_parts
mutant options_are_not_published src/options.c \
    's/memory_order_release/memory_order_relaxed/' interleaved_parts
mutant options_are_not_acquired src/options.c \
    's/memory_order_acquire/memory_order_relaxed/' interleaved_parts
mutant more_is_counted_as_popped_than_as_pushed src/depot.c \
    '/^static tally on_shelf(/,/^}/s/memory_order_acquire/memory_order_relaxed/' \
    interleaved_parts
mutant a_single_block_is_not_acquired src/depot_tray.c \
    '/^void \*depot_take_one(/,/^}/s/memory_order_acquire/memory_order_relaxed/' \
    interleaved_parts
mutant a_block_at_rest_is_not_acquired src/slab.c \
    '/^static size_t take_range(/,/^}/s/memory_order_acquire/memory_order_relaxed/' \
    interleaved_slabs
mutant a_checked_block_at_rest_is_not_published src/slab_return.c \
    's/BLOCK_REST, memory_order_release/BLOCK_REST, memory_order_relaxed/' \
    interleaved_slabs
mutant a_waiting_range_is_not_acquired src/large_overflow.c \
    '/^range overflow_pop(/,/^}/s/memory_order_acquire/memory_order_relaxed/g' \
    interleaved_large
mutant a_count_of_puts_is_not_acquired src/large_places.c \
    '/^static unsigned begin_put(/,/^}/s/memory_order_acquire/memory_order_relaxed/' \
    interleaved_large
mutant of_two_frees_of_a_medium_block_both_count src/slab_return.c \
    '/^void slab_mark_away_one(/,/^}/s/    leave_out(class, block, BLOCK_AWAY, memory_order_relaxed);/    atomic_store_explicit(slab_judge(page_map_descriptor(block), class, block), BLOCK_AWAY, memory_order_relaxed);/' \
    interleaved_threads

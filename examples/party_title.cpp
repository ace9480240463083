/* SPDX-License-Identifier: MIT */
/*
 * A title's use of PlayFab Party on Linux with partyalloc under it: what comes
 * first, what can go wrong, and what the allocator knows afterwards.
 *
 * Usage: party_title TITLE-ID
 */
#include <chrono>
#include <cinttypes>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <thread>
#include <type_traits>

/* PartyPal.h defines the headers' annotations and calling convention away from
 * Windows; PartyImpl.h defines the methods, so it is included in exactly one
 * source of a title. */
#include <PartyPal.h>
#include <Party.h>
#include <PartyImpl.h>

#include "partyalloc.h"

using Party::PartyManager;

/* No adapter stands between Party and partyalloc. */
static_assert(std::is_same<decltype(&partyalloc_allocate),
                           Party::PartyAllocateMemoryCallback>::value,
              "partyalloc_allocate has Party's type");
static_assert(std::is_same<decltype(&partyalloc_free),
                           Party::PartyFreeMemoryCallback>::value,
              "partyalloc_free has Party's type");

namespace
{

/* What SetMemoryCallbacks() returns besides success. */
constexpr PartyError callback_is_null = 0x10D4;
constexpr PartyError callbacks_already_set = 0x10D5;
constexpr PartyError callbacks_set_too_late = 0x10E5;

constexpr int frames = 600;
constexpr std::chrono::milliseconds frame_time(16);

/* Prints what Party says of an error; returns whether there was none. */
bool succeeded(PartyError error, const char *what)
{
    PartyString message = nullptr;

    if (PARTY_SUCCEEDED(error))
        return true;
    if (PARTY_FAILED(PartyManager::GetErrorMessage(error, &message)))
        message = "unknown error";
    std::fprintf(stderr, "%s: 0x%" PRIX32 ": %s\n", what, error, message);
    return false;
}

const char *installation_error(PartyError error)
{
    switch (error) {
    case callback_is_null:
        return "both callbacks must be given";
    case callbacks_already_set:
        return "this process has set its callbacks before";
    case callbacks_set_too_late:
        return "another method of Party was called before";
    default:
        return "unexpected error";
    }
}

/*
 * To be called before any other method of Party, once in the life of the
 * process: the callbacks stay through Cleanup() and the next Initialize().
 * partyalloc itself needs no call before this one.
 */
bool install_partyalloc()
{
    PartyError error =
        PartyManager::SetMemoryCallbacks(partyalloc_allocate, partyalloc_free);
    Party::PartyAllocateMemoryCallback allocate = nullptr;
    Party::PartyFreeMemoryCallback free = nullptr;

    if (PARTY_FAILED(error)) {
        std::fprintf(stderr, "SetMemoryCallbacks: 0x%" PRIX32 ": %s\n", error,
                     installation_error(error));
        return false;
    }
    return succeeded(PartyManager::GetMemoryCallbacks(&allocate, &free),
                     "GetMemoryCallbacks") &&
           allocate == partyalloc_allocate && free == partyalloc_free;
}

/* One frame: what Party allocated for the state changes is freed, mostly on
 * this thread, when they are handed back. */
bool process_state_changes(PartyManager &party)
{
    uint32_t count = 0;
    Party::PartyStateChangeArray changes = nullptr;

    if (!succeeded(party.StartProcessingStateChanges(&count, &changes),
                   "StartProcessingStateChanges"))
        return false;
    for (uint32_t i = 0; i < count; i++)
        std::printf("state change %d\n",
                    static_cast<int>(changes[i]->stateChangeType));
    return succeeded(party.FinishProcessingStateChanges(count, changes),
                     "FinishProcessingStateChanges");
}

/* Party may keep some blocks beyond Cleanup(), and may still free some on its
 * threads: the callbacks stay usable until the process is gone. */
void print_memory()
{
    partyalloc_stats stats = {};

    stats.size = sizeof stats;
    if (partyalloc_get_stats(&stats) != 0)
        return;
    std::printf("Party keeps %" PRIu64 " blocks, %" PRIu64 " bytes; %" PRIu64
                " bytes are mapped\n",
                stats.small_live_blocks + stats.large_live_blocks,
                stats.small_live_bytes + stats.large_live_bytes,
                stats.mapped_bytes);
}

bool play(const char *title_id)
{
    PartyManager &party = PartyManager::GetSingleton();
    bool good = true;

    if (!succeeded(party.Initialize(title_id), "Initialize"))
        return false;
    for (int frame = 0; good && frame < frames; frame++) {
        good = process_state_changes(party);
        partyalloc_maintain(200000);
        std::this_thread::sleep_for(frame_time);
    }
    print_memory();
    return succeeded(party.Cleanup(), "Cleanup") && good;
}

} // namespace

int main(int count, char **arguments)
{
    bool good;

    if (count != 2) {
        std::fprintf(stderr, "Usage: party_title TITLE-ID\n");
        return 2;
    }
    good = install_partyalloc() && play(arguments[1]);
    print_memory();
    return good ? 0 : 1;
}

// SPDX-License-Identifier: MIT
// C++: the header compiles, the pair has the type that Party asks for, and
// destructors of thread-local and of static objects may allocate and free.
// Prints TAP by hand.
#include <cstdio>
#include <cstdint>
#include <cstdlib>
#include <new>
#include <thread>
#include <type_traits>
#include <vector>

#include "partyalloc.h"

static_assert(std::is_same<decltype(&partyalloc_allocate),
                           void *(*)(std::size_t, std::uint32_t)>::value,
              "the type of Party's allocation callback");
static_assert(std::is_same<decltype(&partyalloc_free),
                           void (*)(void *, std::uint32_t)>::value,
              "the type of Party's free callback");

namespace {

const int blocks_per_thread = 300;
const int thread_count = 200;

void require(bool holds, const char *text)
{
    if (holds)
        return;
    std::fprintf(stderr, "does not hold: %s\n", text);
    std::_Exit(99);
}

// What a title would give its containers.
template <typename T> struct Allocator {
    using value_type = T;

    Allocator() = default;
    template <typename U> Allocator(const Allocator<U> &) {}

    T *allocate(std::size_t count)
    {
        void *block = partyalloc_allocate(count * sizeof(T), 1);
        if (block == nullptr)
            throw std::bad_alloc();
        return static_cast<T *>(block);
    }
    void deallocate(T *block, std::size_t) { partyalloc_free(block, 2); }

    bool operator==(const Allocator &) const { return true; }
    bool operator!=(const Allocator &) const { return false; }
};

class Keeper {
public:
    explicit Keeper(std::size_t size) : size_(size) {}

    void keep()
    {
        for (int i = 0; i < blocks_per_thread; i++)
            blocks_.push_back(partyalloc_allocate(size_, 1));
    }

    // Frees what was kept and goes on using the allocator.
    ~Keeper()
    {
        for (void *block : blocks_)
            partyalloc_free(block, 1);
        void *small = partyalloc_allocate(40, 1);
        void *large = partyalloc_allocate(1 << 20, 1);
        require(small != nullptr && large != nullptr, "memory at the end");
        partyalloc_free(small, 1);
        partyalloc_free(large, 1);
    }

private:
    std::size_t size_;
    std::vector<void *, Allocator<void *>> blocks_;
};

thread_local Keeper early_keeper(48);
thread_local Keeper late_keeper(1500);
Keeper static_keeper(96);

std::uint64_t live_blocks()
{
    partyalloc_stats stats = {};

    stats.size = sizeof stats;
    require(partyalloc_get_stats(&stats) == 0, "statistics");
    return stats.small_live_blocks + stats.large_live_blocks;
}

void keep_on_threads()
{
    for (int i = 0; i < thread_count; i += 2) {
        std::thread one([] {
            early_keeper.keep();
            late_keeper.keep();
        });
        std::thread other([] { late_keeper.keep(); });
        one.join();
        other.join();
    }
}

void report(int number, bool passed, const char *name)
{
    std::printf("%sok %d - %s\n", passed ? "" : "not ", number, name);
}

} // namespace

int main()
{
    std::uint64_t before = live_blocks();

    std::printf("1..2\n");
    keep_on_threads();
    bool passed = live_blocks() == before;
    report(1, passed, "thread_local_destructors_may_allocate_and_free");
    // The static object's destructor and the main thread's thread-local ones
    // run after this line; a failure shows in the exit status.
    static_keeper.keep();
    early_keeper.keep();
    report(2, true, "static_destructors_may_allocate_and_free");
    return passed ? 0 : 1;
}

/* SPDX-License-Identifier: MIT */
/*
 * A third-party C++ program, as `make installcheck` builds it through the
 * installed pkg-config file: the pair fits Party's callback types without a
 * cast, and containers live in its blocks.
 */
#include <partyalloc.h>

#include <cstddef>
#include <cstdint>
#include <new>
#include <thread>
#include <type_traits>
#include <vector>

/* The types that the Party headers give their two callbacks. */
using allocate_callback = void *(*)(std::size_t, std::uint32_t);
using free_callback = void (*)(void *, std::uint32_t);

static_assert(
    std::is_convertible<decltype(&partyalloc_allocate),
                        allocate_callback>::value,
    "partyalloc_allocate is a PartyAllocateMemoryCallback");
static_assert(
    std::is_convertible<decltype(&partyalloc_free), free_callback>::value,
    "partyalloc_free is a PartyFreeMemoryCallback");
static_assert(PARTYALLOC_ALIGNMENT >= alignof(std::max_align_t),
              "every block can hold every object");

template <typename T>
struct party_allocator {
    using value_type = T;

    party_allocator() = default;
    template <typename U>
    party_allocator(const party_allocator<U> &)
    {
    }

    T *allocate(std::size_t count)
    {
        void *block = partyalloc_allocate(count * sizeof(T), 0);
        if (block == nullptr)
            throw std::bad_alloc();
        return static_cast<T *>(block);
    }

    void deallocate(T *block, std::size_t)
    {
        partyalloc_free(block, 0);
    }

    bool operator==(const party_allocator &) const
    {
        return true;
    }

    bool operator!=(const party_allocator &) const
    {
        return false;
    }
};

int
main()
{
    const int wanted = 100000;
    std::vector<int, party_allocator<int>> numbers;

    std::thread filler([&numbers] {
        for (int i = 0; i < wanted; i++)
            numbers.push_back(i);
    });
    filler.join();
    return numbers.size() == std::size_t(wanted) && numbers.back() == wanted - 1
               ? 0
               : 1;
}

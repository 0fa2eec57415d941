/* fpmp_share_slots.c - what the children share about requests that wait or whose clients are
 * counted.
 *
 * Runs in every thread of every child; the parent frees the slots of those that are gone. A slot is
 * taken by compare-and-swap, the lowest first, so that nobody looks further than it is needed.
 */
#include "fpmp_share_private.h"

static fpmp_slot_row *row_at(const fpmp_share *share, int row)
{
    char *first = (char *)(uintptr_t)share + share->slots_start;
    return (fpmp_slot_row *)(void *)(first + (apr_size_t)row * share->slot_row);
}

static void raise_to(_Atomic(int) *highest, int used)
{
    int before = atomic_load(highest);
    while (before < used && !atomic_compare_exchange_weak(highest, &before, used)) {
    }
}

fpmp_slot *fpmp_share_claim(const fpmp_share *share, int row, uint64_t pool)
{
    fpmp_slot_row *of = row != FPMP_NO_ROW ? row_at(share, row) : NULL;
    for (int i = 0; of && i < share->slots; i++) {
        uint64_t nobody = 0;
        if (!atomic_load_explicit(&of->slots[i].pool, memory_order_relaxed) &&
            atomic_compare_exchange_strong(&of->slots[i].pool, &nobody, pool)) {
            raise_to(&of->used, i + 1);
            return &of->slots[i];
        }
    }
    return NULL;
}

void fpmp_share_unclaim(fpmp_slot *slot)
{
    atomic_store(&slot->ticket, 0);
    atomic_store(&slot->address, 0);
    atomic_store(&slot->pool, 0);
}

void fpmp_share_each_slot(const fpmp_share *share, void (*visit)(fpmp_slot *slot, void *data),
                          void *data)
{
    int rows = atomic_load(&share->used_rows);
    for (int row = 0; row < rows; row++) {
        fpmp_slot_row *of = row_at(share, row);
        int used = atomic_load(&of->used);
        for (int i = 0; i < used; i++) {
            visit(&of->slots[i], data);
        }
    }
}

void fpmp_share_leave_slots(const fpmp_share *share, int row)
{
    fpmp_slot_row *of = row_at(share, row);
    int used = atomic_load(&of->used);
    for (int i = 0; i < used; i++) {
        fpmp_share_unclaim(&of->slots[i]);
    }
}

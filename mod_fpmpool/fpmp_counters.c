/* fpmp_counters.c - what the requests of all children add up to.
 *
 * Runs in every thread of every child. Plain atomics, no locks; must not know requests or httpd.
 */
#include "fpmp_counters.h"

#include <string.h>

static const struct {
    const char *name;
    int is_failure;
} states[FPMP_COUNTERS_STATES] = {
    {"ok", 0},      {"down", 1},  {"full", 1},       {"overload", 1},
    {"timeout", 1}, {"died", 1},  {"lost", 1},       {"invalid", 1},
    {"cut", 1},     {"abort", 0}, {"client", 0},     {"refused", 0},
    {"filter", 1},  {"limit", 1}, {"queue-full", 1}, {"queue-timeout", 1},
    {"perip", 0},   {"other", 1}};

const char *fpmp_counters_state_name(int state)
{
    return state >= 0 && state < FPMP_COUNTERS_STATES ? states[state].name : NULL;
}

int fpmp_counters_is_failure(int state)
{
    return states[state].is_failure;
}

static int find_state(const char *name)
{
    for (int i = 0; name && i < FPMP_COUNTERS_STATES - 1; i++) {
        if (!strcmp(states[i].name, name)) {
            return i;
        }
    }
    return FPMP_COUNTERS_STATES - 1;
}

static void add(_Atomic(uint64_t) *to, uint64_t number)
{
    atomic_fetch_add_explicit(to, number, memory_order_relaxed);
}

int fpmp_counters_add(fpmp_counters *counters, const char *state, uint64_t bytes,
                      uint64_t microseconds)
{
    int number = find_state(state);
    add(&counters->states[number], 1);
    add(&counters->bytes, bytes);
    add(&counters->microseconds, microseconds);
    return number;
}

static uint64_t get(const _Atomic(uint64_t) *from)
{
    return atomic_load_explicit(from, memory_order_relaxed);
}

void fpmp_counters_read(const fpmp_counters *counters, fpmp_count *count)
{
    count->requests = 0;
    for (int i = 0; i < FPMP_COUNTERS_STATES; i++) {
        count->states[i] = get(&counters->states[i]);
        count->requests += count->states[i];
    }
    count->bytes = get(&counters->bytes);
    count->microseconds = get(&counters->microseconds);
}

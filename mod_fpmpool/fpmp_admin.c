/* fpmp_admin.c - what an operator has said of a server while httpd runs.
 *
 * Runs in httpd children: read for each request, changed by fpmp_manager.c. Pure but for the
 * compare-and-swap at the end; must not log or know requests.
 */
#include "fpmp_admin.h"
#include "fpmp_pool.h"

#include <stdlib.h>
#include <string.h>

#define MODE_MASK    3U
#define WEIGHT_SHIFT 8
#define WEIGHT_MASK  (0xffU << WEIGHT_SHIFT)

static const char *const names[] = {"ready", "drain", "down"};
#define NAMES (sizeof(names) / sizeof(names[0]))

fpmp_admin_mode fpmp_admin_mode_of(fpmp_admin word)
{
    unsigned mode = word & MODE_MASK;
    return mode < NAMES ? (fpmp_admin_mode)mode : FPMP_ADMIN_READY;
}

const char *fpmp_admin_mode_name(fpmp_admin_mode mode)
{
    return names[mode];
}

int fpmp_admin_has_weight(fpmp_admin word)
{
    return (word & WEIGHT_MASK) != 0;
}

int fpmp_admin_weight(fpmp_admin word, int configured)
{
    int weight = (int)((word & WEIGHT_MASK) >> WEIGHT_SHIFT);
    return weight ? weight : configured;
}

static const char *parse_weight(fpmp_order *order, const char *text)
{
    size_t length = text ? strlen(text) : 0;
    int weight =
        length > 0 && length <= 3 && strspn(text, "0123456789") == length ? atoi(text) : -1;
    if (weight < 0 || weight > FPMP_WEIGHT_MAX) {
        return "weight is a number from 1 to 100, or 0 for the configured one";
    }
    *order = (fpmp_order){.is_weight = 1, .weight = weight};
    return NULL;
}

const char *fpmp_admin_parse(fpmp_order *order, const char *action, const char *weight)
{
    if (action && !strcmp(action, "weight")) {
        return parse_weight(order, weight);
    }
    for (size_t i = 0; action && i < NAMES; i++) {
        if (!strcmp(action, names[i])) {
            *order = (fpmp_order){.mode = (fpmp_admin_mode)i};
            return NULL;
        }
    }
    return "action is one of ready, drain, down and weight";
}

fpmp_admin fpmp_admin_next(fpmp_admin before, const fpmp_order *order)
{
    return order->is_weight ? (before & ~WEIGHT_MASK) | (unsigned)order->weight << WEIGHT_SHIFT
                            : (before & ~MODE_MASK) | (unsigned)order->mode;
}

fpmp_admin fpmp_admin_apply(_Atomic(uint32_t) *word, const fpmp_order *order)
{
    fpmp_admin before = atomic_load(word);
    while (!atomic_compare_exchange_weak(word, &before, fpmp_admin_next(before, order))) {
    }
    return before;
}

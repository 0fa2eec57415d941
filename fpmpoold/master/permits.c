/* permits.c - books grants and returns of process.max, and chooses who is next.
 *
 * Pure; runs in the master. It must not send, log, or read a clock. The sum of what is held never
 * grows above the limit, whatever pool processes say.
 */
#include "master/permits.h"

#include <stddef.h>

static uint32_t smaller(uint32_t left, uint32_t right)
{
    return left < right ? left : right;
}

static uint32_t count_free(const fpd_permits *permits)
{
    uint64_t used = (uint64_t)permits->granted + permits->orphaned;

    if (permits->limit == 0) {
        return UINT32_MAX - permits->granted;
    }
    return used < permits->limit ? permits->limit - (uint32_t)used : 0;
}

void fpd_permits_join(fpd_permits *permits, fpd_permit_holder *holder, uint32_t most)
{
    holder->most = most > 0 ? most : 1;
    holder->next = permits->first;
    holder->link = &permits->first;
    if (holder->next != NULL) {
        holder->next->link = &holder->next;
    }
    permits->first = holder;
    permits->granted += holder->held;
}

void fpd_permits_leave(fpd_permits *permits, fpd_permit_holder *holder)
{
    if (holder->link == NULL) {
        return;
    }
    *holder->link = holder->next;
    if (holder->next != NULL) {
        holder->next->link = holder->link;
    }
    holder->link = NULL;
    permits->granted -= holder->held;
    holder->held = 0;
}

void fpd_permits_want(fpd_permit_holder *holder, uint32_t count, int is_urgent)
{
    uint32_t room = holder->held < holder->most ? holder->most - holder->held : 0;

    holder->wanted = smaller(count, room);
    holder->is_urgent = is_urgent != 0;
}

void fpd_permits_give_back(fpd_permits *permits, fpd_permit_holder *holder, uint32_t count)
{
    count = smaller(count, holder->held);
    holder->held -= count;
    permits->granted -= count;
    holder->owed -= smaller(count, holder->owed);
}

/* 0: first in line */
static int rank(const fpd_permit_holder *holder)
{
    return (holder->held > 0 ? 2 : 0) + (holder->is_urgent ? 0 : 1);
}

static int is_before(const fpd_permit_holder *left, const fpd_permit_holder *right)
{
    return rank(left) != rank(right) ? rank(left) < rank(right) : left->turn < right->turn;
}

fpd_permit_holder *fpd_permits_grant(fpd_permits *permits, uint32_t *count, int64_t now)
{
    uint32_t spare = count_free(permits);
    fpd_permit_holder *chosen = NULL;
    int wanting = 0;

    if (spare == 0) {
        return NULL;
    }
    for (fpd_permit_holder *holder = permits->first; holder != NULL; holder = holder->next) {
        if (holder->wanted > 0) {
            wanting++;
            chosen = chosen == NULL || is_before(holder, chosen) ? holder : chosen;
        }
    }
    if (chosen == NULL) {
        return NULL;
    }
    *count = wanting == 1 || permits->limit == 0 ? smaller(spare, chosen->wanted) : 1;
    chosen->held += *count;
    chosen->wanted -= *count;
    chosen->turn = ++permits->turns;
    chosen->granted_at = now;
    permits->granted += *count;
    return chosen;
}

static int is_starving(const fpd_permit_holder *holder)
{
    return holder->held == 0 && holder->wanted > 0 && holder->is_urgent;
}

int fpd_permits_is_starving(const fpd_permits *permits)
{
    for (const fpd_permit_holder *holder = permits->first; holder != NULL; holder = holder->next) {
        if (is_starving(holder)) {
            return 1;
        }
    }
    return 0;
}

/* What it could still give. Its last one only when it has had it for a while: with more pools than
 * permits they take turns. */
static uint32_t can_give(const fpd_permit_holder *holder, int64_t now)
{
    uint32_t left = holder->held > holder->owed ? holder->held - holder->owed : 0;

    return left == 1 && now - holder->granted_at < FPD_PERMITS_PATIENCE ? 0 : left;
}

fpd_permit_holder *fpd_permits_reclaim(fpd_permits *permits, int64_t now)
{
    int is_late = now - permits->asked_at >= FPD_PERMITS_PATIENCE;
    fpd_permit_holder *chosen = NULL;
    uint64_t starving = 0;
    uint64_t owed = 0;

    for (fpd_permit_holder *holder = permits->first; holder != NULL; holder = holder->next) {
        starving += is_starving(holder);
        owed += holder->owed;
        if (can_give(holder, now) == 0) {
            continue;
        }
        if (chosen == NULL || (is_late && holder->owed < chosen->owed) ||
            ((!is_late || holder->owed == chosen->owed) &&
             can_give(holder, now) > can_give(chosen, now))) {
            chosen = holder;
        }
    }
    if (starving == 0 || (owed >= starving && !is_late) || chosen == NULL) {
        return NULL;
    }
    chosen->owed++;
    permits->asked_at = now;
    return chosen;
}

int fpd_permits_should_warn(fpd_permits *permits)
{
    const fpd_permit_holder *holder = permits->first;
    int was_reported = permits->is_reported;

    while (holder != NULL && holder->wanted == 0) {
        holder = holder->next;
    }
    permits->is_reported = holder != NULL && count_free(permits) == 0;
    return permits->is_reported && !was_reported;
}

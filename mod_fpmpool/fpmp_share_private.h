/* fpmp_share_private.h - how the shared memory is laid out: for fpmp_share.c, which makes it, and
 * fpmp_share_names.c and fpmp_share_slots.c, which keep names that are found at run time, and what
 * requests have that wait.
 */
#ifndef FPMP_SHARE_PRIVATE_H
#define FPMP_SHARE_PRIVATE_H

#include "fpmp_share.h"

#include <apr_shm.h>

#define FPMP_SHARE_TEXT 72 /* bytes of a name */

/* Records of one kind. */
typedef struct fpmp_share_table {
    apr_size_t start;   /* bytes behind fpmp_share */
    apr_size_t fixed;   /* bytes of a record before its cells */
    apr_size_t size;    /* with them, and with its tail */
    apr_size_t tail;    /* bytes behind the cells */
    apr_size_t columns; /* cells for each row */
    int count;
} fpmp_share_table;

/* Entry i has keys[i], used[i], text[i], and a record in each of both tables. */
typedef struct fpmp_share_names {
    int count;
    fpmp_share_table pools; /* a fourth column of cells: children that hold the entry */
    fpmp_share_table servers;
    apr_size_t keys;      /* _Atomic(uint64_t): 0: free; CLAIMED and a pid; or the name's key */
    apr_size_t used;      /* _Atomic(uint64_t), ms: when it was wanted last */
    apr_size_t text;      /* char[FPMP_SHARE_TEXT] */
    _Atomic(int) reached; /* highest entry that was ever used, plus 1 */
} fpmp_share_names;

/* The slots of a child; what stands before them has a cache line of its own. */
typedef struct fpmp_slot_row {
    _Atomic(int) used; /* highest slot that was ever used, plus 1 */
    fpmp_slot slots[] __attribute__((aligned(FPMP_SHARE_LINE)));
} fpmp_slot_row;

struct fpmp_share {
    apr_shm_t *memory; /* of the parent; children only look at what is mapped */
    int rows;
    _Atomic(uint32_t) generation;
    fpmp_share_table pools;
    fpmp_share_table servers;
    fpmp_share_names names;
    apr_size_t slots_start; /* bytes behind fpmp_share */
    apr_size_t slot_row;    /* bytes of each fpmp_slot_row */
    int slots;              /* in it */
    unsigned char secret[16];
    fpmp_complaint complaints[FPMP_SHARE_COMPLAINTS];
    _Atomic(int) used_rows;   /* highest row that was ever used, plus 1 */
    _Atomic(uint64_t) lease;  /* pid in the upper 24 bits, end in ms in the lower 40 */
    _Atomic(int32_t) owner[]; /* pid of the child that has the row; 0: nobody */
};

static inline fpmp_share_head *fpmp_share_record_at(const fpmp_share *share,
                                                    const fpmp_share_table *in, int index)
{
    char *first = (char *)(uintptr_t)share + in->start;
    return (fpmp_share_head *)(void *)(first + (apr_size_t)index * in->size);
}

static inline fpmp_cell *fpmp_share_cells(const fpmp_share_table *in, fpmp_share_head *record)
{
    return (fpmp_cell *)(void *)((char *)record + in->fixed);
}

/* The first `count` records of a table forget what a row has under way. */
void fpmp_share_clear_row(const fpmp_share *share, const fpmp_share_table *in, int count, int row);

/* The child of that row is gone: what it held, and what it was about to take. */
void fpmp_share_leave_names(fpmp_share *share, pid_t child, int row);

/* The child of that row is gone: its slots are free. */
void fpmp_share_leave_slots(const fpmp_share *share, int row);

/* In the parent: what the old memory knew of names. */
void fpmp_share_copy_names(fpmp_share *to, const fpmp_share *from);

#endif

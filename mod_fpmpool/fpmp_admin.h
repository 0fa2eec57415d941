/* fpmp_admin.h - what an operator has said of a server while httpd runs: one word for each (pool,
 * server) in shared memory (specification: apache.md 2.2, runtime changes).
 *
 * The word is replaced as a whole. It stays over graceful restarts, as long as pool and server keep
 * their names, and is forgotten when httpd stops. Needs APR only.
 */
#ifndef FPMP_ADMIN_H
#define FPMP_ADMIN_H

#include <stdatomic.h>
#include <stdint.h>

/* 0: nothing was said, the configuration counts. */
typedef uint32_t fpmp_admin;

typedef enum fpmp_admin_mode {
    FPMP_ADMIN_READY,
    FPMP_ADMIN_DRAIN, /* finishes what it has, gets nothing new */
    FPMP_ADMIN_DOWN   /* likewise, and is not checked */
} fpmp_admin_mode;

typedef struct fpmp_order {
    int is_weight; /* the weight changes, else the mode */
    fpmp_admin_mode mode;
    int weight; /* 1..FPMP_WEIGHT_MAX; 0: the configured one again */
} fpmp_order;

fpmp_admin_mode fpmp_admin_mode_of(fpmp_admin word);
/* "ready", "drain", "down" */
const char *fpmp_admin_mode_name(fpmp_admin_mode mode);

/* The weight in force where the configuration says `configured`. */
int fpmp_admin_weight(fpmp_admin word, int configured);
int fpmp_admin_has_weight(fpmp_admin word);

/* action: "ready", "drain", "down", or "weight" with a number in `weight` (NULL: none was given).
 * NULL, or what is wrong with it: a sentence for who asked. */
const char *fpmp_admin_parse(fpmp_order *order, const char *action, const char *weight);

/* Pure: what becomes of a word. */
fpmp_admin fpmp_admin_next(fpmp_admin before, const fpmp_order *order);

/* The same on a shared word; returns what it was before. */
fpmp_admin fpmp_admin_apply(_Atomic(uint32_t) *word, const fpmp_order *order);

#endif

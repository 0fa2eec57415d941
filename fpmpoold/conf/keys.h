/* keys.h - the one table of configuration keys: names, types, places, defaults, checks.
 *
 * The parser sets values through it, the dump prints through it, and the tables in
 * fpmpoold/README.md are compared with it by a guard test.
 */
#ifndef FPD_KEYS_H
#define FPD_KEYS_H

#include <stddef.h>

#include "apr_pools.h"

typedef enum fpd_key_scope { FPD_KEY_GLOBAL, FPD_KEY_POOL } fpd_key_scope;

typedef enum fpd_key_type {
    FPD_KEY_NUMBER,   /* int32 */
    FPD_KEY_PRIORITY, /* int32, dumped as "undefined" when unset */
    FPD_KEY_TIME,     /* int32 seconds; suffix s m h d */
    FPD_KEY_BOOLEAN,  /* int32 0 or 1 */
    FPD_KEY_TEXT,     /* const char * */
    FPD_KEY_PATH,     /* const char *, relative ones get the prefix */
    FPD_KEY_LEVEL,    /* int32 fpd_log_level */
    FPD_KEY_FACILITY, /* int32, syslog's number */
    FPD_KEY_CORE,     /* int32, "unlimited" is -1 */
    FPD_KEY_PM,       /* int32 fpd_pm */
    FPD_KEY_MODE,     /* int32, octal text */
    FPD_KEY_BYTES,    /* int32 KiB; bytes, or with suffix K M G */
    FPD_KEY_SCALE     /* int32 time that is dumped without "s" (pm.process_idle_timeout) */
} fpd_key_type;

typedef struct fpd_key {
    const char *name;
    fpd_key_scope scope;
    fpd_key_type type;
    size_t offset;      /* in fpd_conf_global or fpd_plan_pool */
    const char *preset; /* documented default */
    int is_ours;        /* not php-fpm's: left out of -tt */
    int is_in_effect;   /* 0: parsed and checked, but nothing follows from it yet (NOTICE) */
} fpd_key;

extern const fpd_key fpd_keys[];
extern const size_t fpd_keys_count;

/* By name, any case; NULL if there is none in that scope. */
const fpd_key *fpd_keys_find(fpd_key_scope scope, const char *name);

/* Converts text and stores it in structure. Returns NULL or php-fpm's reason text. */
const char *fpd_keys_store(const fpd_key *key, void *structure, const char *text);

/* The value as -tt prints it; from pool. */
const char *fpd_keys_print(const fpd_key *key, const void *structure, apr_pool_t *pool);

#endif

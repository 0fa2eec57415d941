/* record.h - keyed fields in a block of bytes: what one version writes, another one reads.
 *
 * A record is a row of entries: a name (uint8 length, bytes) and a value (uint32 length, bytes; the
 * length FPD_BYTES_NULL stands for NULL). A value may be a record again, and a name may come
 * several times. A reader takes by name what it knows, in any order: a name that it does not know
 * is passed over, and what is missing keeps the value that the reader gave it before. So fields may
 * be added; a name never changes its meaning or its type.
 *
 * A whole block is an envelope around one record: 8 bytes that say what it is, its length, the
 * record, a checksum. It travels in a sealed memfd. Byte order is this machine's.
 */
#ifndef FPD_RECORD_H
#define FPD_RECORD_H

#include <stddef.h>
#include <stdint.h>

#include "apr_errno.h"
#include "apr_pools.h"
#include "base/bytes.h"

/* ---- writing ---- */

/* Memory from pool, which grows by doubling: a scratch pool. Plain data. */
typedef struct fpd_record_writer {
    apr_pool_t *pool;
    char *data;
    size_t used;
    size_t capacity;
} fpd_record_writer;

/* An empty writer; with `magic` (8 characters) for a whole block, with NULL for bytes alone. */
void fpd_record_begin(fpd_record_writer *out, const char *magic, apr_pool_t *pool);
/* The value of a name is what is put between open and close; `mark` is what open returned. */
size_t fpd_record_open(fpd_record_writer *out, const char *name);
void fpd_record_close(fpd_record_writer *out, size_t mark);
/* Raw bytes of a value, and a text as bytes.h takes it. */
void fpd_record_add(fpd_record_writer *out, const void *bytes, size_t length);
void fpd_record_add_text(fpd_record_writer *out, const char *text);
/* Whole entries. text may be NULL. */
void fpd_record_put(fpd_record_writer *out, const char *name, const void *bytes, size_t length);
void fpd_record_put_number(fpd_record_writer *out, const char *name, int64_t number);
void fpd_record_put_text(fpd_record_writer *out, const char *name, const char *text);
/* Ends a whole block: its length and checksum. */
void fpd_record_end(fpd_record_writer *out);

/* ---- reading ---- */

typedef struct fpd_record_entry {
    const char *name; /* not ended by NUL */
    size_t name_length;
    fpd_bytes value; /* of the record's pool */
    int is_null;
} fpd_record_entry;

/* Opens a whole block: `in` is the record afterwards. 0: another kind, cut, longer, or damaged. */
int fpd_record_check(fpd_bytes *in, const char *magic);
/* The next entry; 0 at the end, or when the record is broken (in->is_broken). */
int fpd_record_next(fpd_bytes *in, fpd_record_entry *entry);
int fpd_record_is(const fpd_record_entry *entry, const char *name);
/* The value of an entry, whole: 0 or NULL, and value.is_broken, when it is none. A text is a copy;
 * its NULL is no error. */
int64_t fpd_record_take_number(fpd_record_entry *entry);
const char *fpd_record_take_text(fpd_record_entry *entry);

/* ---- structs by table ---- */

typedef struct fpd_record_bytes {
    const char *data;
    size_t length;
} fpd_record_bytes;

typedef enum fpd_record_type {
    FPD_RECORD_NUMBER,     /* int32_t, int or a 32-bit enum */
    FPD_RECORD_DESCRIPTOR, /* the same: an int that names a descriptor, or -1 */
    FPD_RECORD_LONG,       /* int64_t */
    FPD_RECORD_TEXT,       /* const char *, may be NULL */
    FPD_RECORD_BYTES       /* fpd_record_bytes */
} fpd_record_type;

typedef struct fpd_record_field {
    const char *name;
    fpd_record_type type;
    size_t offset;
    int64_t least, most; /* of a number */
} fpd_record_field;

void fpd_record_put_fields(fpd_record_writer *out, const fpd_record_field *fields, size_t count,
                           const void *from);
/* If the entry is one of the fields: its value goes into the struct, texts and bytes as copies, and
 * the answer is 1. A number out of its range breaks entry->value. */
int fpd_record_take_field(fpd_record_entry *entry, const fpd_record_field *fields, size_t count,
                          void *into);

/* ---- memfds ---- */

/* A new memfd: close-on-exec, sealed (WRITE too), rewound, the caller's. */
apr_status_t fpd_record_to_memfd(const fpd_record_writer *out, const char *label, int *fd);
/* The same into one that is there and empty, made with MFD_ALLOW_SEALING. */
apr_status_t fpd_record_fill_memfd(const fpd_record_writer *out, int fd);
/* Maps a sealed memfd of at most `limit` bytes, as long as pool lives, and checks it. fd stays the
 * caller's. APR_EGENERAL: it is not sealed, or fpd_record_check says no. */
apr_status_t fpd_record_from_memfd(fpd_bytes *in, int fd, const char *magic, size_t limit,
                                   apr_pool_t *pool);

#endif

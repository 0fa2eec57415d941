/* record.c - writes and reads keyed fields. Runs in every process of the daemon.
 *
 * Whoever reads may be of another version than who wrote: every length is checked before it is
 * used.
 */
#include "base/record.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "apr_strings.h"

#define MAGIC_SIZE   8
#define SEALS        (F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE)
#define CAPACITY_MIN 512

/* ---- writing ------------------------------------------------------------------------------ */

void fpd_record_add(fpd_record_writer *out, const void *bytes, size_t length)
{
    if (out->used + length > out->capacity) {
        size_t capacity = out->capacity > 0 ? out->capacity * 2 : CAPACITY_MIN;
        char *grown;
        while (capacity < out->used + length) {
            capacity *= 2;
        }
        grown = apr_palloc(out->pool, capacity);
        if (out->used > 0) {
            memcpy(grown, out->data, out->used);
        }
        out->data = grown;
        out->capacity = capacity;
    }
    if (length > 0) {
        memcpy(out->data + out->used, bytes, length);
    }
    out->used += length;
}

static void add_number(fpd_record_writer *out, uint32_t number)
{
    fpd_record_add(out, &number, sizeof(number));
}

void fpd_record_add_text(fpd_record_writer *out, const char *text)
{
    if (text == NULL) {
        add_number(out, FPD_BYTES_NULL);
        return;
    }
    add_number(out, (uint32_t)strlen(text));
    fpd_record_add(out, text, strlen(text));
}

/* Of all bytes before it: what was damaged on the way is refused whole. */
static uint64_t checksum(const char *bytes, size_t length)
{
    uint64_t sum = UINT64_C(14695981039346656037);

    for (size_t i = 0; i < length; i++) {
        sum = (sum ^ (uint8_t)bytes[i]) * UINT64_C(1099511628211);
    }
    return sum;
}

void fpd_record_begin(fpd_record_writer *out, const char *magic, apr_pool_t *pool)
{
    uint64_t length = 0;

    memset(out, 0, sizeof(*out));
    out->pool = pool;
    if (magic != NULL) {
        fpd_record_add(out, magic, MAGIC_SIZE);
        fpd_record_add(out, &length, sizeof(length)); /* known at the end */
    }
}

void fpd_record_end(fpd_record_writer *out)
{
    uint64_t length = out->used + sizeof(uint64_t);
    uint64_t sum;

    memcpy(out->data + MAGIC_SIZE, &length, sizeof(length));
    sum = checksum(out->data, out->used);
    fpd_record_add(out, &sum, sizeof(sum));
}

static void add_name(fpd_record_writer *out, const char *name)
{
    uint8_t length = (uint8_t)strlen(name);

    fpd_record_add(out, &length, sizeof(length));
    fpd_record_add(out, name, length);
}

size_t fpd_record_open(fpd_record_writer *out, const char *name)
{
    add_name(out, name);
    add_number(out, 0); /* known at the end */
    return out->used;
}

void fpd_record_close(fpd_record_writer *out, size_t mark)
{
    uint32_t length = (uint32_t)(out->used - mark);

    memcpy(out->data + mark - sizeof(length), &length, sizeof(length));
}

void fpd_record_put(fpd_record_writer *out, const char *name, const void *bytes, size_t length)
{
    add_name(out, name);
    add_number(out, (uint32_t)length);
    fpd_record_add(out, bytes, length);
}

void fpd_record_put_number(fpd_record_writer *out, const char *name, int64_t number)
{
    fpd_record_put(out, name, &number, sizeof(number));
}

void fpd_record_put_text(fpd_record_writer *out, const char *name, const char *text)
{
    add_name(out, name);
    fpd_record_add_text(out, text);
}

/* ---- reading ------------------------------------------------------------------------------ */

int fpd_record_check(fpd_bytes *in, const char *magic)
{
    uint64_t length;
    uint64_t sum;
    size_t whole = in->left;

    if (in->is_broken || whole < MAGIC_SIZE + sizeof(length) + sizeof(sum) ||
        memcmp(in->data, magic, MAGIC_SIZE) != 0) {
        return 0;
    }
    memcpy(&length, in->data + MAGIC_SIZE, sizeof(length));
    memcpy(&sum, in->data + whole - sizeof(sum), sizeof(sum));
    if (length != whole || sum != checksum(in->data, whole - sizeof(sum))) {
        return 0;
    }
    in->data += MAGIC_SIZE + sizeof(length);
    in->left = whole - MAGIC_SIZE - sizeof(length) - sizeof(sum);
    return 1;
}

int fpd_record_next(fpd_bytes *in, fpd_record_entry *entry)
{
    const char *length_byte;
    uint32_t length;

    if (in->is_broken || in->left == 0) {
        return 0;
    }
    memset(entry, 0, sizeof(*entry));
    length_byte = fpd_bytes_take(in, 1);
    entry->name_length = (uint8_t)*length_byte;
    entry->name = fpd_bytes_take(in, entry->name_length);
    length = fpd_bytes_take_number(in);
    entry->is_null = length == FPD_BYTES_NULL;
    entry->value.pool = in->pool;
    entry->value.left = entry->is_null ? 0 : length;
    entry->value.data = fpd_bytes_take(in, entry->value.left);
    return !in->is_broken;
}

int fpd_record_is(const fpd_record_entry *entry, const char *name)
{
    return strlen(name) == entry->name_length && memcmp(name, entry->name, entry->name_length) == 0;
}

int64_t fpd_record_take_number(fpd_record_entry *entry)
{
    const char *bytes = fpd_bytes_take(&entry->value, sizeof(int64_t));
    int64_t number = 0;

    if (bytes == NULL || entry->value.left != 0) {
        entry->value.is_broken = 1;
        return 0;
    }
    memcpy(&number, bytes, sizeof(number));
    return number;
}

const char *fpd_record_take_text(fpd_record_entry *entry)
{
    size_t length = entry->value.left;
    const char *bytes = fpd_bytes_take(&entry->value, length);

    if (entry->is_null || bytes == NULL) {
        return NULL;
    }
    if (memchr(bytes, '\0', length) != NULL) {
        entry->value.is_broken = 1;
        return NULL;
    }
    return apr_pstrmemdup(entry->value.pool, bytes, length);
}

/* ---- structs by table --------------------------------------------------------------------- */

void fpd_record_put_fields(fpd_record_writer *out, const fpd_record_field *fields, size_t count,
                           const void *from)
{
    for (size_t i = 0; i < count; i++) {
        const void *member = (const char *)from + fields[i].offset;
        const fpd_record_bytes *bytes;
        switch (fields[i].type) {
        case FPD_RECORD_NUMBER:
        case FPD_RECORD_DESCRIPTOR:
            fpd_record_put_number(out, fields[i].name, *(const int32_t *)member);
            break;
        case FPD_RECORD_LONG:
            fpd_record_put_number(out, fields[i].name, *(const int64_t *)member);
            break;
        case FPD_RECORD_TEXT:
            fpd_record_put_text(out, fields[i].name, *(const char *const *)member);
            break;
        case FPD_RECORD_BYTES:
            bytes = member;
            fpd_record_put(out, fields[i].name, bytes->data, bytes->length);
            break;
        }
    }
}

static void take_value(fpd_record_entry *entry, const fpd_record_field *field, void *member)
{
    fpd_record_bytes *bytes;
    int64_t number;

    switch (field->type) {
    case FPD_RECORD_NUMBER:
    case FPD_RECORD_DESCRIPTOR:
    case FPD_RECORD_LONG:
        number = fpd_record_take_number(entry);
        if (number < field->least || number > field->most) {
            entry->value.is_broken = 1;
        } else if (field->type == FPD_RECORD_LONG) {
            *(int64_t *)member = number;
        } else {
            *(int32_t *)member = (int32_t)number;
        }
        break;
    case FPD_RECORD_TEXT:
        *(const char **)member = fpd_record_take_text(entry);
        break;
    case FPD_RECORD_BYTES:
        bytes = member;
        bytes->length = entry->value.left;
        bytes->data = apr_pmemdup(entry->value.pool, entry->value.data, entry->value.left);
        break;
    }
}

int fpd_record_take_field(fpd_record_entry *entry, const fpd_record_field *fields, size_t count,
                          void *into)
{
    for (size_t i = 0; i < count; i++) {
        if (fpd_record_is(entry, fields[i].name)) {
            take_value(entry, &fields[i], (char *)into + fields[i].offset);
            return 1;
        }
    }
    return 0;
}

/* ---- memfds ------------------------------------------------------------------------------- */

apr_status_t fpd_record_fill_memfd(const fpd_record_writer *out, int fd)
{
    size_t done = 0;

    while (done < out->used) {
        ssize_t written = write(fd, out->data + done, out->used - done);
        if (written < 0 && errno != EINTR) {
            return errno;
        }
        done += written > 0 ? (size_t)written : 0;
    }
    if (lseek(fd, 0, SEEK_SET) != 0 || fcntl(fd, F_ADD_SEALS, SEALS | F_SEAL_SEAL) != 0) {
        return errno;
    }
    return APR_SUCCESS;
}

apr_status_t fpd_record_to_memfd(const fpd_record_writer *out, const char *label, int *made)
{
    int fd = memfd_create(label, MFD_CLOEXEC | MFD_ALLOW_SEALING);
    apr_status_t status;

    if (fd < 0) {
        return errno;
    }
    status = fpd_record_fill_memfd(out, fd);
    if (status != APR_SUCCESS) {
        close(fd);
        return status;
    }
    *made = fd;
    return APR_SUCCESS;
}

static apr_status_t unmap(void *data)
{
    fpd_bytes *mapped = data;

    (void)munmap((void *)(size_t)mapped->data, mapped->left);
    return APR_SUCCESS;
}

apr_status_t fpd_record_from_memfd(fpd_bytes *in, int fd, const char *magic, size_t limit,
                                   apr_pool_t *pool)
{
    fpd_bytes *mapped;
    struct stat about;
    void *data;
    int seals = fcntl(fd, F_GET_SEALS);

    if (fstat(fd, &about) != 0) {
        return errno;
    }
    /* whoever could still change it could take it away under our hands */
    if (seals < 0 || (seals & SEALS) != SEALS || about.st_size <= 0 ||
        (size_t)about.st_size > limit) {
        return APR_EGENERAL;
    }
    data = mmap(NULL, (size_t)about.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    if (data == MAP_FAILED) {
        return errno;
    }
    mapped = apr_pcalloc(pool, sizeof(*mapped));
    mapped->data = data;
    mapped->left = (size_t)about.st_size;
    mapped->pool = pool;
    apr_pool_cleanup_register(pool, mapped, unmap, apr_pool_cleanup_null);
    *in = *mapped;
    return fpd_record_check(in, magic) ? APR_SUCCESS : APR_EGENERAL;
}

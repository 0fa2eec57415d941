/* plan_format.c - one table of fields turns a plan into bytes and back.
 *
 * The master encodes, an interpreter host decodes; a reload's child encodes, the master decodes.
 * Byte order and layout are this build's own: both ends are of one build, and the envelope's
 * checksum of the table refuses any other. A decoder checks every length before it uses it.
 */
#include "base/plan_format.h"

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "apr_strings.h"
#include "base/bytes.h"

#define PLAN_MAGIC      "fpmplan2"
#define PLAN_MAGIC_SIZE 8
#define PLAN_BYTES_MAX  (16 * 1024 * 1024)
#define PLAN_LIST_MAX   65536

typedef enum field_type { FIELD_NUMBER, FIELD_STRING, FIELD_PAIRS, FIELD_STRINGS } field_type;

typedef struct field {
    const char *name;
    field_type type;
    size_t offset;
    int is_label;        /* a change of it alone needs no new generation */
    int32_t least, most; /* of a number */
} field;

#define FIELD_AT(member, kind, label, least, most)                                                 \
    {                                                                                              \
#member, kind, offsetof(fpd_plan_pool, member), label, least, most                         \
    }
#define LABEL(member, kind) FIELD_AT(member, kind, 1, INT32_MIN, INT32_MAX)
#define NUMBER(member)      FIELD_AT(member, FIELD_NUMBER, 0, INT32_MIN, INT32_MAX)
#define AMOUNT(member)      FIELD_AT(member, FIELD_NUMBER, 0, 0, INT32_MAX)
#define BOOLEAN(member)     FIELD_AT(member, FIELD_NUMBER, 0, 0, 1)
#define RANGE(member, a, b) FIELD_AT(member, FIELD_NUMBER, 0, a, b)
#define STRING(member)      FIELD_AT(member, FIELD_STRING, 0, INT32_MIN, INT32_MAX)
#define PAIRS(member)       FIELD_AT(member, FIELD_PAIRS, 0, INT32_MIN, INT32_MAX)
#define STRINGS(member)     FIELD_AT(member, FIELD_STRINGS, 0, INT32_MIN, INT32_MAX)

static const field fields[] = {
    LABEL(name, FIELD_STRING),
    LABEL(config_file, FIELD_STRING),
    LABEL(config_line, FIELD_NUMBER),
    LABEL(master_pid, FIELD_NUMBER),
    BOOLEAN(is_root_allowed),
    STRING(prefix),
    STRING(user),
    STRING(group),
    RANGE(uid, -1, INT32_MAX),
    RANGE(gid, -1, INT32_MAX),
    STRING(user_name),
    STRING(user_home),
    STRING(listen),
    NUMBER(listen_backlog),
    STRING(listen_owner),
    STRING(listen_group),
    STRING(listen_acl_users),
    STRING(listen_acl_groups),
    NUMBER(listen_mode),
    STRING(listen_allowed_clients),
    NUMBER(process_priority),
    BOOLEAN(process_dumpable),
    RANGE(pm, 0, FPD_PM_ONDEMAND),
    RANGE(max_children, 0, FPD_PLAN_CHILDREN_MAX),
    NUMBER(start_servers),
    NUMBER(min_spare_servers),
    NUMBER(max_spare_servers),
    NUMBER(max_spawn_rate),
    NUMBER(process_idle_timeout),
    NUMBER(max_requests),
    STRING(status_path),
    STRING(status_listen),
    STRING(ping_path),
    STRING(ping_response),
    STRING(access_log),
    STRING(access_format),
    STRING(slowlog),
    NUMBER(request_slowlog_timeout),
    NUMBER(request_slowlog_trace_depth),
    NUMBER(request_terminate_timeout),
    BOOLEAN(request_terminate_track_finished),
    NUMBER(rlimit_files),
    NUMBER(rlimit_core),
    STRING(chroot),
    STRING(chdir),
    BOOLEAN(catch_workers_output),
    BOOLEAN(decorate_workers_output),
    BOOLEAN(clear_env),
    STRING(limit_extensions),
    STRING(apparmor_hat),
    STRING(php),
    AMOUNT(queue_max),
    AMOUNT(queue_timeout),
    AMOUNT(pool_idle_timeout),
    AMOUNT(request_head_timeout),
    STRING(failure),
    STRING(php_ini_path),
    BOOLEAN(php_ini_ignore),
    RANGE(log_level, 0, 5),
    NUMBER(process_control_timeout),
    NUMBER(log_limit),
    PAIRS(env),
    PAIRS(php_values),
    STRINGS(defines),
    STRINGS(suppress_paths),
};

#define FIELD_COUNT (sizeof(fields) / sizeof(fields[0]))

fpd_plan_pool *fpd_plan_pool_create(apr_pool_t *pool)
{
    fpd_plan_pool *plan = apr_pcalloc(pool, sizeof(*plan));

    plan->uid = -1;
    plan->gid = -1;
    plan->listen_backlog = -1;
    plan->listen_mode = FPD_PLAN_UNSET;
    plan->process_priority = FPD_PLAN_UNSET;
    plan->max_spawn_rate = 32;
    plan->process_idle_timeout = 10;
    plan->request_slowlog_trace_depth = 20;
    plan->decorate_workers_output = 1;
    plan->clear_env = 1;
    plan->limit_extensions = ".php .phar";
    plan->pool_idle_timeout = 600;
    plan->request_head_timeout = 60;
    plan->process_control_timeout = 30;
    plan->log_limit = 1024;
    plan->env = apr_array_make(pool, 4, sizeof(fpd_plan_pair));
    plan->php_values = apr_array_make(pool, 4, sizeof(fpd_plan_pair));
    plan->defines = apr_array_make(pool, 4, sizeof(const char *));
    plan->suppress_paths = apr_array_make(pool, 4, sizeof(const char *));
    return plan;
}

/* ---- encoding ----------------------------------------------------------------------------- */

/* Runs twice over the plan: with data NULL to measure, then to write. */
typedef struct writer {
    char *data;
    size_t used;
} writer;

static void put(writer *out, const void *bytes, size_t length)
{
    if (out->data != NULL && length > 0) {
        memcpy(out->data + out->used, bytes, length);
    }
    out->used += length;
}

static void put_number(writer *out, int32_t number)
{
    put(out, &number, sizeof(number));
}

/* As bytes.h reads it. */
static void put_string(writer *out, const char *text)
{
    if (text == NULL) {
        put_number(out, (int32_t)FPD_BYTES_NULL);
        return;
    }
    put_number(out, (int32_t)strlen(text));
    put(out, text, strlen(text));
}

static void put_pairs(writer *out, const apr_array_header_t *pairs)
{
    put_number(out, pairs->nelts);
    for (int i = 0; i < pairs->nelts; i++) {
        const fpd_plan_pair *pair = &APR_ARRAY_IDX(pairs, i, fpd_plan_pair);
        put_string(out, pair->key);
        put_string(out, pair->value);
        put_number(out, pair->is_admin);
    }
}

static void put_strings(writer *out, const apr_array_header_t *texts)
{
    put_number(out, texts->nelts);
    for (int i = 0; i < texts->nelts; i++) {
        put_string(out, APR_ARRAY_IDX(texts, i, const char *));
    }
}

static void put_field(writer *out, const fpd_plan_pool *plan, const field *about)
{
    const void *member = (const char *)plan + about->offset;

    switch (about->type) {
    case FIELD_NUMBER:
        put_number(out, *(const int32_t *)member);
        break;
    case FIELD_STRING:
        put_string(out, *(const char *const *)member);
        break;
    case FIELD_PAIRS:
        put_pairs(out, *(apr_array_header_t *const *)member);
        break;
    case FIELD_STRINGS:
        put_strings(out, *(apr_array_header_t *const *)member);
        break;
    }
}

/* Names and types of all fields in one number: two builds with other fields never understand each
 * other by accident. */
static uint32_t table_checksum(void)
{
    uint32_t sum = 2166136261u;

    for (size_t i = 0; i < FIELD_COUNT; i++) {
        for (const char *c = fields[i].name; *c != '\0'; c++) {
            sum = (sum ^ (uint8_t)*c) * 16777619u;
        }
        sum = (sum ^ (uint8_t)fields[i].type) * 16777619u;
    }
    return sum;
}

/* Of all bytes before it: what was damaged on the way is refused whole. */
static uint64_t content_checksum(const char *bytes, size_t length)
{
    uint64_t sum = UINT64_C(14695981039346656037);

    for (size_t i = 0; i < length; i++) {
        sum = (sum ^ (uint8_t)bytes[i]) * UINT64_C(1099511628211);
    }
    return sum;
}

static void put_plan(writer *out, const fpd_plan_pool *plan)
{
    uint32_t checksum = table_checksum();
    uint64_t sum;

    put(out, PLAN_MAGIC, PLAN_MAGIC_SIZE);
    put(out, &checksum, sizeof(checksum));
    for (size_t i = 0; i < FIELD_COUNT; i++) {
        put_field(out, plan, &fields[i]);
    }
    sum = out->data != NULL ? content_checksum(out->data, out->used) : 0;
    put(out, &sum, sizeof(sum));
}

fpd_plan_bytes fpd_plan_pool_encode(const fpd_plan_pool *plan, apr_pool_t *pool)
{
    writer out = {NULL, 0};
    fpd_plan_bytes bytes;

    put_plan(&out, plan);
    bytes.length = out.used;
    bytes.data = apr_palloc(pool, out.used);
    out.data = bytes.data;
    out.used = 0;
    put_plan(&out, plan);
    return bytes;
}

/* ---- decoding ----------------------------------------------------------------------------- */

static int32_t take_count(fpd_bytes *in)
{
    int32_t count = (int32_t)fpd_bytes_take_number(in);

    if (count < 0 || count > PLAN_LIST_MAX) {
        in->is_broken = 1;
        return 0;
    }
    return count;
}

static void take_pairs(fpd_bytes *in, apr_array_header_t *pairs)
{
    int32_t count = take_count(in);

    for (int32_t i = 0; i < count && !in->is_broken; i++) {
        fpd_plan_pair *pair = apr_array_push(pairs);
        pair->key = fpd_bytes_take_text(in);
        pair->value = fpd_bytes_take_text(in);
        pair->is_admin = (int32_t)fpd_bytes_take_number(in);
        in->is_broken |= pair->key == NULL || pair->value == NULL;
    }
}

static void take_strings(fpd_bytes *in, apr_array_header_t *texts)
{
    int32_t count = take_count(in);

    for (int32_t i = 0; i < count && !in->is_broken; i++) {
        const char *text = fpd_bytes_take_text(in);
        APR_ARRAY_PUSH(texts, const char *) = text;
        in->is_broken |= text == NULL;
    }
}

static void take_field(fpd_bytes *in, fpd_plan_pool *plan, const field *about)
{
    void *member = (char *)plan + about->offset;
    int32_t number;

    switch (about->type) {
    case FIELD_NUMBER:
        number = (int32_t)fpd_bytes_take_number(in);
        in->is_broken |= number < about->least || number > about->most;
        *(int32_t *)member = number;
        break;
    case FIELD_STRING:
        *(const char **)member = fpd_bytes_take_text(in);
        break;
    case FIELD_PAIRS:
        take_pairs(in, *(apr_array_header_t **)member);
        break;
    case FIELD_STRINGS:
        take_strings(in, *(apr_array_header_t **)member);
        break;
    }
}

/* Its last eight bytes are the checksum of what is before them; they leave the reader. */
static int is_undamaged(fpd_bytes *in)
{
    uint64_t sum;

    if (in->left < sizeof(sum)) {
        return 0;
    }
    in->left -= sizeof(sum);
    memcpy(&sum, in->data + in->left, sizeof(sum));
    return sum == content_checksum(in->data, in->left);
}

apr_status_t fpd_plan_pool_decode(fpd_plan_pool **decoded, const char *data, size_t length,
                                  apr_pool_t *pool)
{
    fpd_bytes in = {.data = data, .left = length, .pool = pool};
    fpd_plan_pool *plan;
    const char *magic;
    uint32_t checksum;

    if (length > PLAN_BYTES_MAX || !is_undamaged(&in)) {
        return APR_EGENERAL;
    }
    magic = fpd_bytes_take(&in, PLAN_MAGIC_SIZE);
    checksum = fpd_bytes_take_number(&in);
    if (magic == NULL || memcmp(magic, PLAN_MAGIC, PLAN_MAGIC_SIZE) != 0 ||
        checksum != table_checksum()) {
        return APR_EGENERAL;
    }
    plan = fpd_plan_pool_create(pool);
    for (size_t i = 0; i < FIELD_COUNT; i++) {
        take_field(&in, plan, &fields[i]);
    }
    if (in.is_broken || in.left != 0 || plan->name == NULL) {
        return APR_EGENERAL;
    }
    *decoded = plan;
    return APR_SUCCESS;
}

/* ---- memfd -------------------------------------------------------------------------------- */

static apr_status_t fill_and_seal(int fd, const fpd_plan_bytes *bytes)
{
    size_t done = 0;

    while (done < bytes->length) {
        ssize_t written = write(fd, bytes->data + done, bytes->length - done);
        if (written < 0 && errno != EINTR) {
            return errno;
        }
        done += written > 0 ? (size_t)written : 0;
    }
    if (lseek(fd, 0, SEEK_SET) != 0 ||
        fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL) != 0) {
        return errno;
    }
    return APR_SUCCESS;
}

apr_status_t fpd_plan_pool_write(const fpd_plan_pool *plan, int *written_fd, apr_pool_t *scratch)
{
    fpd_plan_bytes bytes = fpd_plan_pool_encode(plan, scratch);
    int fd = memfd_create("fpmpool-plan", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    apr_status_t status;

    if (fd < 0) {
        return errno;
    }
    status = fill_and_seal(fd, &bytes);
    if (status != APR_SUCCESS) {
        close(fd);
        return status;
    }
    *written_fd = fd;
    return APR_SUCCESS;
}

apr_status_t fpd_plan_pool_read(fpd_plan_pool **plan, int fd, apr_pool_t *pool)
{
    struct stat about;
    apr_status_t status;
    void *data;

    if (fstat(fd, &about) != 0) {
        return errno;
    }
    if (about.st_size <= 0 || about.st_size > PLAN_BYTES_MAX) {
        return APR_EGENERAL;
    }
    data = mmap(NULL, (size_t)about.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    if (data == MAP_FAILED) {
        return errno;
    }
    status = fpd_plan_pool_decode(plan, data, (size_t)about.st_size, pool);
    munmap(data, (size_t)about.st_size);
    return status;
}

fpd_plan_pool *fpd_plan_pool_copy(const fpd_plan_pool *plan, apr_pool_t *pool)
{
    fpd_plan_bytes bytes = fpd_plan_pool_encode(plan, pool);
    fpd_plan_pool *copy;

    return fpd_plan_pool_decode(&copy, bytes.data, bytes.length, pool) == APR_SUCCESS ? copy : NULL;
}

int fpd_plan_pool_equals(const fpd_plan_pool *left, const fpd_plan_pool *right)
{
    apr_pool_t *scratch;
    int is_equal = 1;

    if (apr_pool_create(&scratch, NULL) != APR_SUCCESS) {
        return 0;
    }
    for (size_t i = 0; i < FIELD_COUNT && is_equal; i++) {
        writer a = {NULL, 0};
        writer b = {NULL, 0};
        if (fields[i].is_label) {
            continue;
        }
        put_field(&a, left, &fields[i]);
        put_field(&b, right, &fields[i]);
        is_equal = a.used == b.used;
        if (is_equal && a.used > 0) {
            a.data = apr_palloc(scratch, a.used);
            b.data = apr_palloc(scratch, b.used);
            a.used = b.used = 0;
            put_field(&a, left, &fields[i]);
            put_field(&b, right, &fields[i]);
            is_equal = memcmp(a.data, b.data, a.used) == 0;
        }
    }
    apr_pool_destroy(scratch);
    return is_equal;
}

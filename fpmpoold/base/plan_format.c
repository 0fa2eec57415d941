/* plan_format.c - one table of fields turns a plan into a record and back.
 *
 * The master encodes, an interpreter host decodes; the child that tests a configuration encodes,
 * the master decodes. Any of them may be of another version: a field is known by its name, never by
 * its place. A decoder checks every length before it uses it.
 */
#include "base/plan_format.h"

#include <stddef.h>
#include <string.h>

#include "apr_strings.h"
#include "base/record.h"

#define PLAN_MAGIC     "fpmplan3"
#define PLAN_BYTES_MAX (16 * 1024 * 1024)
#define PLAN_LIST_MAX  65536

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
    AMOUNT(max_memory),
    STRING(failure),
    STRING(php_ini_path),
    BOOLEAN(php_ini_ignore),
    BOOLEAN(extended_info),
    RANGE(log_level, 0, 5),
    NUMBER(process_control_timeout),
    NUMBER(log_limit),
    BOOLEAN(has_process_max),
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

static void put_pairs(fpd_record_writer *out, const apr_array_header_t *pairs)
{
    fpd_record_add(out, &pairs->nelts, sizeof(int32_t));
    for (int i = 0; i < pairs->nelts; i++) {
        const fpd_plan_pair *pair = &APR_ARRAY_IDX(pairs, i, fpd_plan_pair);
        int32_t is_admin = pair->is_admin;
        fpd_record_add_text(out, pair->key);
        fpd_record_add_text(out, pair->value);
        fpd_record_add(out, &is_admin, sizeof(is_admin));
    }
}

static void put_strings(fpd_record_writer *out, const apr_array_header_t *texts)
{
    fpd_record_add(out, &texts->nelts, sizeof(int32_t));
    for (int i = 0; i < texts->nelts; i++) {
        fpd_record_add_text(out, APR_ARRAY_IDX(texts, i, const char *));
    }
}

static void put_field(fpd_record_writer *out, const fpd_plan_pool *plan, const field *about)
{
    const void *member = (const char *)plan + about->offset;
    size_t mark;

    switch (about->type) {
    case FIELD_NUMBER:
        fpd_record_put_number(out, about->name, *(const int32_t *)member);
        break;
    case FIELD_STRING:
        fpd_record_put_text(out, about->name, *(const char *const *)member);
        break;
    case FIELD_PAIRS:
        mark = fpd_record_open(out, about->name);
        put_pairs(out, *(apr_array_header_t *const *)member);
        fpd_record_close(out, mark);
        break;
    case FIELD_STRINGS:
        mark = fpd_record_open(out, about->name);
        put_strings(out, *(apr_array_header_t *const *)member);
        fpd_record_close(out, mark);
        break;
    }
}

static void put_plan(fpd_record_writer *out, const fpd_plan_pool *plan, apr_pool_t *pool)
{
    fpd_record_begin(out, PLAN_MAGIC, pool);
    for (size_t i = 0; i < FIELD_COUNT; i++) {
        put_field(out, plan, &fields[i]);
    }
    fpd_record_end(out);
}

fpd_plan_bytes fpd_plan_pool_encode(const fpd_plan_pool *plan, apr_pool_t *pool)
{
    fpd_record_writer out;

    put_plan(&out, plan, pool);
    return (fpd_plan_bytes){out.data, out.used};
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

    apr_array_clear(pairs);
    for (int32_t i = 0; i < count && !in->is_broken; i++) {
        fpd_plan_pair *pair = apr_array_push(pairs);
        pair->key = fpd_bytes_take_text(in);
        pair->value = fpd_bytes_take_text(in);
        pair->is_admin = (int32_t)fpd_bytes_take_number(in);
        in->is_broken |= pair->key == NULL || pair->value == NULL;
    }
    in->is_broken |= in->left != 0;
}

static void take_strings(fpd_bytes *in, apr_array_header_t *texts)
{
    int32_t count = take_count(in);

    apr_array_clear(texts);
    for (int32_t i = 0; i < count && !in->is_broken; i++) {
        const char *text = fpd_bytes_take_text(in);
        APR_ARRAY_PUSH(texts, const char *) = text;
        in->is_broken |= text == NULL;
    }
    in->is_broken |= in->left != 0;
}

static void take_value(fpd_record_entry *entry, fpd_plan_pool *plan, const field *about)
{
    void *member = (char *)plan + about->offset;
    int64_t number;

    switch (about->type) {
    case FIELD_NUMBER:
        number = fpd_record_take_number(entry);
        entry->value.is_broken |= number < about->least || number > about->most;
        *(int32_t *)member = (int32_t)number;
        break;
    case FIELD_STRING:
        *(const char **)member = fpd_record_take_text(entry);
        break;
    case FIELD_PAIRS:
        take_pairs(&entry->value, *(apr_array_header_t **)member);
        break;
    case FIELD_STRINGS:
        take_strings(&entry->value, *(apr_array_header_t **)member);
        break;
    }
}

/* Who writes and who reads mostly have the same table: the search begins where the last one ended.
 */
static const field *find_field(const fpd_record_entry *entry, size_t *next)
{
    for (size_t i = 0; i < FIELD_COUNT; i++) {
        const field *about = &fields[(*next + i) % FIELD_COUNT];
        if (fpd_record_is(entry, about->name)) {
            *next = (size_t)(about - fields) + 1;
            return about;
        }
    }
    return NULL;
}

static apr_status_t take_plan(fpd_plan_pool **taken, fpd_bytes *in)
{
    fpd_plan_pool *plan = fpd_plan_pool_create(in->pool);
    fpd_record_entry entry;
    size_t next = 0;

    while (fpd_record_next(in, &entry)) {
        const field *about = find_field(&entry, &next);
        if (about != NULL) {
            take_value(&entry, plan, about);
            in->is_broken |= entry.value.is_broken;
        } else if (plan->unknown == NULL) {
            plan->unknown = apr_pstrmemdup(in->pool, entry.name, entry.name_length);
        }
    }
    if (in->is_broken || plan->name == NULL) {
        return APR_EGENERAL;
    }
    *taken = plan;
    return APR_SUCCESS;
}

apr_status_t fpd_plan_pool_decode(fpd_plan_pool **decoded, const char *data, size_t length,
                                  apr_pool_t *pool)
{
    fpd_bytes in = {.data = data, .left = length, .pool = pool};

    if (length > PLAN_BYTES_MAX || !fpd_record_check(&in, PLAN_MAGIC)) {
        return APR_EGENERAL;
    }
    return take_plan(decoded, &in);
}

/* ---- memfd -------------------------------------------------------------------------------- */

apr_status_t fpd_plan_pool_write(const fpd_plan_pool *plan, int *written_fd, apr_pool_t *scratch)
{
    fpd_record_writer out;

    put_plan(&out, plan, scratch);
    return fpd_record_to_memfd(&out, "fpmpool-plan", written_fd);
}

apr_status_t fpd_plan_pool_read(fpd_plan_pool **plan, int fd, apr_pool_t *pool)
{
    fpd_bytes in;
    apr_pool_t *scratch;
    apr_status_t status = apr_pool_create(&scratch, pool);

    if (status != APR_SUCCESS) {
        return status;
    }
    status = fpd_record_from_memfd(&in, fd, PLAN_MAGIC, PLAN_BYTES_MAX, scratch);
    if (status == APR_SUCCESS) {
        in.pool = pool;
        status = take_plan(plan, &in);
    }
    apr_pool_destroy(scratch);
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
    fpd_record_writer a;
    fpd_record_writer b;
    apr_pool_t *scratch;
    int is_equal;

    if (apr_pool_create(&scratch, NULL) != APR_SUCCESS) {
        return 0;
    }
    fpd_record_begin(&a, NULL, scratch);
    fpd_record_begin(&b, NULL, scratch);
    for (size_t i = 0; i < FIELD_COUNT; i++) {
        if (!fields[i].is_label) {
            put_field(&a, left, &fields[i]);
            put_field(&b, right, &fields[i]);
        }
    }
    is_equal = a.used == b.used && memcmp(a.data, b.data, a.used) == 0;
    apr_pool_destroy(scratch);
    return is_equal;
}

/* state.c - one table for each struct of state.h turns it into a record and back.
 *
 * Runs in the master, before and after it executes itself, and in the child that tries whether that
 * would work. It knows nothing of what the values mean.
 */
#include "master/state.h"

#include <fcntl.h>
#include <stddef.h>
#include <string.h>
#include <unistd.h>

#include "master/verdict.h"

#define MAGIC     "fpmstat1"
#define STATE_MAX (256 * 1024 * 1024)

#define FIELD(type, member, kind, least, most)                                                     \
    {                                                                                              \
#member, kind, offsetof(type, member), least, most                                         \
    }
#define NUMBER(type, member, least, most) FIELD(type, member, FPD_RECORD_NUMBER, least, most)
#define BOOLEAN(type, member)             FIELD(type, member, FPD_RECORD_NUMBER, 0, 1)
#define COUNT(type, member)               FIELD(type, member, FPD_RECORD_NUMBER, INT32_MIN, INT32_MAX)
#define TIME(type, member)                FIELD(type, member, FPD_RECORD_LONG, 0, INT64_MAX)
#define TEXT(type, member)                FIELD(type, member, FPD_RECORD_TEXT, 0, 0)
#define BYTES(type, member)               FIELD(type, member, FPD_RECORD_BYTES, 0, 0)
#define DESCRIPTOR(type, member)          FIELD(type, member, FPD_RECORD_DESCRIPTOR, -1, INT32_MAX)

static const fpd_record_field child_fields[] = {
    NUMBER(fpd_state_child, pid, 1, INT32_MAX),
    NUMBER(fpd_state_child, role, 0, FPD_STATE_NEXT),
    NUMBER(fpd_state_child, state, 0, 63),
    BOOLEAN(fpd_state_child, is_answering),
    TIME(fpd_state_child, started_at),
    TIME(fpd_state_child, stop_by),
    DESCRIPTOR(fpd_state_child, channel),
    DESCRIPTOR(fpd_state_child, log_fd),
    DESCRIPTOR(fpd_state_child, output_fd),
    DESCRIPTOR(fpd_state_child, board_fd),
    NUMBER(fpd_state_child, slot_count, 0, FPD_PLAN_CHILDREN_MAX),
    BOOLEAN(fpd_state_child, has_successor),
    TIME(fpd_state_child, window_start),
    COUNT(fpd_state_child, window_lines),
    COUNT(fpd_state_child, suppressed),
    BOOLEAN(fpd_state_child, is_raw_allowed),
    BYTES(fpd_state_child, partial),
    NUMBER(fpd_state_child, permits_held, 0, INT32_MAX),
    NUMBER(fpd_state_child, permits_wanted, 0, INT32_MAX),
    NUMBER(fpd_state_child, permits_owed, 0, INT32_MAX),
    BOOLEAN(fpd_state_child, needs_permits),
    BOOLEAN(fpd_state_child, is_urgent),
};

static const fpd_record_field pool_fields[] = {
    DESCRIPTOR(fpd_state_pool, status_listener),
    DESCRIPTOR(fpd_state_pool, listener),
    TEXT(fpd_state_pool, reason),
    TIME(fpd_state_pool, backoff),
    TIME(fpd_state_pool, retry_at),
    BOOLEAN(fpd_state_pool, is_asleep),
    BOOLEAN(fpd_state_pool, is_removed),
    BOOLEAN(fpd_state_pool, is_settled),
    NUMBER(fpd_state_pool, orphans, 0, INT32_MAX),
    BOOLEAN(fpd_state_pool, has_crashed),
    BOOLEAN(fpd_state_pool, is_changing),
    BOOLEAN(fpd_state_pool, is_drained),
    TEXT(fpd_state_pool, failure),
};

static const fpd_record_field socket_fields[] = {
    DESCRIPTOR(fpd_state_socket, fd),
    BOOLEAN(fpd_state_socket, is_taken),
};

static const fpd_record_field job_fields[] = {
    TIME(fpd_state_job, number),        NUMBER(fpd_state_job, state, 0, 63),
    NUMBER(fpd_state_job, verb, 0, 63), TIME(fpd_state_job, give_up_at),
    TEXT(fpd_state_job, pool),          TEXT(fpd_state_job, note),
    TEXT(fpd_state_job, outcome),
};

static const fpd_record_field state_fields[] = {
    TEXT(fpd_state, version),
    NUMBER(fpd_state, pid, 1, INT32_MAX),
    TEXT(fpd_state, program),
    TEXT(fpd_state, file),
    BOOLEAN(fpd_state, is_background),
    BOOLEAN(fpd_state, replace_all),
    BOOLEAN(fpd_state, reload_again),
    TEXT(fpd_state, pid_file),
    TEXT(fpd_state, error_log),
    DESCRIPTOR(fpd_state, error_fd),
    COUNT(fpd_state, losses.lost),
    COUNT(fpd_state, losses.error),
    BOOLEAN(fpd_state, losses.is_cut),
    DESCRIPTOR(fpd_state, verdict_fd),
    BYTES(fpd_state, carried),
    BOOLEAN(fpd_state, wants_emergency),
    TIME(fpd_state, no_emergency_before),
    DESCRIPTOR(fpd_state, control_fd),
    TEXT(fpd_state, control_path),
    TIME(fpd_state, started_at),
    TIME(fpd_state, last_job),
    TIME(fpd_state, ended_requests),
    TIME(fpd_state, ended_slow_requests),
    BOOLEAN(fpd_state, is_notified),
    BOOLEAN(fpd_state, is_told_to_reload),
    TIME(fpd_state, notified_requests),
    NUMBER(fpd_state, orphans, 0, INT32_MAX),
    BOOLEAN(fpd_state, may_have_orphans),
};

#define COUNT_OF(table) (sizeof(table) / sizeof((table)[0]))

fpd_state *fpd_state_create(apr_pool_t *pool)
{
    fpd_state *state = apr_pcalloc(pool, sizeof(*state));

    fpd_conf_preset(&state->global);
    state->error_fd = -1;
    state->verdict_fd = -1;
    state->control_fd = -1;
    state->jobs = apr_array_make(pool, 4, sizeof(fpd_state_job));
    state->sockets = apr_array_make(pool, 4, sizeof(fpd_state_socket));
    state->pools = apr_array_make(pool, 16, sizeof(fpd_state_pool *));
    return state;
}

fpd_state_pool *fpd_state_add_pool(fpd_state *state, apr_pool_t *pool)
{
    fpd_state_pool *added = apr_pcalloc(pool, sizeof(*added));

    added->listener = added->status_listener = -1;
    added->children = apr_array_make(pool, 2, sizeof(fpd_state_child));
    APR_ARRAY_PUSH(state->pools, fpd_state_pool *) = added;
    return added;
}

fpd_state_child *fpd_state_add_child(fpd_state_pool *pool)
{
    fpd_state_child *added = apr_array_push(pool->children);

    memset(added, 0, sizeof(*added));
    added->channel = added->log_fd = added->output_fd = added->board_fd = -1;
    return added;
}

fpd_state_job *fpd_state_add_job(fpd_state *state)
{
    fpd_state_job *added = apr_array_push(state->jobs);

    memset(added, 0, sizeof(*added));
    return added;
}

fpd_state_socket *fpd_state_add_socket(fpd_state *state)
{
    fpd_state_socket *added = apr_array_push(state->sockets);

    added->fd = -1;
    added->is_taken = 0;
    return added;
}

/* ---- descriptors -------------------------------------------------------------------------- */

/* Pointers to the members that are descriptors, int *. */
static void collect(apr_array_header_t *members, const fpd_record_field *fields, size_t count,
                    const void *from)
{
    for (size_t i = 0; i < count; i++) {
        if (fields[i].type == FPD_RECORD_DESCRIPTOR) {
            APR_ARRAY_PUSH(members, int *) = (int *)((size_t)from + fields[i].offset);
        }
    }
}

static apr_array_header_t *collect_all(const fpd_state *state, apr_pool_t *pool)
{
    apr_array_header_t *members = apr_array_make(pool, 64, sizeof(int *));

    collect(members, state_fields, COUNT_OF(state_fields), state);
    for (int i = 0; i < state->sockets->nelts; i++) {
        collect(members, socket_fields, COUNT_OF(socket_fields),
                &APR_ARRAY_IDX(state->sockets, i, fpd_state_socket));
    }
    for (int i = 0; i < state->pools->nelts; i++) {
        const fpd_state_pool *about = APR_ARRAY_IDX(state->pools, i, fpd_state_pool *);
        collect(members, pool_fields, COUNT_OF(pool_fields), about);
        for (int k = 0; k < about->children->nelts; k++) {
            collect(members, child_fields, COUNT_OF(child_fields),
                    &APR_ARRAY_IDX(about->children, k, fpd_state_child));
        }
    }
    return members;
}

apr_array_header_t *fpd_state_descriptors(const fpd_state *state, apr_pool_t *pool)
{
    const apr_array_header_t *members = collect_all(state, pool);
    apr_array_header_t *descriptors = apr_array_make(pool, members->nelts + 1, sizeof(int));

    for (int i = 0; i < members->nelts; i++) {
        int fd = *APR_ARRAY_IDX(members, i, int *);
        if (fd >= 0) {
            APR_ARRAY_PUSH(descriptors, int) = fd;
        }
    }
    return descriptors;
}

void fpd_state_claim(fpd_state *state, apr_pool_t *scratch)
{
    const apr_array_header_t *members = collect_all(state, scratch);

    for (int i = 0; i < members->nelts; i++) {
        int *fd = APR_ARRAY_IDX(members, i, int *);
        if (*fd >= 0 && fcntl(*fd, F_SETFD, FD_CLOEXEC) != 0) {
            *fd = -1;
        }
    }
    for (size_t i = 0; i + sizeof(int32_t) <= state->carried.length; i += sizeof(int32_t)) {
        int32_t fd;
        int flags;
        memcpy(&fd, state->carried.data + i, sizeof(fd));
        flags = fcntl(fd, F_GETFD);
        if (fd > STDERR_FILENO && flags >= 0 && (flags & FD_CLOEXEC) == 0) {
            close(fd); /* of a member that this version does not have */
        }
    }
}

/* ---- writing ------------------------------------------------------------------------------ */

static void put_pool(fpd_record_writer *out, const fpd_state_pool *about, apr_pool_t *scratch)
{
    fpd_plan_bytes plan = fpd_plan_pool_encode(about->plan, scratch);
    size_t mark = fpd_record_open(out, "pool");

    fpd_record_put_fields(out, pool_fields, COUNT_OF(pool_fields), about);
    fpd_record_put(out, "plan", plan.data, plan.length);
    for (int i = 0; i < about->children->nelts; i++) {
        size_t child_mark = fpd_record_open(out, "child");
        fpd_record_put_fields(out, child_fields, COUNT_OF(child_fields),
                              &APR_ARRAY_IDX(about->children, i, fpd_state_child));
        fpd_record_close(out, child_mark);
    }
    fpd_record_close(out, mark);
}

/* An entry for each element of a list. */
static void put_list(fpd_record_writer *out, const char *name, const fpd_record_field *fields,
                     size_t count, const apr_array_header_t *list)
{
    for (int i = 0; i < list->nelts; i++) {
        size_t mark = fpd_record_open(out, name);
        fpd_record_put_fields(out, fields, count, list->elts + (size_t)i * (size_t)list->elt_size);
        fpd_record_close(out, mark);
    }
}

static void put_state(fpd_record_writer *out, fpd_state *state, apr_pool_t *scratch)
{
    const apr_array_header_t *descriptors = fpd_state_descriptors(state, scratch);
    apr_pool_t *one;

    state->carried.data = descriptors->elts;
    state->carried.length = (size_t)descriptors->nelts * sizeof(int);
    fpd_record_begin(out, MAGIC, scratch);
    fpd_record_put_fields(out, state_fields, COUNT_OF(state_fields), state);
    fpd_verdict_put_global(out, "global", &state->global);
    put_list(out, "job", job_fields, COUNT_OF(job_fields), state->jobs);
    put_list(out, "socket", socket_fields, COUNT_OF(socket_fields), state->sockets);
    apr_pool_create(&one, scratch);
    for (int i = 0; i < state->pools->nelts; i++) {
        put_pool(out, APR_ARRAY_IDX(state->pools, i, fpd_state_pool *), one);
        apr_pool_clear(one); /* thousands of pools */
    }
    fpd_record_end(out);
}

fpd_record_bytes fpd_state_encode(fpd_state *state, apr_pool_t *scratch)
{
    fpd_record_writer out;

    put_state(&out, state, scratch);
    return (fpd_record_bytes){out.data, out.used};
}

apr_status_t fpd_state_write(fpd_state *state, int *fd, apr_pool_t *scratch)
{
    fpd_record_writer out;

    put_state(&out, state, scratch);
    return fpd_record_to_memfd(&out, "fpmpool-state", fd);
}

/* ---- reading ------------------------------------------------------------------------------ */

static void take_fields(fpd_record_entry *entry, const fpd_record_field *fields, size_t count,
                        void *into)
{
    fpd_record_entry field;

    while (fpd_record_next(&entry->value, &field)) {
        (void)fpd_record_take_field(&field, fields, count, into);
        entry->value.is_broken |= field.value.is_broken;
    }
}

static void take_child(fpd_record_entry *entry, fpd_state_pool *into)
{
    fpd_state_child *child = fpd_state_add_child(into);

    take_fields(entry, child_fields, COUNT_OF(child_fields), child);
    entry->value.is_broken |= child->pid == 0;
}

static void take_pool(fpd_record_entry *entry, fpd_state *state)
{
    fpd_state_pool *about = fpd_state_add_pool(state, entry->value.pool);
    fpd_record_entry field;

    while (fpd_record_next(&entry->value, &field)) {
        if (fpd_record_is(&field, "plan")) {
            field.value.is_broken |=
                fpd_plan_pool_decode(&about->plan, field.value.data, field.value.left,
                                     field.value.pool) != APR_SUCCESS;
        } else if (fpd_record_is(&field, "child")) {
            take_child(&field, about);
        } else {
            (void)fpd_record_take_field(&field, pool_fields, COUNT_OF(pool_fields), about);
        }
        entry->value.is_broken |= field.value.is_broken;
    }
    entry->value.is_broken |= about->plan == NULL;
}

static apr_status_t take_state(fpd_state **taken, fpd_bytes *in)
{
    fpd_state *state = fpd_state_create(in->pool);
    fpd_record_entry entry;

    while (fpd_record_next(in, &entry)) {
        if (fpd_record_is(&entry, "pool")) {
            take_pool(&entry, state);
        } else if (fpd_record_is(&entry, "job")) {
            take_fields(&entry, job_fields, COUNT_OF(job_fields), fpd_state_add_job(state));
        } else if (fpd_record_is(&entry, "socket")) {
            take_fields(&entry, socket_fields, COUNT_OF(socket_fields),
                        fpd_state_add_socket(state));
        } else if (fpd_record_is(&entry, "global")) {
            fpd_verdict_take_global(&entry, &state->global);
        } else {
            (void)fpd_record_take_field(&entry, state_fields, COUNT_OF(state_fields), state);
        }
        in->is_broken |= entry.value.is_broken;
    }
    if (in->is_broken || state->pid == 0 || state->program == NULL || state->file == NULL) {
        return APR_EGENERAL;
    }
    *taken = state;
    return APR_SUCCESS;
}

apr_status_t fpd_state_decode(fpd_state **state, const char *data, size_t length, apr_pool_t *pool)
{
    fpd_bytes in = {.data = data, .left = length, .pool = pool};

    return fpd_record_check(&in, MAGIC) ? take_state(state, &in) : APR_EGENERAL;
}

apr_status_t fpd_state_read(fpd_state **state, int fd, apr_pool_t *pool)
{
    fpd_bytes in;
    apr_pool_t *mapping;
    apr_status_t status = apr_pool_create(&mapping, pool);

    if (status != APR_SUCCESS) {
        return status;
    }
    status = fpd_record_from_memfd(&in, fd, MAGIC, STATE_MAX, mapping);
    if (status == APR_SUCCESS) {
        in.pool = pool;
        status = take_state(state, &in);
    }
    apr_pool_destroy(mapping);
    return status;
}

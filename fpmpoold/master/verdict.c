/* verdict.c - turns the result of a configuration test into a record and back.
 *
 * Written by the child that tests, read by the master before and after it executes itself anew. It
 * neither reads configurations nor decides what follows.
 */
#include "master/verdict.h"

#include <stddef.h>
#include <string.h>

#define MAGIC       "fpmtest1"
#define VERDICT_MAX (256 * 1024 * 1024)

#define FIELD(member, kind)                                                                        \
    {                                                                                              \
#member, kind, offsetof(fpd_conf_global, member), INT32_MIN, INT32_MAX                     \
    }

static const fpd_record_field global_fields[] = {
    FIELD(pid, FPD_RECORD_TEXT),
    FIELD(error_log, FPD_RECORD_TEXT),
    FIELD(syslog_ident, FPD_RECORD_TEXT),
    FIELD(syslog_facility, FPD_RECORD_NUMBER),
    FIELD(log_buffering, FPD_RECORD_NUMBER),
    FIELD(log_limit, FPD_RECORD_NUMBER),
    FIELD(log_level, FPD_RECORD_NUMBER),
    FIELD(emergency_restart_threshold, FPD_RECORD_NUMBER),
    FIELD(emergency_restart_interval, FPD_RECORD_NUMBER),
    FIELD(process_control_timeout, FPD_RECORD_NUMBER),
    FIELD(process_max, FPD_RECORD_NUMBER),
    FIELD(process_priority, FPD_RECORD_NUMBER),
    FIELD(daemonize, FPD_RECORD_NUMBER),
    FIELD(rlimit_files, FPD_RECORD_NUMBER),
    FIELD(rlimit_core, FPD_RECORD_NUMBER),
    FIELD(events_mechanism, FPD_RECORD_TEXT),
    FIELD(systemd_interval, FPD_RECORD_NUMBER),
    FIELD(has_systemd_interval, FPD_RECORD_NUMBER),
    FIELD(control_socket, FPD_RECORD_TEXT),
};

#define GLOBAL_COUNT (sizeof(global_fields) / sizeof(global_fields[0]))

/* A member that has no line above would be lost at every reload: add the line, then count it here.
 */
_Static_assert(sizeof(char *) != 8 || sizeof(fpd_conf_global) == 5 * 8 + 14 * 4,
               "fpd_conf_global has another member: name it in global_fields");

static const fpd_record_field message_fields[] = {
    {"severity", FPD_RECORD_NUMBER, offsetof(fpd_conf_message, severity), FPD_CONF_NOTICE,
     FPD_CONF_ALERT},
    {"text", FPD_RECORD_TEXT, offsetof(fpd_conf_message, text), 0, 0},
};

#define MESSAGE_COUNT (sizeof(message_fields) / sizeof(message_fields[0]))

void fpd_verdict_clear(fpd_verdict *verdict, apr_pool_t *pool)
{
    memset(verdict, 0, sizeof(*verdict));
    verdict->messages = apr_array_make(pool, 8, sizeof(fpd_conf_message));
}

/* ---- writing ------------------------------------------------------------------------------ */

void fpd_verdict_put_global(fpd_record_writer *out, const char *name, const fpd_conf_global *global)
{
    size_t mark = fpd_record_open(out, name);

    fpd_record_put_fields(out, global_fields, GLOBAL_COUNT, global);
    fpd_record_close(out, mark);
}

static void put_conf(fpd_record_writer *out, const fpd_conf *conf)
{
    fpd_record_put_text(out, "file", conf->file);
    fpd_verdict_put_global(out, "global", &conf->global);
    for (int i = 0; i < conf->pools->nelts; i++) {
        fpd_plan_bytes bytes =
            fpd_plan_pool_encode(APR_ARRAY_IDX(conf->pools, i, fpd_plan_pool *), out->pool);
        fpd_record_put(out, "pool", bytes.data, bytes.length);
    }
}

apr_status_t fpd_verdict_write(const fpd_verdict *verdict, int fd, apr_pool_t *scratch)
{
    fpd_record_writer out;

    fpd_record_begin(&out, MAGIC, scratch);
    fpd_record_put_text(&out, "version", verdict->version);
    fpd_record_put_text(&out, "refusal", verdict->refusal);
    fpd_record_put_number(&out, "exec_error", verdict->exec_error);
    for (int i = 0; i < verdict->messages->nelts; i++) {
        size_t mark = fpd_record_open(&out, "message");
        fpd_record_put_fields(&out, message_fields, MESSAGE_COUNT,
                              &APR_ARRAY_IDX(verdict->messages, i, fpd_conf_message));
        fpd_record_close(&out, mark);
    }
    if (verdict->conf != NULL) {
        put_conf(&out, verdict->conf);
    }
    fpd_record_end(&out);
    return fpd_record_fill_memfd(&out, fd);
}

/* ---- reading ------------------------------------------------------------------------------ */

void fpd_verdict_take_global(fpd_record_entry *entry, fpd_conf_global *global)
{
    fpd_record_entry field;

    while (fpd_record_next(&entry->value, &field)) {
        (void)fpd_record_take_field(&field, global_fields, GLOBAL_COUNT, global);
        entry->value.is_broken |= field.value.is_broken;
    }
}

static void take_message(fpd_record_entry *entry, apr_array_header_t *messages)
{
    fpd_conf_message *message = apr_array_push(messages);
    fpd_record_entry field;

    memset(message, 0, sizeof(*message));
    while (fpd_record_next(&entry->value, &field)) {
        (void)fpd_record_take_field(&field, message_fields, MESSAGE_COUNT, message);
        entry->value.is_broken |= field.value.is_broken;
    }
    entry->value.is_broken |= message->text == NULL;
}

static void take_pool(fpd_record_entry *entry, fpd_conf *conf)
{
    fpd_plan_pool *plan;

    if (fpd_plan_pool_decode(&plan, entry->value.data, entry->value.left, entry->value.pool) !=
        APR_SUCCESS) {
        entry->value.is_broken = 1;
        return;
    }
    APR_ARRAY_PUSH(conf->pools, fpd_plan_pool *) = plan;
    conf->has_failed_pools |= plan->failure != NULL;
}

static void take_entry(fpd_record_entry *entry, fpd_verdict *verdict, fpd_conf *conf)
{
    if (fpd_record_is(entry, "version")) {
        verdict->version = fpd_record_take_text(entry);
    } else if (fpd_record_is(entry, "refusal")) {
        verdict->refusal = fpd_record_take_text(entry);
    } else if (fpd_record_is(entry, "exec_error")) {
        verdict->exec_error = (int)fpd_record_take_number(entry);
    } else if (fpd_record_is(entry, "message")) {
        take_message(entry, verdict->messages);
    } else if (fpd_record_is(entry, "file")) {
        conf->file = fpd_record_take_text(entry);
    } else if (fpd_record_is(entry, "global")) {
        fpd_verdict_take_global(entry, &conf->global);
    } else if (fpd_record_is(entry, "pool")) {
        take_pool(entry, conf);
    }
}

apr_status_t fpd_verdict_read(fpd_verdict *verdict, int fd, apr_pool_t *pool, apr_pool_t *scratch)
{
    fpd_conf *conf = apr_pcalloc(pool, sizeof(*conf));
    fpd_record_entry entry;
    fpd_bytes in;
    apr_status_t status = fpd_record_from_memfd(&in, fd, MAGIC, VERDICT_MAX, scratch);

    fpd_verdict_clear(verdict, pool);
    if (status != APR_SUCCESS) {
        return status;
    }
    in.pool = pool;
    fpd_conf_preset(&conf->global);
    conf->pools = apr_array_make(pool, 8, sizeof(fpd_plan_pool *));
    while (fpd_record_next(&in, &entry)) {
        take_entry(&entry, verdict, conf);
        in.is_broken |= entry.value.is_broken;
    }
    if (in.is_broken) {
        fpd_verdict_clear(verdict, pool);
        return APR_EGENERAL;
    }
    verdict->conf = conf->file != NULL && conf->pools->nelts > 0 ? conf : NULL;
    return APR_SUCCESS;
}

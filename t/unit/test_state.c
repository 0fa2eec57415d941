/* test_state.c - what a master hands to itself: every member survives, other versions are
 * understood, and damaged bytes never become a state. */
#include "unit.h"

#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "apr_general.h"
#include "apr_strings.h"
#include "master/state.h"
#include "master/verdict.h"

static apr_pool_t *pool;

static void set_up(void)
{
    ck_assert_int_eq(apr_initialize(), APR_SUCCESS);
    ck_assert_int_eq(apr_pool_create(&pool, NULL), APR_SUCCESS);
}

static void tear_down(void)
{
    apr_pool_destroy(pool);
}

static fpd_plan_pool *sample_plan(const char *name)
{
    fpd_plan_pool *plan = fpd_plan_pool_create(pool);

    plan->name = name;
    plan->listen = apr_pstrcat(pool, "/run/", name, ".sock", NULL);
    plan->pm = FPD_PM_STATIC;
    plan->max_children = 7;
    return plan;
}

static fpd_state *sample(void)
{
    fpd_state *state = fpd_state_create(pool);
    fpd_state_pool *www;
    fpd_state_child *child;

    state->version = "9.9.9";
    state->pid = 4711;
    state->program = "/usr/sbin/fpmpoold";
    state->file = "/etc/fpm.conf";
    state->global.process_control_timeout = 17;
    state->is_background = 1;
    state->reload_again = 1;
    state->orphans = 3;
    state->may_have_orphans = 1;
    state->pid_file = "/run/x.pid";
    state->error_log = "/var/log/x";
    state->error_fd = 9;
    state->losses = (fpd_log_file){.lost = 12, .error = 28, .is_cut = 1};
    state->verdict_fd = 11;
    www = fpd_state_add_pool(state, pool);
    www->plan = sample_plan("www");
    www->listener = 5;
    www->reason = "because";
    www->backoff = 800000;
    www->retry_at = INT64_C(1) << 40;
    www->is_settled = 1;
    child = fpd_state_add_child(www);
    child->pid = 100;
    child->role = FPD_STATE_CURRENT;
    child->state = 1;
    child->started_at = INT64_C(1) << 41;
    child->channel = 20;
    child->log_fd = 21;
    child->output_fd = 22;
    child->window_start = 77;
    child->window_lines = 3;
    child->suppressed = 2;
    child->is_raw_allowed = 1;
    child->needs_permits = 1;
    child->permits_held = 5;
    child->permits_wanted = 2;
    child->permits_owed = 1;
    child->partial.data = "half\0a line";
    child->partial.length = 11;
    child = fpd_state_add_child(www);
    child->pid = 101;
    child->stop_by = 12345;
    child->is_answering = 1;
    www = fpd_state_add_pool(state, pool);
    www->plan = sample_plan("gone");
    www->is_removed = 1;
    www->is_asleep = 1;
    return state;
}

/* In memory of its exact size, so that a byte too far is seen. */
static apr_status_t decode_exactly(fpd_state **state, const char *data, size_t length)
{
    char *copy = malloc(length > 0 ? length : 1);
    apr_status_t status;

    ck_assert_ptr_nonnull(copy);
    memcpy(copy, data, length);
    status = fpd_state_decode(state, copy, length, pool);
    free(copy);
    return status;
}

START_TEST(every_member_survives)
{
    fpd_state *back;
    fpd_record_bytes bytes = fpd_state_encode(sample(), pool);
    const fpd_state_pool *www;
    const fpd_state_child *child;

    ck_assert_int_eq(decode_exactly(&back, bytes.data, bytes.length), APR_SUCCESS);
    ck_assert_str_eq(back->version, "9.9.9");
    ck_assert_int_eq(back->pid, 4711);
    ck_assert_str_eq(back->program, "/usr/sbin/fpmpoold");
    ck_assert_str_eq(back->file, "/etc/fpm.conf");
    ck_assert_int_eq(back->global.process_control_timeout, 17);
    ck_assert_int_eq(back->is_background, 1);
    ck_assert_int_eq(back->replace_all, 0);
    ck_assert_int_eq(back->reload_again, 1);
    ck_assert_int_eq(back->orphans, 3);
    ck_assert_int_eq(back->may_have_orphans, 1);
    ck_assert_str_eq(back->pid_file, "/run/x.pid");
    ck_assert_str_eq(back->error_log, "/var/log/x");
    ck_assert_int_eq(back->error_fd, 9);
    ck_assert_uint_eq(back->losses.lost, 12);
    ck_assert_int_eq(back->losses.error, 28);
    ck_assert_int_eq(back->losses.is_cut, 1);
    ck_assert_int_eq(back->verdict_fd, 11);
    ck_assert_int_eq(back->pools->nelts, 2);
    www = APR_ARRAY_IDX(back->pools, 0, fpd_state_pool *);
    ck_assert_str_eq(www->plan->name, "www");
    ck_assert_int_eq(www->plan->max_children, 7);
    ck_assert_int_eq(www->listener, 5);
    ck_assert_str_eq(www->reason, "because");
    ck_assert_int_eq(www->backoff, 800000);
    ck_assert(www->retry_at == INT64_C(1) << 40);
    ck_assert_int_eq(www->is_settled, 1);
    ck_assert_int_eq(www->children->nelts, 2);
    child = &APR_ARRAY_IDX(www->children, 0, fpd_state_child);
    ck_assert_int_eq(child->pid, 100);
    ck_assert_int_eq(child->role, FPD_STATE_CURRENT);
    ck_assert_int_eq(child->state, 1);
    ck_assert(child->started_at == INT64_C(1) << 41);
    ck_assert_int_eq(child->channel, 20);
    ck_assert_int_eq(child->log_fd, 21);
    ck_assert_int_eq(child->output_fd, 22);
    ck_assert_int_eq(child->window_start, 77);
    ck_assert_int_eq(child->window_lines, 3);
    ck_assert_int_eq(child->suppressed, 2);
    ck_assert_int_eq(child->is_raw_allowed, 1);
    ck_assert_int_eq(child->needs_permits, 1);
    ck_assert_int_eq(child->permits_held, 5);
    ck_assert_int_eq(child->permits_wanted, 2);
    ck_assert_int_eq(child->permits_owed, 1);
    ck_assert_uint_eq(child->partial.length, 11);
    ck_assert_mem_eq(child->partial.data, "half\0a line", 11);
    child = &APR_ARRAY_IDX(www->children, 1, fpd_state_child);
    ck_assert_int_eq(child->stop_by, 12345);
    ck_assert_int_eq(child->is_answering, 1);
    ck_assert_int_eq(child->channel, -1);
    www = APR_ARRAY_IDX(back->pools, 1, fpd_state_pool *);
    ck_assert_int_eq(www->listener, -1);
    ck_assert_int_eq(www->is_removed, 1);
    ck_assert_int_eq(www->is_asleep, 1);
}
END_TEST

/* A state as a version writes it that has more, in an order of its own. */
START_TEST(what_is_not_known_is_passed_over)
{
    fpd_plan_bytes plan = fpd_plan_pool_encode(sample_plan("www"), pool);
    fpd_record_writer out;
    fpd_state *state;
    const fpd_state_pool *www;
    size_t mark;
    size_t child_mark;

    fpd_record_begin(&out, "fpmstat1", pool);
    fpd_record_put_text(&out, "colour", "green");
    mark = fpd_record_open(&out, "pool");
    fpd_record_put_number(&out, "moon", 3);
    child_mark = fpd_record_open(&out, "child");
    fpd_record_put(&out, "board", "\1\2\3", 3);
    fpd_record_put_number(&out, "pid", 12);
    fpd_record_close(&out, child_mark);
    fpd_record_put(&out, "plan", plan.data, plan.length);
    fpd_record_close(&out, mark);
    mark = fpd_record_open(&out, "global");
    fpd_record_put_text(&out, "log_colour", NULL);
    fpd_record_put_number(&out, "process_max", 40);
    fpd_record_close(&out, mark);
    fpd_record_put_text(&out, "file", "/f");
    fpd_record_put_text(&out, "program", "/p");
    fpd_record_put_number(&out, "pid", 1);
    fpd_record_end(&out);
    ck_assert_int_eq(decode_exactly(&state, out.data, out.used), APR_SUCCESS);
    ck_assert_int_eq(state->global.process_max, 40);
    ck_assert_int_eq(state->pools->nelts, 1);
    www = APR_ARRAY_IDX(state->pools, 0, fpd_state_pool *);
    ck_assert_int_eq(APR_ARRAY_IDX(www->children, 0, fpd_state_child).pid, 12);
    /* and what is missing has its default */
    ck_assert_int_eq(APR_ARRAY_IDX(www->children, 0, fpd_state_child).channel, -1);
    ck_assert_int_eq(www->listener, -1);
    ck_assert_ptr_null(www->reason);
    ck_assert_int_eq(state->error_fd, -1);
    ck_assert_int_eq(state->global.process_control_timeout, 30);
}
END_TEST

START_TEST(a_plan_of_another_version_is_understood)
{
    fpd_record_writer out;
    fpd_plan_pool *plan;

    fpd_record_begin(&out, "fpmplan3", pool);
    fpd_record_put_number(&out, "max_children", 3);
    fpd_record_put_text(&out, "teleport", "yes");
    fpd_record_put_text(&out, "name", "www");
    fpd_record_end(&out);
    ck_assert_int_eq(fpd_plan_pool_decode(&plan, out.data, out.used, pool), APR_SUCCESS);
    ck_assert_int_eq(plan->max_children, 3);
    ck_assert_str_eq(plan->unknown, "teleport");
    ck_assert_int_eq(plan->clear_env, 1);
    ck_assert_str_eq(plan->limit_extensions, ".php .phar");
    ck_assert_int_eq(plan->env->nelts, 0);
}
END_TEST

START_TEST(every_cut_is_refused)
{
    fpd_record_bytes bytes = fpd_state_encode(sample(), pool);
    fpd_state *state = NULL;

    for (size_t length = 0; length < bytes.length; length++) {
        ck_assert_int_eq(decode_exactly(&state, bytes.data, length), APR_EGENERAL);
    }
    ck_assert_ptr_null(state);
}
END_TEST

static void repair(char *bytes, size_t length)
{
    uint64_t sum = UINT64_C(14695981039346656037);
    uint64_t whole = length;

    memcpy(bytes + 8, &whole, sizeof(whole));
    for (size_t i = 0; i < length - sizeof(sum); i++) {
        sum = (sum ^ (uint8_t)bytes[i]) * UINT64_C(1099511628211);
    }
    memcpy(bytes + length - sizeof(sum), &sum, sizeof(sum));
}

/* Who breaks the bytes knows the format: what is behind length and checksum holds too. */
START_TEST(broken_bytes_with_a_good_envelope_do_no_harm)
{
    fpd_record_bytes bytes = fpd_state_encode(sample(), pool);
    char *copy = apr_pmemdup(pool, bytes.data, bytes.length);
    apr_pool_t *outer = pool;
    int refused = 0;

    for (size_t length = 32; length < bytes.length; length++) {
        fpd_state *state;
        memcpy(copy, bytes.data, length);
        repair(copy, length);
        apr_pool_create(&pool, outer);
        refused += decode_exactly(&state, copy, length) != APR_SUCCESS;
        apr_pool_destroy(pool);
        pool = outer;
    }
    ck_assert_int_gt(refused, (int)bytes.length / 2);
    for (size_t i = 0; i < (bytes.length - 8) * 8; i++) {
        fpd_state *state;
        memcpy(copy, bytes.data, bytes.length);
        copy[i / 8] = (char)(copy[i / 8] ^ (1 << i % 8));
        repair(copy, bytes.length);
        apr_pool_create(&pool, outer);
        if (decode_exactly(&state, copy, bytes.length) == APR_SUCCESS) {
            ck_assert_int_gt(state->pid, 0);
            ck_assert_ptr_nonnull(state->program);
        }
        apr_pool_destroy(pool);
        pool = outer;
    }
}
END_TEST

START_TEST(five_thousand_pools_fit)
{
    fpd_state *state = sample();
    fpd_state *back;
    int fd;

    for (int i = state->pools->nelts; i < 5000; i++) {
        fpd_state_pool *added = fpd_state_add_pool(state, pool);
        added->plan = sample_plan(apr_psprintf(pool, "pool%d", i));
        added->listener = 1000 + i;
        fpd_state_add_child(added)->pid = 10000 + i;
    }
    ck_assert_int_eq(fpd_state_write(state, &fd, pool), APR_SUCCESS);
    ck_assert_int_lt(write(fd, "x", 1), 0); /* sealed */
    ck_assert_int_eq(fpd_state_read(&back, fd, pool), APR_SUCCESS);
    close(fd);
    ck_assert_int_eq(back->pools->nelts, 5000);
    ck_assert_int_eq(APR_ARRAY_IDX(back->pools, 4999, fpd_state_pool *)->listener, 5999);
}
END_TEST

START_TEST(a_memfd_that_can_change_is_refused)
{
    fpd_record_bytes bytes = fpd_state_encode(sample(), pool);
    fpd_state *state;
    int fd = memfd_create("test", MFD_CLOEXEC | MFD_ALLOW_SEALING);

    ck_assert_int_eq(write(fd, bytes.data, bytes.length), (int)bytes.length);
    ck_assert_int_eq(fpd_state_read(&state, fd, pool), APR_EGENERAL);
    ck_assert_int_eq(fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE), 0);
    ck_assert_int_eq(fpd_state_read(&state, fd, pool), APR_SUCCESS);
    close(fd);
}
END_TEST

START_TEST(descriptors_are_claimed_and_strangers_closed)
{
    fpd_state *state = fpd_state_create(pool);
    fpd_state_pool *www = fpd_state_add_pool(state, pool);
    int32_t carried[3];

    www->plan = sample_plan("www");
    www->listener = open("/dev/null", O_RDWR);
    carried[0] = www->listener;
    carried[1] = open("/dev/null", O_RDWR);
    carried[2] = open("/dev/null", O_RDWR | O_CLOEXEC); /* somebody's by now */
    state->carried.data = (const char *)carried;
    state->carried.length = sizeof(carried);
    state->error_fd = 900;
    ck_assert_int_eq(fpd_state_descriptors(state, pool)->nelts, 2);
    fpd_state_claim(state, pool);
    ck_assert_int_eq(fcntl(www->listener, F_GETFD), FD_CLOEXEC);
    ck_assert_int_lt(fcntl(carried[1], F_GETFD), 0);
    ck_assert_int_eq(fcntl(carried[2], F_GETFD), FD_CLOEXEC);
    ck_assert_int_eq(state->error_fd, -1);
    close(www->listener);
    close(carried[2]);
}
END_TEST

static void add_message(fpd_verdict *verdict, uint32_t severity, const char *text)
{
    fpd_conf_message *message = apr_array_push(verdict->messages);

    memset(message, 0, sizeof(*message));
    message->severity = severity;
    message->text = text;
}

START_TEST(jobs_and_sockets_of_others_travel)
{
    fpd_state *state = sample();
    fpd_state *back;
    fpd_record_bytes bytes;
    fpd_state_job *job = fpd_state_add_job(state);
    fpd_state_socket *passed = fpd_state_add_socket(state);

    job->number = INT64_MAX;
    job->state = 3;
    job->verb = 2;
    job->give_up_at = 77;
    job->pool = "my pool";
    job->note = "a\nb\n";
    (void)fpd_state_add_job(state);
    passed->fd = 9;
    passed->is_taken = 1;
    state->control_fd = 12;
    state->control_path = "/run/x.ctl";
    state->is_told_to_reload = 1;
    ck_assert_int_eq(fpd_state_descriptors(state, pool)->nelts,
                     fpd_state_descriptors(sample(), pool)->nelts + 2);
    bytes = fpd_state_encode(state, pool);
    ck_assert_int_eq(fpd_state_decode(&back, bytes.data, bytes.length, pool), APR_SUCCESS);
    ck_assert_int_eq(back->jobs->nelts, 2);
    job = &APR_ARRAY_IDX(back->jobs, 0, fpd_state_job);
    ck_assert_int_eq(job->number, INT64_MAX);
    ck_assert_int_eq(job->state, 3);
    ck_assert_int_eq(job->verb, 2);
    ck_assert_int_eq(job->give_up_at, 77);
    ck_assert_str_eq(job->pool, "my pool");
    ck_assert_str_eq(job->note, "a\nb\n");
    ck_assert_ptr_null(job->outcome);
    ck_assert_int_eq(back->sockets->nelts, 1);
    ck_assert_int_eq(APR_ARRAY_IDX(back->sockets, 0, fpd_state_socket).fd, 9);
    ck_assert_int_eq(APR_ARRAY_IDX(back->sockets, 0, fpd_state_socket).is_taken, 1);
    ck_assert_int_eq(back->control_fd, 12);
    ck_assert_str_eq(back->control_path, "/run/x.ctl");
    ck_assert_int_eq(back->is_told_to_reload, 1);
}
END_TEST

/* Each number of the global section another one: none is lost, none is mistaken for its neighbour.
 */
START_TEST(a_verdict_survives)
{
    fpd_conf conf = {.file = "/etc/fpm.conf"};
    fpd_conf_global *global = &conf.global;
    fpd_conf_global wanted;
    fpd_verdict verdict;
    fpd_verdict back;
    int fd = memfd_create("test", MFD_CLOEXEC | MFD_ALLOW_SEALING);

    for (size_t i = 0; i + sizeof(int32_t) <= sizeof(*global); i += sizeof(int32_t)) {
        int32_t number = (int32_t)(1000 + i);
        memcpy((char *)global + i, &number, sizeof(number));
    }
    global->pid = "/run/x.pid";
    global->error_log = "syslog";
    global->syslog_ident = "x";
    global->events_mechanism = "epoll";
    global->control_socket = "/run/x.ctl";
    conf.pools = apr_array_make(pool, 2, sizeof(fpd_plan_pool *));
    APR_ARRAY_PUSH(conf.pools, fpd_plan_pool *) = sample_plan("a");
    APR_ARRAY_PUSH(conf.pools, fpd_plan_pool *) = sample_plan("b");
    fpd_verdict_clear(&verdict, pool);
    add_message(&verdict, FPD_CONF_WARNING, "look here");
    verdict.conf = &conf;
    verdict.version = "1.2";
    verdict.refusal = "no";
    verdict.exec_error = 2;
    ck_assert_int_eq(fpd_verdict_write(&verdict, fd, pool), APR_SUCCESS);
    ck_assert_int_eq(fpd_verdict_read(&back, fd, pool, pool), APR_SUCCESS);
    close(fd);
    ck_assert_str_eq(back.version, "1.2");
    ck_assert_str_eq(back.refusal, "no");
    ck_assert_int_eq(back.exec_error, 2);
    ck_assert_int_eq(back.messages->nelts, 1);
    ck_assert_str_eq(APR_ARRAY_IDX(back.messages, 0, fpd_conf_message).text, "look here");
    ck_assert_int_eq(back.conf->pools->nelts, 2);
    ck_assert_str_eq(back.conf->file, "/etc/fpm.conf");
    ck_assert_str_eq(back.conf->global.pid, "/run/x.pid");
    ck_assert_str_eq(back.conf->global.error_log, "syslog");
    ck_assert_str_eq(back.conf->global.syslog_ident, "x");
    ck_assert_str_eq(back.conf->global.events_mechanism, "epoll");
    wanted = *global;
    wanted.pid = back.conf->global.pid;
    wanted.error_log = back.conf->global.error_log;
    wanted.syslog_ident = back.conf->global.syslog_ident;
    wanted.events_mechanism = back.conf->global.events_mechanism;
    ck_assert_str_eq(back.conf->global.control_socket, "/run/x.ctl");
    wanted.control_socket = back.conf->global.control_socket;
    ck_assert_mem_eq(&wanted, &back.conf->global, sizeof(wanted));
}
END_TEST

START_TEST(a_verdict_without_pools_is_a_bad_configuration)
{
    fpd_verdict verdict;
    fpd_verdict back;
    int fd = memfd_create("test", MFD_CLOEXEC | MFD_ALLOW_SEALING);

    ck_assert_int_eq(fpd_verdict_read(&back, fd, pool, pool), APR_EGENERAL); /* empty */
    fpd_verdict_clear(&verdict, pool);
    add_message(&verdict, FPD_CONF_ERROR, "line 7");
    ck_assert_int_eq(fpd_verdict_write(&verdict, fd, pool), APR_SUCCESS);
    ck_assert_int_eq(fpd_verdict_read(&back, fd, pool, pool), APR_SUCCESS);
    close(fd);
    ck_assert_ptr_null(back.conf);
    ck_assert_int_eq(back.messages->nelts, 1);
}
END_TEST

static Suite *state_suite(void)
{
    Suite *suite = suite_create("state");
    TCase *cases = tcase_create("bytes");

    tcase_add_checked_fixture(cases, set_up, tear_down);
    tcase_add_test(cases, jobs_and_sockets_of_others_travel);
    tcase_add_test(cases, every_member_survives);
    tcase_add_test(cases, what_is_not_known_is_passed_over);
    tcase_add_test(cases, a_plan_of_another_version_is_understood);
    tcase_add_test(cases, every_cut_is_refused);
    tcase_add_test(cases, broken_bytes_with_a_good_envelope_do_no_harm);
    tcase_add_test(cases, five_thousand_pools_fit);
    tcase_add_test(cases, a_memfd_that_can_change_is_refused);
    tcase_add_test(cases, descriptors_are_claimed_and_strangers_closed);
    tcase_add_test(cases, a_verdict_survives);
    tcase_add_test(cases, a_verdict_without_pools_is_a_bad_configuration);
    suite_add_tcase(suite, cases);
    return suite;
}

UNIT_MAIN(state_suite)

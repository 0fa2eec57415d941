/* test_control.c - the pure parts of the control socket: request line, jobs, what status prints. */
#include "unit.h"

#include <string.h>

#include "apr_general.h"
#include "apr_strings.h"
#include "master/control_line.h"
#include "master/ctl_print.h"
#include "master/jobs.h"

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

/* ---- lines -------------------------------------------------------------------------------- */

START_TEST(lines_that_are_taken)
{
    static const struct {
        const char *line;
        fpd_control_verb verb;
        const char *pool;
        uint64_t job;
    } rows[] = {
        {"status", FPD_CONTROL_STATUS, "", 0},
        {"status www", FPD_CONTROL_STATUS, "www", 0},
        {"ready", FPD_CONTROL_READY, "", 0},
        {"ready www", FPD_CONTROL_READY, "www", 0},
        {"reload", FPD_CONTROL_RELOAD, "", 0},
        {"reload my pool ", FPD_CONTROL_RELOAD, "my pool ", 0},
        {"restart a", FPD_CONTROL_RESTART, "a", 0},
        {"drain a", FPD_CONTROL_DRAIN, "a", 0},
        {"opcache-reset", FPD_CONTROL_OPCACHE_RESET, "", 0},
        {"outcome 42", FPD_CONTROL_OUTCOME, "", 42},
        {"outcome 9999999999999999999", FPD_CONTROL_OUTCOME, "", 9999999999999999999u},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        fpd_control_request request;
        char written[FPD_CONTROL_LINE_MAX + 1];
        ck_assert_ptr_null(fpd_control_line_read(&request, rows[i].line, strlen(rows[i].line)));
        ck_assert_int_eq(request.verb, rows[i].verb);
        ck_assert_str_eq(request.pool, rows[i].pool);
        ck_assert_uint_eq(request.job, rows[i].job);
        ck_assert_uint_eq(fpd_control_line_write(written, &request), strlen(rows[i].line) + 1);
        ck_assert_str_eq(written, apr_pstrcat(pool, rows[i].line, "\n", NULL));
    }
}
END_TEST

START_TEST(lines_that_are_refused)
{
    static const char *const lines[] = {
        "",          "Status",         "statuswww",  " status",
        "status ",   "drain",          "drain ",     "drain a\n",
        "drain \t",  "reload \x1b[2J", "outcome",    "outcome ",
        "outcome x", "outcome 1 ",     "outcome -1", "outcome 10000000000000000000",
        "quit",
    };

    for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
        fpd_control_request request;
        ck_assert_msg(fpd_control_line_read(&request, lines[i], strlen(lines[i])) != NULL, "'%s'",
                      lines[i]);
    }
}
END_TEST

START_TEST(names_of_pools_are_bounded)
{
    fpd_control_request request;
    char line[FPD_CONTROL_LINE_MAX];
    char written[FPD_CONTROL_LINE_MAX + 1];

    memset(line, 'x', sizeof(line));
    memcpy(line, "opcache-reset ", 14);
    ck_assert_ptr_null(fpd_control_line_read(&request, line, 14 + 255));
    ck_assert_uint_eq(fpd_control_line_write(written, &request), 14 + 255 + 1);
    ck_assert_ptr_nonnull(fpd_control_line_read(&request, line, 14 + 256));
    ck_assert_ptr_nonnull(fpd_control_line_read(&request, "drain a\0b", 9));
}
END_TEST

START_TEST(a_command_line_is_held_to_the_same)
{
    fpd_control_request request;

    ck_assert_ptr_null(fpd_control_line_set(&request, "reload", NULL));
    ck_assert_ptr_null(fpd_control_line_set(&request, "drain", "a b"));
    ck_assert_str_eq(request.pool, "a b");
    ck_assert_ptr_nonnull(fpd_control_line_set(&request, "drain", NULL));
    ck_assert_ptr_nonnull(fpd_control_line_set(&request, "drain", ""));
    ck_assert_ptr_nonnull(fpd_control_line_set(&request, "outcome", "1"));
    ck_assert_ptr_nonnull(fpd_control_line_set(&request, "reload", "a\nb"));
}
END_TEST

/* ---- jobs --------------------------------------------------------------------------------- */

START_TEST(jobs_are_found_until_others_need_their_place)
{
    static fpd_jobs jobs;
    fpd_job *first;

    fpd_jobs_init(&jobs, 100);
    first = fpd_jobs_add(&jobs, FPD_CONTROL_DRAIN, "a", 7);
    ck_assert_uint_eq(first->number, 101);
    ck_assert_int_eq(first->state, FPD_JOB_RUNNING);
    ck_assert_ptr_null(fpd_jobs_find(&jobs, 100));
    for (int i = 1; i < FPD_JOBS_KEPT; i++) {
        ck_assert_ptr_nonnull(fpd_jobs_add(&jobs, FPD_CONTROL_RESTART, "", 7));
    }
    ck_assert_ptr_null(fpd_jobs_add(&jobs, FPD_CONTROL_RESTART, "", 7));
    fpd_job_end(first, 1, "line\n%s", "two");
    ck_assert_ptr_eq(fpd_jobs_find(&jobs, 101), first);
    ck_assert_str_eq(first->outcome, "line?two");
    ck_assert_ptr_eq(fpd_jobs_add(&jobs, FPD_CONTROL_RELOAD, "", 7), first);
    ck_assert_ptr_null(fpd_jobs_find(&jobs, 101));
    ck_assert_int_eq(first->state, FPD_JOB_QUEUED);
    ck_assert_str_eq(first->outcome, "");
}
END_TEST

START_TEST(notes_are_whole_lines_or_nothing)
{
    static fpd_jobs jobs;
    fpd_job *job;

    fpd_jobs_init(&jobs, 1);
    job = fpd_jobs_add(&jobs, FPD_CONTROL_RELOAD, "", 7);
    for (int i = 0; i < 1000; i++) {
        fpd_job_note(job, "pool '%d' \n says", i);
    }
    ck_assert_uint_lt(strlen(job->note), sizeof(job->note));
    ck_assert_int_eq(job->note[strlen(job->note) - 1], '\n');
    ck_assert_int_eq(strncmp(job->note, "pool '0' ? says\npool '1'", 24), 0);
}
END_TEST

/* "1:www 2: 3:shop": queued reloads; returns the numbers that the next test is for. */
static const char *tested(const char *queued, int is_whole, const char **name)
{
    static fpd_jobs jobs;
    const char *result = "";
    char *state;
    char *word = apr_strtok(apr_pstrdup(pool, queued), " ", &state);

    fpd_jobs_init(&jobs, 0);
    for (; word != NULL; word = apr_strtok(NULL, " ", &state)) {
        (void)fpd_jobs_add(&jobs, FPD_CONTROL_RELOAD, strchr(word, ':') + 1, 7);
    }
    *name = "nothing";
    if (!fpd_jobs_begin_test(&jobs, is_whole, name)) {
        return "none";
    }
    for (int i = 0; i < FPD_JOBS_KEPT; i++) {
        if (jobs.jobs[i].state == FPD_JOB_TESTING) {
            result = apr_psprintf(pool, "%s %d", result, (int)jobs.jobs[i].number);
        }
    }
    return result;
}

START_TEST(one_test_serves_all_reloads_that_it_can)
{
    const char *name;

    ck_assert_str_eq(tested("", 0, &name), "none");
    ck_assert_str_eq(tested("", 1, &name), "");
    ck_assert_str_eq(name, "");
    ck_assert_str_eq(tested("1:www 2:shop 3:www", 0, &name), " 1 3");
    ck_assert_str_eq(name, "www");
    ck_assert_str_eq(tested("1:www 2: 3:shop", 0, &name), " 1 2 3");
    ck_assert_str_eq(name, "");
    ck_assert_str_eq(tested("1:www 2:shop", 1, &name), " 1 2");
    ck_assert_str_eq(name, "");
}
END_TEST

/* ---- what is printed ---------------------------------------------------------------------- */

static apr_array_header_t *one_pool(const char *line)
{
    apr_array_header_t *pools = apr_array_make(pool, 1, sizeof(fpd_ctl_row));

    fpd_ctl_row_read(apr_array_push(pools), line, pool);
    return pools;
}

START_TEST(json_is_valid_whatever_the_fields_hold)
{
    fpd_ctl_row daemon;
    const char *text;

    fpd_ctl_row_read(&daemon, "7\t0.1\tserving\t5\t/etc/\"x\"\\y\t1\t2\t3\t4\t1\t1", pool);
    text = fpd_ctl_print_json(&daemon,
                              one_pool("12\tfailed\t0\t-1\tx\t1\t1\t1\t1\t1\t1\t1\t1\t1\t1\t/a"
                                       "\tsaid \x1b[2J \xff \xe2\x82\xac \xed\xa0\x80 \xc2\x9b"),
                              pool);
    ck_assert_str_eq(
        text,
        "{\"pid\":7,\"version\":\"0.1\",\"state\":\"serving\",\"up\":5,\"config\":\"/etc/"
        "\\\"x\\\"\\\\y\",\"active\":1,\"idle\":2,\"requests\":3,\"slow\":4,\"pool_count\":1,"
        "\"serving_count\":1,\"pools\":[{\"name\":\"12\",\"state\":\"failed\",\"pid\":0,\"up\":"
        "\"-1\",\"active\":\"x\",\"idle\":1,\"max\":1,\"queue\":1,\"max_queue\":1,\"requests\":1,"
        "\"slow\":1,\"refused\":1,\"connections\":1,\"generations\":1,\"draining\":1,\"listen\":"
        "\"/a\",\"reason\":\"said \\u001b[2J \xef\xbf\xbd \xe2\x82\xac "
        "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd \\u009b\"}]}\n");
}
END_TEST

START_TEST(a_terminal_obeys_nothing_of_a_table)
{
    fpd_ctl_row daemon;
    const char *text;

    fpd_ctl_row_read(&daemon, "7\t0.1\tserving\t90061\t/etc/x\t1\t2\t3\t4\t1\t1", pool);
    text = fpd_ctl_print_table(&daemon,
                               one_pool("w\xc3\xb6\tserving\t12\t61\t1\t2\t10\t0\t0\t9\t0\t0\t0\t3"
                                        "\t2\t/run/w.sock\t\x1b[2J\xc2\x9b"),
                               pool);
    ck_assert_ptr_nonnull(strstr(text, "up 1d 1h, /etc/x\n"));
    ck_assert_ptr_nonnull(
        strstr(text, "\nw\xc3\xb6    serving   12  1m 1s       1     2   10      0         9     0"
                     "  /run/w.sock  [2 old generations still finish]  ?[2J?\n"));
}
END_TEST

static Suite *control_suite(void)
{
    Suite *suite = suite_create("control");
    TCase *cases = tcase_create("control");

    tcase_add_checked_fixture(cases, set_up, tear_down);
    tcase_add_test(cases, lines_that_are_taken);
    tcase_add_test(cases, lines_that_are_refused);
    tcase_add_test(cases, names_of_pools_are_bounded);
    tcase_add_test(cases, a_command_line_is_held_to_the_same);
    tcase_add_test(cases, jobs_are_found_until_others_need_their_place);
    tcase_add_test(cases, notes_are_whole_lines_or_nothing);
    tcase_add_test(cases, one_test_serves_all_reloads_that_it_can);
    tcase_add_test(cases, json_is_valid_whatever_the_fields_hold);
    tcase_add_test(cases, a_terminal_obeys_nothing_of_a_table);
    suite_add_tcase(suite, cases);
    return suite;
}

UNIT_MAIN(control_suite)

/* test_fpmp_names.c - names that are found at run time: entries that children share, take from each
 * other and leave behind when they are killed; places in one child. */
#include "unit.h"

#include "fpmp_names.h"

#include <apr_general.h>
#include <apr_strings.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#define ROWS    16
#define ENTRIES 4
#define PLACES  600

static apr_pool_t *memory;
static fpmp_share *share;
static fpmp_records records;
static char folder[40];
static int listener;

static void open_with(int entries)
{
    fpmp_share_keys keys = {NULL, 0, NULL, 0, entries, PLACES, 0};
    ck_assert_int_eq(fpmp_share_open(&share, memory, memory, ROWS, &keys, &records), APR_SUCCESS);
}

static void set_up(void)
{
    ck_assert_int_eq(apr_initialize(), APR_SUCCESS);
    ck_assert_int_eq(apr_pool_create(&memory, NULL), APR_SUCCESS);
    strcpy(folder, "/tmp/fpmpool-test-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(folder));
    struct sockaddr_un name = {.sun_family = AF_UNIX};
    snprintf(name.sun_path, sizeof(name.sun_path), "%s/all", folder);
    listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ck_assert_int_eq(bind(listener, (struct sockaddr *)&name, sizeof(name)), 0);
    open_with(ENTRIES);
}

/* The socket of this name, a link to the one that is there. */
static void link_name(const char *name, int is_there)
{
    char path[120];
    snprintf(path, sizeof(path), "%s/%s.sock", folder, name);
    ck_assert_int_eq(is_there ? symlink("all", path) : unlink(path), 0);
}

static void tear_down(void)
{
    close(listener);
    unlink(apr_pstrcat(memory, folder, "/all", NULL));
    rmdir(folder);
    share = NULL;
    apr_pool_destroy(memory);
    apr_terminate();
}

static int hold(const char *name, int row, uint64_t now)
{
    return fpmp_share_hold(share, name, row, 1000 + row, now, -1);
}

static int enter(int row)
{
    ck_assert_int_eq(fpmp_share_enter(share, 1000 + row), row);
    return row;
}

/* ---- entries --------------------------------------------------------------------------------- */

START_TEST(children_share_an_entry)
{
    int one = enter(0);
    int other = enter(1);
    int entry = hold("a", one, 1);
    char name[FPMP_POOL_NAME_MAX + 1];
    ck_assert_int_ge(entry, 0);
    ck_assert_int_eq(hold("a", other, 2), entry);
    ck_assert_int_ne(hold("b", other, 2), entry);
    ck_assert_int_eq(fpmp_share_hold(share, "a", one, 1000, 3, entry), entry); /* by its hint */
    ck_assert_int_eq(fpmp_share_hold(share, "a", one, 1000, 3, 3), entry);     /* a wrong one */
    ck_assert_int_eq(fpmp_share_is_of(share, entry, "a"), 1);
    ck_assert_int_eq(fpmp_share_is_of(share, entry, "b"), 0);
    ck_assert_int_eq(fpmp_share_read_name(share, entry, name), 1);
    ck_assert_str_eq(name, "a");
    ck_assert_int_eq(fpmp_share_read_name(share, ENTRIES, name), 0);
    ck_assert_int_eq(hold("a", FPMP_NO_ROW, 1), -1);
}
END_TEST

START_TEST(the_one_that_was_not_wanted_for_longest_goes_and_begins_anew)
{
    static const char *const names[] = {"a", "b", "c", "d"};
    int row = enter(0);
    int entry[ENTRIES];
    for (int i = 0; i < ENTRIES; i++) {
        entry[i] = hold(names[i], row, 10 + (uint64_t)i);
        fpmp_record *server = fpmp_share_named_server(share, entry[i]);
        fpmp_counters_add(&server->counters, "ok", 1, 1);
        atomic_store(&server->health, 77);
    }
    ck_assert_int_eq(hold("e", row, 20), -1); /* all are held */
    fpmp_share_let_go(share, entry[2], row);
    fpmp_share_let_go(share, entry[1], row);
    ck_assert_int_eq(hold("e", row, 21), entry[1]);
    fpmp_count count;
    fpmp_counters_read(&fpmp_share_named_server(share, entry[1])->counters, &count);
    ck_assert_uint_eq(count.requests, 0);
    ck_assert_uint_eq(atomic_load(&fpmp_share_named_server(share, entry[1])->health), 0);
    ck_assert_int_eq(hold("c", row, 22), entry[2]); /* what nobody needed is still there */
    ck_assert_uint_eq(atomic_load(&fpmp_share_named_server(share, entry[2])->health), 77);
}
END_TEST

START_TEST(what_a_killed_child_held_is_free)
{
    int row = enter(0);
    static const char *const names[] = {"a", "b", "c", "d"};
    pid_t child = fork();
    if (!child) {
        int own = fpmp_share_enter(share, getpid());
        for (int i = 0; i < ENTRIES; i++) {
            int entry = fpmp_share_hold(share, names[i], own, getpid(), 1, -1);
            fpmp_share_count(fpmp_share_named_server(share, entry)->in_flight, own, 1);
            fpmp_share_count(fpmp_share_named_pool(share, entry)->in_flight, own, 1);
        }
        raise(SIGKILL);
    }
    waitpid(child, NULL, 0);
    ck_assert_int_eq(hold("e", row, 2), -1);
    fpmp_share_leave(share, child);
    int entry = hold("e", row, 2);
    ck_assert_int_ge(entry, 0);
    ck_assert_uint_eq(fpmp_share_sum(share, fpmp_share_named_server(share, entry)->in_flight), 0);
    ck_assert_uint_eq(fpmp_share_sum(share, fpmp_share_named_pool(share, entry)->in_flight), 0);
}
END_TEST

START_TEST(names_survive_another_size)
{
    int row = enter(0);
    int entry = hold("a", row, 1);
    atomic_store(&fpmp_share_named_server(share, entry)->health, 77);
    open_with(ENTRIES);
    ck_assert_int_eq(hold("a", row, 1), entry); /* the same memory */
    open_with(100);
    row = enter(0);
    entry = hold("a", row, 2);
    ck_assert_uint_eq(atomic_load(&fpmp_share_named_server(share, entry)->health), 77);
    open_with(2);
    row = enter(0);
    entry = hold("a", row, 2);
    ck_assert_uint_eq(atomic_load(&fpmp_share_named_server(share, entry)->health), 77);
    open_with(0);
    ck_assert_int_eq(hold("a", enter(0), 2), -1);
}
END_TEST

/* Many children want more names than there are entries, count in them and are killed meanwhile. In
 * the end each name has one entry at most, and nothing is held. */
static void storm(int own)
{
    unsigned random = (unsigned)own * 7919 + 1;
    for (int i = 0; i < 20000; i++) {
        char name[16];
        random = random * 1664525 + 1013904223;
        snprintf(name, sizeof(name), "n%u", (random >> 16) % (3 * ENTRIES));
        int entry = fpmp_share_hold(share, name, own, getpid(), (uint64_t)i, -1);
        if (entry < 0) {
            continue;
        }
        fpmp_cell *cells = fpmp_share_named_server(share, entry)->in_flight;
        fpmp_share_count(cells, own, 1);
        if (i % 7 == 0) {
            usleep(1);
        }
        fpmp_share_count(cells, own, -1);
        fpmp_share_let_go(share, entry, own);
    }
}

START_TEST(a_storm_leaves_nothing_behind)
{
    pid_t child[8];
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < 8; i++) {
            child[i] = fork();
            if (child[i] == 0) {
                storm(fpmp_share_enter(share, getpid()));
                _exit(0);
            }
        }
        for (int i = 0; i < 4; i++) {
            usleep(2000);
            kill(child[i], SIGKILL);
        }
        for (int i = 0; i < 8; i++) {
            waitpid(child[i], NULL, 0);
            fpmp_share_leave(share, child[i]);
        }
        char seen[ENTRIES][FPMP_POOL_NAME_MAX + 1];
        for (int i = 0; i < ENTRIES; i++) {
            ck_assert_int_eq(fpmp_share_read_name(share, i, seen[i]), 1);
            for (int other = 0; other < i; other++) {
                ck_assert(!*seen[i] || strcmp(seen[i], seen[other]) != 0);
            }
            ck_assert_uint_eq(fpmp_share_sum(share, fpmp_share_named_server(share, i)->in_flight),
                              0);
        }
        int row = fpmp_share_enter(share, 5000);
        int entry[ENTRIES];
        for (int i = 0; i < ENTRIES; i++) { /* all can be had, so none is claimed or held */
            char name[16];
            snprintf(name, sizeof(name), "fresh%d", i);
            entry[i] = fpmp_share_hold(share, name, row, 5000, 100000, -1);
            ck_assert_int_ge(entry[i], 0);
        }
        fpmp_share_leave(share, 5000);
    }
}
END_TEST

/* ---- places of a child ----------------------------------------------------------------------- */

static fpmp_pool defaults;
static fpmp_names *names_of_child;
static fpmp_connections *connections;

static void make_names(int entries)
{
    open_with(entries);
    int row = fpmp_share_enter(share, getpid());
    defaults.timeouts.first = 5;
    ck_assert_int_eq(fpmp_conn_create(&connections, memory, NULL, PLACES, 1), APR_SUCCESS);
    fpmp_names_base base = {folder,   &defaults, entries < PLACES ? entries : PLACES,
                            0,        0,         share,
                            &records, row,       connections};
    ck_assert_int_eq(fpmp_names_create(&names_of_child, &base, 1), APR_SUCCESS);
}

static const fpmp_pool *take(const char *name)
{
    const fpmp_pool *pool = NULL;
    ck_assert_int_eq(fpmp_names_take(names_of_child, name, &pool), FPMP_NAMES_OK);
    return pool;
}

START_TEST(a_name_is_its_socket)
{
    static const struct {
        const char *name;
        fpmp_names_result result;
    } cases[] = {{"a.example", FPMP_NAMES_OK},  {"absent", FPMP_NAMES_ABSENT},
                 {"folder", FPMP_NAMES_ABSENT}, {"", FPMP_NAMES_INVALID},
                 {".", FPMP_NAMES_INVALID},     {"..", FPMP_NAMES_INVALID},
                 {"a/b", FPMP_NAMES_INVALID},   {"../all", FPMP_NAMES_INVALID},
                 {"a b", FPMP_NAMES_INVALID},   {"a\n", FPMP_NAMES_INVALID}};
    make_names(8);
    link_name("a.example", 1);
    const char *directory = apr_pstrcat(memory, folder, "/folder.sock", NULL);
    ck_assert_int_eq(mkdir(directory, 0700), 0);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const fpmp_pool *pool = NULL;
        ck_assert_int_eq(fpmp_names_take(names_of_child, cases[i].name, &pool), cases[i].result);
        ck_assert(!pool == (cases[i].result != FPMP_NAMES_OK));
        if (pool) {
            ck_assert_str_eq(pool->name, "a.example");
            ck_assert_int_eq(pool->timeouts.first, 5);
            ck_assert_str_eq(pool->servers[0].address.path,
                             apr_pstrcat(memory, folder, "/a.example.sock", NULL));
            fpmp_names_release(names_of_child, pool);
        }
    }
    rmdir(directory);
    link_name("a.example", 0);
}
END_TEST

START_TEST(a_path_that_is_too_long_is_refused)
{
    fpmp_pool pool;
    fpmp_server server;
    fpmp_names_label label;
    char directory[FPMP_SOCKET_PATH_MAX + 1];
    memset(directory, 'd', sizeof(directory));
    for (size_t length = FPMP_SOCKET_PATH_MAX - 10; length < FPMP_SOCKET_PATH_MAX; length++) {
        directory[0] = '/';
        directory[length] = '\0';
        int is_good = fpmp_names_describe(directory, &defaults, "a", label, &pool, &server);
        ck_assert_int_eq(is_good, length + strlen("/a.sock") <= FPMP_SOCKET_PATH_MAX);
        ck_assert(!is_good || strlen(server.address.path) == length + strlen("/a.sock"));
        directory[length] = 'd';
    }
}
END_TEST

START_TEST(places_are_used_again_and_stay_while_they_are_used)
{
    enum { NAMES = 3 * FPMP_NAMES_KEPT };
    make_names(PLACES);
    char name[16];
    link_name("busy", 1);
    const fpmp_pool *busy = take("busy");
    int highest = 0;
    for (int round = 0; round < 2; round++) {
        for (int i = 0; i < NAMES; i++) {
            snprintf(name, sizeof(name), "n%d", i);
            if (round == 0) {
                link_name(name, 1);
            }
            const fpmp_pool *pool = take(name);
            ck_assert_str_eq(pool->name, name);
            ck_assert_ptr_ne(pool, busy);
            ck_assert_ptr_nonnull(records.pools[pool->index]);
            ck_assert_int_eq(pool->index, pool->servers[0].index);
            highest = pool->index > highest ? pool->index : highest;
            fpmp_names_release(names_of_child, pool);
        }
    }
    ck_assert_int_lt(highest, FPMP_NAMES_KEPT);
    ck_assert_str_eq(busy->name, "busy");
    ck_assert_ptr_eq(take("busy"), busy);
    for (int i = 0; i < NAMES; i++) {
        snprintf(name, sizeof(name), "n%d", i);
        link_name(name, 0);
    }
    link_name("busy", 0);
    ck_assert_ptr_eq(take("busy"),
                     busy); /* it is known, whether its server answers is seen later */
}
END_TEST

START_TEST(all_in_use_is_full)
{
    make_names(3);
    static const char *const names[] = {"a", "b", "c", "d"};
    const fpmp_pool *pool[4];
    for (int i = 0; i < 4; i++) {
        link_name(names[i], 1);
    }
    for (int i = 0; i < 3; i++) {
        pool[i] = take(names[i]);
    }
    ck_assert_int_eq(fpmp_names_take(names_of_child, "d", &pool[3]), FPMP_NAMES_FULL);
    ck_assert_ptr_null(pool[3]);
    fpmp_names_release(names_of_child, pool[1]);
    ck_assert_str_eq(take("d")->name, "d");
    ck_assert_int_eq(fpmp_names_take(names_of_child, "b", &pool[3]), FPMP_NAMES_FULL);
    for (int i = 0; i < 4; i++) {
        link_name(names[i], 0);
    }
}
END_TEST

static void *take_many(void *data)
{
    unsigned random = (unsigned)(uintptr_t)data;
    long failures = 0;
    for (int i = 0; i < 3000; i++) {
        char name[16];
        const fpmp_pool *pool = NULL;
        random = random * 1664525 + 1013904223;
        snprintf(name, sizeof(name), "n%u", (random >> 16) % 20);
        if (fpmp_names_take(names_of_child, name, &pool) != FPMP_NAMES_OK) {
            failures++;
            continue;
        }
        failures += strcmp(pool->name, name) != 0;
        fpmp_names_release(names_of_child, pool);
    }
    return (void *)(uintptr_t)failures;
}

START_TEST(threads_get_the_pool_of_their_name)
{
    make_names(8);
    pthread_t thread[4];
    char name[16];
    for (int i = 0; i < 20; i++) {
        snprintf(name, sizeof(name), "n%d", i);
        link_name(name, 1);
    }
    for (uintptr_t i = 0; i < 4; i++) {
        ck_assert_int_eq(pthread_create(&thread[i], NULL, take_many, (void *)(i + 1)), 0);
    }
    for (int i = 0; i < 4; i++) {
        void *failures = NULL;
        pthread_join(thread[i], &failures);
        ck_assert_ptr_null(failures);
    }
    for (int i = 0; i < 20; i++) {
        snprintf(name, sizeof(name), "n%d", i);
        link_name(name, 0);
    }
}
END_TEST

static Suite *names_suite(void)
{
    Suite *suite = suite_create("fpmp_names");
    TCase *entries = tcase_create("entries");
    TCase *places = tcase_create("places");
    tcase_set_timeout(entries, 60);
    tcase_add_checked_fixture(entries, set_up, tear_down);
    tcase_add_test(entries, children_share_an_entry);
    tcase_add_test(entries, the_one_that_was_not_wanted_for_longest_goes_and_begins_anew);
    tcase_add_test(entries, what_a_killed_child_held_is_free);
    tcase_add_test(entries, names_survive_another_size);
    tcase_add_test(entries, a_storm_leaves_nothing_behind);
    suite_add_tcase(suite, entries);
    tcase_set_timeout(places, 60);
    tcase_add_checked_fixture(places, set_up, tear_down);
    tcase_add_test(places, a_name_is_its_socket);
    tcase_add_test(places, a_path_that_is_too_long_is_refused);
    tcase_add_test(places, places_are_used_again_and_stay_while_they_are_used);
    tcase_add_test(places, all_in_use_is_full);
    tcase_add_test(places, threads_get_the_pool_of_their_name);
    suite_add_tcase(suite, places);
    return suite;
}

UNIT_MAIN(names_suite)

/* test_fpmp_root.c - document roots with their symbolic links resolved. */
#include "unit.h"

#include "fpmp_root.h"

#include <apr_general.h>
#include <apr_strings.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static apr_pool_t *memory;
static fpmp_roots *roots;
static char folder[40];

static const char *in_folder(const char *name)
{
    return apr_pstrcat(memory, folder, "/", name, NULL);
}

static void link_to(const char *target, const char *name)
{
    unlink(in_folder(name));
    ck_assert_int_eq(symlink(target, in_folder(name)), 0);
}

static void set_up(void)
{
    ck_assert_int_eq(apr_initialize(), APR_SUCCESS);
    ck_assert_int_eq(apr_pool_create(&memory, NULL), APR_SUCCESS);
    strcpy(folder, "/tmp/fpmpool-test-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(folder));
    ck_assert_int_eq(mkdir(in_folder("one"), 0755), 0);
    ck_assert_int_eq(mkdir(in_folder("one/public"), 0755), 0);
    ck_assert_int_eq(mkdir(in_folder("two"), 0755), 0);
    ck_assert_int_eq(mkdir(in_folder("two/public"), 0755), 0);
    link_to("one", "current");
    ck_assert_int_eq(fpmp_root_create(&roots, 1), APR_SUCCESS);
}

static void tear_down(void)
{
    static const char *const names[] = {"one/public", "one", "two/public", "two", NULL};
    for (int i = 0; names[i]; i++) {
        rmdir(in_folder(names[i]));
    }
    unlink(in_folder("current"));
    rmdir(folder);
    apr_pool_destroy(memory);
    apr_terminate();
}

START_TEST(test_a_link_is_followed_where_it_leads_now)
{
    const char *root = in_folder("current/public");
    for (int round = 0; round < 3; round++) {
        link_to("one", "current");
        ck_assert_str_eq(fpmp_root_resolve(roots, root, memory), in_folder("one/public"));
        ck_assert_str_eq(fpmp_root_resolve(roots, root, memory), in_folder("one/public"));
        link_to("two", "current");
        ck_assert_str_eq(fpmp_root_resolve(roots, root, memory), in_folder("two/public"));
    }
}
END_TEST

START_TEST(test_nothing_to_resolve)
{
    ck_assert_ptr_null(fpmp_root_resolve(roots, in_folder("one/public"), memory));
    ck_assert_ptr_null(fpmp_root_resolve(roots, in_folder("one/public"), memory));
    ck_assert_ptr_null(fpmp_root_resolve(roots, in_folder("none"), memory));
    ck_assert_ptr_null(fpmp_root_resolve(roots, "", memory));
}
END_TEST

/* More than the table remembers. */
START_TEST(test_many_roots)
{
    for (int i = 0; i < 3000; i++) {
        const char *name = apr_psprintf(memory, "l%d", i);
        link_to("one", name);
        ck_assert_str_eq(fpmp_root_resolve(roots, in_folder(name), memory), in_folder("one"));
        unlink(in_folder(name));
    }
    ck_assert_str_eq(fpmp_root_resolve(roots, in_folder("current"), memory), in_folder("one"));
}
END_TEST

static Suite *root_suite(void)
{
    Suite *suite = suite_create("fpmp_root");
    TCase *cases = tcase_create("root");
    tcase_add_checked_fixture(cases, set_up, tear_down);
    tcase_add_test(cases, test_a_link_is_followed_where_it_leads_now);
    tcase_add_test(cases, test_nothing_to_resolve);
    tcase_add_test(cases, test_many_roots);
    suite_add_tcase(suite, cases);
    return suite;
}

UNIT_MAIN(root_suite)

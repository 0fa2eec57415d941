/* test_apparmor.c - what is read from and written to the kernel's attribute files, which a folder
 * of the test stands in for: most machines have no AppArmor. */
#include "unit.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "apr_general.h"
#include "base/apparmor.h"

static apr_pool_t *pool;
static char folder[] = "/tmp/fpmpool-test-XXXXXX";
static char path[256];

static void set_up(void)
{
    ck_assert_int_eq(apr_initialize(), APR_SUCCESS);
    ck_assert_int_eq(apr_pool_create(&pool, NULL), APR_SUCCESS);
    strcpy(folder + strlen(folder) - 6, "XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(folder));
}

static void tear_down(void)
{
    (void)unlink(path);
    snprintf(path, sizeof(path), "%s/apparmor", folder);
    (void)rmdir(path);
    (void)rmdir(folder);
    apr_pool_destroy(pool);
    apr_terminate();
}

/* The attribute file, as the kernel shows it: in AppArmor's own folder, or the one for all. */
static void show(const char *text, int has_own_folder)
{
    snprintf(path, sizeof(path), "%s/apparmor", folder);
    if (has_own_folder) {
        ck_assert_int_eq(mkdir(path, 0700), 0);
    }
    snprintf(path, sizeof(path), has_own_folder ? "%s/apparmor/current" : "%s/current", folder);
    FILE *file = fopen(path, "w");
    ck_assert_ptr_nonnull(file);
    ck_assert_int_ge(fputs(text, file), 0);
    fclose(file);
}

static void expect_order(const char *wanted)
{
    char text[256] = "";
    FILE *file = fopen(path, "r");

    ck_assert_ptr_nonnull(file);
    ck_assert_ptr_nonnull(fgets(text, sizeof(text), file));
    fclose(file);
    text[strlen(wanted)] = '\0'; /* a file keeps what was longer, an attribute does not */
    ck_assert_str_eq(text, wanted);
}

START_TEST(profile_is_read_without_its_mode)
{
    static const struct {
        const char *shown;
        const char *profile;
    } cases[] = {
        {"/usr/sbin/fpmpoold (enforce)\n", "/usr/sbin/fpmpoold"},
        {"php-fpm (complain)\n", "php-fpm"},
        {"php-fpm//web (enforce)", "php-fpm//web"},
        {"unconfined\n", "unconfined"},
        {"a name (with words) (enforce)\n", "a name (with words)"},
        {"odd(name)\n", "odd(name)"},
    };
    const char *profile = NULL;
    const char *failure = NULL;

    show(cases[_i].shown, _i % 2);
    ck_assert_int_eq(fpd_apparmor_profile(&profile, &failure, folder, pool), APR_SUCCESS);
    ck_assert_str_eq(profile, cases[_i].profile);
}
END_TEST

START_TEST(hat_is_below_the_profile)
{
    const char *failure = NULL;

    show("php-fpm (enforce)\n", _i);
    ck_assert_int_eq(fpd_apparmor_enter("shop", &failure, folder, pool), APR_SUCCESS);
    ck_assert_ptr_null(failure);
    expect_order("changeprofile php-fpm//shop");
}
END_TEST

START_TEST(kernel_without_apparmor_is_told_in_php_fpms_words)
{
    const char *failure = NULL;

    ck_assert_int_eq(fpd_apparmor_enter("shop", &failure, folder, pool), ENOENT);
    ck_assert_str_eq(failure, "failed to query apparmor confinement. Please check if "
                              "\"/proc/*/attr/current\" is read and writeable.");
    show("", 0);
    ck_assert_int_eq(fpd_apparmor_enter("shop", &failure, folder, pool), ENODATA);
}
END_TEST

START_TEST(change_that_is_not_allowed_names_the_rule)
{
    const char *failure = NULL;
    const char *profile = NULL;

    show("php-fpm (enforce)\n", 0);
    ck_assert_int_eq(fpd_apparmor_profile(&profile, &failure, folder, pool), APR_SUCCESS);
    ck_assert_int_eq(unlink(path), 0);
    ck_assert_int_eq(symlink("/dev/full", path), 0); /* takes no order, and reads as zeros */
    ck_assert_int_eq(fpd_apparmor_enter("shop", &failure, folder, pool), ENOSPC);
    ck_assert_str_eq(failure, "failed to change to new confinement (//shop). Please check if "
                              "\"/proc/*/attr/current\" is read and writeable and "
                              "\"change_profile -> //*\" is allowed.");
}
END_TEST

static Suite *apparmor_suite(void)
{
    Suite *suite = suite_create("apparmor");
    TCase *cases = tcase_create("attributes");

    tcase_add_checked_fixture(cases, set_up, tear_down);
    tcase_add_loop_test(cases, profile_is_read_without_its_mode, 0, 6);
    tcase_add_loop_test(cases, hat_is_below_the_profile, 0, 2);
    tcase_add_test(cases, kernel_without_apparmor_is_told_in_php_fpms_words);
    tcase_add_test(cases, change_that_is_not_allowed_names_the_rule);
    suite_add_tcase(suite, cases);
    return suite;
}

UNIT_MAIN(apparmor_suite)

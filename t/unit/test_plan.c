/* test_plan.c - what a new configuration asks for, as a table. */
#include "unit.h"

#include <string.h>

#include "apr_general.h"
#include "apr_strings.h"
#include "master/plan.h"

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

/* "name=listen:children ..." as an array of plans. */
static apr_array_header_t *pools_of(const char *text)
{
    apr_array_header_t *plans = apr_array_make(pool, 4, sizeof(fpd_plan_pool *));
    char *state;
    char *word = apr_strtok(apr_pstrdup(pool, text), " ", &state);

    for (; word != NULL; word = apr_strtok(NULL, " ", &state)) {
        fpd_plan_pool *plan = fpd_plan_pool_create(pool);
        char *listen = strchr(word, '=');
        char *children = strchr(word, ':');
        *listen = *children = '\0';
        plan->name = word;
        plan->listen = listen + 1;
        plan->max_children = atoi(children + 1);
        APR_ARRAY_PUSH(plans, fpd_plan_pool *) = plan;
    }
    return plans;
}

static const char *actions_of(const char *old_text, const char *new_text, int replace_all)
{
    static const char *const kinds[] = {"keep", "start", "replace", "stop"};
    apr_array_header_t *actions =
        fpd_plan_compare(pools_of(old_text), pools_of(new_text), replace_all, pool);
    const char *result = "";

    for (int i = 0; i < actions->nelts; i++) {
        const fpd_plan_action *action = &APR_ARRAY_IDX(actions, i, fpd_plan_action);
        ck_assert_int_eq(action->plan == NULL, action->kind == FPD_PLAN_STOP);
        result = apr_pstrcat(pool, result, *result != '\0' ? " " : "", kinds[action->kind], "-",
                             action->name, action->has_new_listener ? "+listener" : "", NULL);
    }
    return result;
}

START_TEST(table)
{
    static const struct {
        const char *before, *after;
        int replace_all;
        const char *actions;
    } rows[] = {
        {"", "a=/a:1", 0, "start-a+listener"},
        {"a=/a:1", "a=/a:1", 0, "keep-a"},
        {"a=/a:1", "a=/a:1", 1, "replace-a"},
        {"a=/a:1", "a=/a:2", 0, "replace-a"},
        {"a=/a:1", "a=/b:1", 0, "replace-a+listener"},
        {"a=/a:1", "b=/b:1", 0, "stop-a start-b+listener"},
        /* an address that moves from one pool to another is free before it is bound again */
        {"a=/x:1 c=/c:1", "b=/x:1 c=/c:1", 0, "stop-a start-b+listener keep-c"},
        {"a=/a:1 b=/b:1", "b=/b:1 a=/a:1", 0, "keep-b keep-a"},
        {"a=/a:1 b=/b:1", "b=/b:3", 1, "stop-a replace-b"},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        ck_assert_str_eq(actions_of(rows[i].before, rows[i].after, rows[i].replace_all),
                         rows[i].actions);
    }
}
END_TEST

static Suite *plan_suite(void)
{
    Suite *suite = suite_create("plan");
    TCase *cases = tcase_create("compare");

    tcase_add_checked_fixture(cases, set_up, tear_down);
    tcase_add_test(cases, table);
    suite_add_tcase(suite, cases);
    return suite;
}

UNIT_MAIN(plan_suite)

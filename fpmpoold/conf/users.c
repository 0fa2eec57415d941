/* users.c - users and groups of pools, and findings that concern one pool.
 *
 * Runs in the master or in the child that tests a configuration. Asks the user database; changes
 * nothing.
 */
#include "conf/users.h"

#include <grp.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "apr_strings.h"

void fpd_users_say(fpd_parse *parse, fpd_conf_severity severity, const fpd_plan_pool *plan,
                   const char *key, const char *format, ...)
{
    va_list arguments;
    const char *text;

    va_start(arguments, format);
    text = apr_pvsprintf(parse->pool, format, arguments);
    va_end(arguments);
    fpd_parse_say(parse, severity, 0, key, "[pool %s] %s", plan->name, text);
}

int fpd_users_is_number(const char *text)
{
    return *text != '\0' && text[strspn(text, "0123456789")] == '\0';
}

void fpd_users_fail(fpd_parse *parse, fpd_plan_pool *plan, const char *key, const char *reason)
{
    if (plan->failure == NULL) {
        plan->failure = reason;
    }
    parse->conf->has_failed_pools = 1;
    fpd_users_say(parse, FPD_CONF_ERROR, plan, key, "%s", reason);
    parse->error_count--; /* the other pools can serve */
}

static void resolve_user(fpd_parse *parse, fpd_plan_pool *plan)
{
    const struct passwd *user;

    if (*plan->user == '\0') { /* php-fpm stays root then, and refuses that */
        plan->uid = plan->gid = 0;
        return;
    }
    if (fpd_users_is_number(plan->user)) {
        plan->uid = atoi(plan->user);
        user = getpwuid((uid_t)plan->uid);
        plan->gid = user != NULL ? (int32_t)user->pw_gid : 0;
        return;
    }
    user = getpwnam(plan->user);
    if (user == NULL) {
        fpd_users_fail(parse, plan, "user",
                       apr_psprintf(parse->pool, "cannot get uid for user '%s'", plan->user));
        return;
    }
    plan->uid = (int32_t)user->pw_uid;
    plan->gid = (int32_t)user->pw_gid;
    plan->user_name = apr_pstrdup(parse->pool, user->pw_name);
    plan->user_home = apr_pstrdup(parse->pool, user->pw_dir);
}

static void resolve_group(fpd_parse *parse, fpd_plan_pool *plan)
{
    const struct group *group;

    if (fpd_users_is_number(plan->group)) {
        plan->gid = atoi(plan->group);
        return;
    }
    group = getgrnam(plan->group);
    if (group == NULL) {
        fpd_users_fail(parse, plan, "group",
                       apr_psprintf(parse->pool, "cannot get gid for group '%s'", plan->group));
        return;
    }
    plan->gid = (int32_t)group->gr_gid;
}

static void say_ignored(fpd_parse *parse, const fpd_plan_pool *plan, const char *key, int is_set)
{
    if (is_set) {
        fpd_users_say(parse, FPD_CONF_NOTICE, plan, key,
                      "'%s' directive is ignored when FPM is not running as root", key);
    }
}

/* Without root a pool runs as whoever the master is; only a test looks at the names all the same.
 */
static void resolve_own_user(fpd_parse *parse, fpd_plan_pool *plan)
{
    const struct passwd *user;

    if (parse->options->is_test) {
        if (plan->user != NULL) {
            resolve_user(parse, plan);
        }
        if (plan->failure == NULL && plan->group != NULL && *plan->group != '\0') {
            resolve_group(parse, plan);
        }
    } else {
        say_ignored(parse, plan, "user", plan->user != NULL);
        say_ignored(parse, plan, "group", plan->group != NULL);
        say_ignored(parse, plan, "chroot", plan->chroot != NULL);
        say_ignored(parse, plan, "process.priority", plan->process_priority != FPD_PLAN_UNSET);
    }
    plan->uid = plan->gid = -1;
    user = getpwuid(geteuid());
    if (user != NULL) {
        plan->user_name = apr_pstrdup(parse->pool, user->pw_name);
        plan->user_home = apr_pstrdup(parse->pool, user->pw_dir);
    }
}

void fpd_users_resolve(fpd_parse *parse, fpd_plan_pool *plan)
{
    if (!parse->options->is_root) {
        resolve_own_user(parse, plan);
        return;
    }
    if (plan->user == NULL && !parse->options->allow_root) {
        fpd_users_say(parse, FPD_CONF_ALERT, plan, "user", "user has not been defined");
        return;
    }
    if (plan->user == NULL) {
        plan->uid = plan->gid = 0;
    } else {
        resolve_user(parse, plan);
    }
    if (plan->failure == NULL && plan->group != NULL && *plan->group != '\0') {
        resolve_group(parse, plan);
    }
    if (plan->failure == NULL && !parse->options->allow_root &&
        (plan->uid == 0 || plan->gid == 0)) {
        fpd_users_say(parse, FPD_CONF_ERROR, plan, "user",
                      "please specify user and group other than root");
    }
}

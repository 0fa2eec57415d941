/* check.c - cross checks with php-fpm's messages, in php-fpm's order; makes plans complete.
 *
 * Runs in the master or in the child that tests a configuration. Looks up users and groups and the
 * existence of directories; changes nothing.
 */
#include "conf/check.h"

#include <grp.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "apr_hash.h"
#include "apr_strings.h"
#include "conf/check_files.h"
#include "conf/users.h"

#define SOCKET_PATH_MAX  107 /* sun_path without its NUL */
#define SYSTEMD_INTERVAL 10  /* seconds, also for a negative value */

/* ---- global ------------------------------------------------------------------------------- */

/* epoll is used whatever was asked for; the words that php-fpm takes here are taken. */
static void check_mechanism(fpd_parse *parse)
{
    static const char *const mechanisms[] = {"epoll", "poll", "select"};
    fpd_conf_global *global = &parse->conf->global;

    if (global->events_mechanism == NULL) {
        global->events_mechanism = mechanisms[0];
        return;
    }
    for (size_t i = 0; i < sizeof(mechanisms) / sizeof(mechanisms[0]); i++) {
        if (strcasecmp(global->events_mechanism, mechanisms[i]) == 0) {
            global->events_mechanism = mechanisms[i];
            if (i != 0) {
                fpd_parse_say(parse, FPD_CONF_NOTICE, 0, "events.mechanism",
                              "'events.mechanism = %s' has no effect: epoll is always used",
                              mechanisms[i]);
            }
            return;
        }
    }
    fpd_parse_say(parse, FPD_CONF_ERROR, 0, "events.mechanism",
                  "event mechanism '%s' is not available on this system", global->events_mechanism);
}

static void check_error_log(fpd_parse *parse)
{
    fpd_conf_global *global = &parse->conf->global;
    char reason[256];
    int error;

    if (strcasecmp(global->error_log, "syslog") == 0) {
        return;
    }
    global->error_log = fpd_parse_expand(parse, global->error_log, NULL, 1);
    error = parse->options->is_test ? fpd_check_files_try_append(global->error_log) : 0;
    if (error != 0) {
        apr_strerror(error, reason, sizeof(reason));
        fpd_parse_say(parse, FPD_CONF_ERROR, 0, "error_log",
                      "failed to open error_log (%s): %s (%d)", global->error_log, reason, error);
    }
}

/* Beside the pid file, with .ctl in place of .pid. */
static const char *control_beside(fpd_parse *parse, const char *pid)
{
    size_t length = strlen(pid);

    if (length > strlen(".pid") && strcmp(pid + length - strlen(".pid"), ".pid") == 0) {
        length -= strlen(".pid");
    }
    return apr_pstrcat(parse->pool, apr_pstrmemdup(parse->pool, pid, length), ".ctl", NULL);
}

void fpd_check_places(fpd_parse *parse)
{
    fpd_conf_global *global = &parse->conf->global;

    if (global->pid == NULL) {
        global->pid = parse->options->pid_file;
    }
    global->pid = fpd_parse_expand(parse, global->pid, NULL, 1);
    if (global->control_socket == NULL) {
        global->control_socket = global->pid != NULL ? control_beside(parse, global->pid) : NULL;
    } else if (*global->control_socket == '\0') { /* what none, no and off are in these files */
        global->control_socket = NULL;
    } else {
        global->control_socket = fpd_parse_expand(parse, global->control_socket, NULL, 1);
    }
}

static void check_global(fpd_parse *parse)
{
    fpd_conf_global *global = &parse->conf->global;
    const fpd_conf_options *options = parse->options;

    if (options->prefix != NULL && !fpd_check_files_is_directory(options->prefix)) {
        fpd_parse_say(parse, FPD_CONF_ERROR, 0, "prefix",
                      "the global prefix '%s' does not exist or is not a directory",
                      options->prefix);
    }
    if (global->log_limit < 512) {
        fpd_parse_say(parse, FPD_CONF_ERROR, 0, "log_limit", "log_limit must be greater than 512");
    }
    if (global->process_max < 0) {
        fpd_parse_say(parse, FPD_CONF_ERROR, 0, "process.max", "process_max can't be negative");
    }
    if (global->process_priority != FPD_PLAN_UNSET &&
        (global->process_priority < -19 || global->process_priority > 20)) {
        fpd_parse_say(parse, FPD_CONF_ERROR, 0, "process.priority",
                      "process.priority must be included into [-19,20]");
    }
    if (global->process_priority != FPD_PLAN_UNSET && !options->is_root && !options->is_test) {
        fpd_parse_say(parse, FPD_CONF_NOTICE, 0, "process.priority",
                      "'process.priority' directive is ignored when FPM is not running as root");
    }
    check_error_log(parse);
    check_mechanism(parse);
    global->has_systemd_interval = global->systemd_interval > 0;
    if (global->systemd_interval < 0) {
        global->systemd_interval = SYSTEMD_INTERVAL;
    }
    fpd_check_places(parse);
    if (options->daemonize >= 0) {
        global->daemonize = options->daemonize;
    }
}

/* ---- listen ------------------------------------------------------------------------------- */

static int is_tcp(const char *address)
{
    return strchr(address, ':') != NULL || fpd_users_is_number(address);
}

static int is_name(const char *text)
{
    return text != NULL && *text != '\0' && !fpd_users_is_number(text);
}

static void check_listen_owner(fpd_parse *parse, fpd_plan_pool *plan)
{
    if (is_name(plan->listen_owner) && getpwnam(plan->listen_owner) == NULL) {
        fpd_users_fail(
            parse, plan, "listen.owner",
            apr_psprintf(parse->pool, "cannot get uid for user '%s'", plan->listen_owner));
    }
    if (is_name(plan->listen_group) && getgrnam(plan->listen_group) == NULL) {
        fpd_users_fail(
            parse, plan, "listen.group",
            apr_psprintf(parse->pool, "cannot get gid for group '%s'", plan->listen_group));
    }
}

/* php-fpm finds out at the start, and takes names only. */
static void check_acl(fpd_parse *parse, fpd_plan_pool *plan, const char *key, const char *names)
{
    int is_users = strcmp(key, "listen.acl_users") == 0;
    char *rest = names != NULL && *names != '\0' ? apr_pstrdup(parse->pool, names) : NULL;
    const char *name;

    while ((name = strsep(&rest, ",")) != NULL) {
        if (is_users ? getpwnam(name) == NULL : getgrnam(name) == NULL) {
            fpd_users_fail(parse, plan, key,
                           apr_psprintf(parse->pool,
                                        is_users ? "cannot get uid for user '%s'"
                                                 : "cannot get gid for group '%s'",
                                        name));
        }
    }
}

static void check_listen(fpd_parse *parse, fpd_plan_pool *plan)
{
    if (plan->listen == NULL || *plan->listen == '\0') {
        fpd_users_say(parse, FPD_CONF_ALERT, plan, "listen",
                      "no listen address have been defined!");
        return;
    }
    if (!is_tcp(plan->listen)) {
        plan->listen = fpd_parse_expand(parse, plan->listen, plan->prefix, 0);
        if (strlen(plan->listen) > SOCKET_PATH_MAX) {
            fpd_users_say(
                parse, FPD_CONF_ERROR, plan, "listen",
                "[%s:%d] the socket path '%s' is %d bytes long, the limit is %d: choose a shorter "
                "'listen'",
                plan->config_file, plan->config_line, plan->listen, (int)strlen(plan->listen),
                SOCKET_PATH_MAX);
        }
        check_acl(parse, plan, "listen.acl_users", plan->listen_acl_users);
        check_acl(parse, plan, "listen.acl_groups", plan->listen_acl_groups);
    }
    check_listen_owner(parse, plan);
}

/* The address of the pool's own status page: a hidden pool of php-fpm's. */
static void check_status_listen(fpd_parse *parse, fpd_plan_pool *plan)
{
    if (plan->status_listen == NULL) {
        return;
    }
    if (*plan->status_listen == '\0') {
        fpd_parse_say(parse, FPD_CONF_ALERT, 0, "pm.status_listen",
                      "[pool %s_status] no listen address have been defined!", plan->name);
    }
}

/* An address as it will be bound: a path is below the prefix. */
static const char *full_address(const fpd_parse *parse, const fpd_plan_pool *plan,
                                const char *address)
{
    return address == NULL || *address == '\0' || is_tcp(address)
               ? address
               : fpd_parse_expand(parse, address, plan->prefix, 0);
}

/* ---- process manager ---------------------------------------------------------------------- */

static void check_dynamic(fpd_parse *parse, fpd_plan_pool *plan)
{
    int minimum = plan->min_spare_servers;
    int maximum = plan->max_spare_servers;

    if (minimum <= 0) {
        fpd_users_say(parse, FPD_CONF_ALERT, plan, "pm.min_spare_servers",
                      "pm.min_spare_servers(%d) must be a positive value", minimum);
    } else if (maximum <= 0) {
        fpd_users_say(parse, FPD_CONF_ALERT, plan, "pm.max_spare_servers",
                      "pm.max_spare_servers(%d) must be a positive value", maximum);
    } else if (minimum > plan->max_children || maximum > plan->max_children) {
        fpd_users_say(
            parse, FPD_CONF_ALERT, plan, "pm.max_spare_servers",
            "pm.min_spare_servers(%d) and pm.max_spare_servers(%d) cannot be greater than "
            "pm.max_children(%d)",
            minimum, maximum, plan->max_children);
    } else if (maximum < minimum) {
        fpd_users_say(parse, FPD_CONF_ALERT, plan, "pm.max_spare_servers",
                      "pm.max_spare_servers(%d) must not be less than pm.min_spare_servers(%d)",
                      maximum, minimum);
    } else if (plan->start_servers <= 0) {
        plan->start_servers = minimum + (maximum - minimum) / 2;
        fpd_users_say(parse, FPD_CONF_NOTICE, plan, "pm.start_servers",
                      "pm.start_servers is not set. It's been set to %d.", plan->start_servers);
    } else if (plan->start_servers < minimum || plan->start_servers > maximum) {
        fpd_users_say(
            parse, FPD_CONF_ALERT, plan, "pm.start_servers",
            "pm.start_servers(%d) must not be less than pm.min_spare_servers(%d) and not greater "
            "than pm.max_spare_servers(%d)",
            plan->start_servers, minimum, maximum);
    }
    if (plan->max_spawn_rate < 1) {
        fpd_users_say(parse, FPD_CONF_ALERT, plan, "pm.max_spawn_rate",
                      "pm.max_spawn_rate must be a positive value");
    }
}

static void check_ondemand(fpd_parse *parse, fpd_plan_pool *plan)
{
    if (strcmp(parse->conf->global.events_mechanism, "epoll") != 0) {
        fpd_users_say(parse, FPD_CONF_ALERT, plan, "pm",
                      "ondemand process manager can ONLY be used when events.mechanism is either "
                      "epoll (Linux) or kqueue (*BSD).");
    }
    plan->start_servers = 0;
    if (plan->process_idle_timeout < 1) {
        fpd_users_say(parse, FPD_CONF_ALERT, plan, "pm.process_idle_timeout",
                      "pm.process_idle_timeout(%ds) must be greater than 0s",
                      plan->process_idle_timeout);
    }
    if (plan->listen_backlog < -1) {
        fpd_users_say(
            parse, FPD_CONF_WARNING, plan, "listen.backlog",
            "listen.backlog(%d) was too low for the ondemand process manager. I updated it for "
            "you to -1.",
            plan->listen_backlog);
        plan->listen_backlog = -1;
    }
}

static void check_manager(fpd_parse *parse, fpd_plan_pool *plan)
{
    if (plan->process_priority != FPD_PLAN_UNSET &&
        (plan->process_priority < -19 || plan->process_priority > 20)) {
        fpd_users_say(parse, FPD_CONF_ERROR, plan, "process.priority",
                      "process.priority must be included into [-19,20]");
    }
    if (plan->pm == 0) {
        fpd_users_say(parse, FPD_CONF_ALERT, plan, "pm",
                      "the process manager is missing (static, dynamic or ondemand)");
        return;
    }
    if (plan->max_children < 1) {
        fpd_users_say(parse, FPD_CONF_ALERT, plan, "pm.max_children",
                      "pm.max_children must be a positive value");
        return;
    }
    if (plan->max_children > FPD_PLAN_CHILDREN_MAX) {
        fpd_users_say(parse, FPD_CONF_ERROR, plan, "pm.max_children",
                      "pm.max_children(%d) must not be greater than %d", plan->max_children,
                      FPD_PLAN_CHILDREN_MAX);
    }
    if (plan->pm == FPD_PM_DYNAMIC) {
        check_dynamic(parse, plan);
    } else if (plan->pm == FPD_PM_ONDEMAND) {
        check_ondemand(parse, plan);
    }
}

/* ---- ours ---------------------------------------------------------------------------------- */

static void check_ours(fpd_parse *parse, fpd_plan_pool *plan)
{
    if (plan->queue_max < 0 || plan->queue_timeout < 0) {
        fpd_users_say(parse, FPD_CONF_ERROR, plan, "queue.max",
                      "queue.max(%d) and queue.timeout(%d) can't be negative", plan->queue_max,
                      plan->queue_timeout);
    }
    if (plan->pool_idle_timeout < 1 || plan->request_head_timeout < 1) {
        fpd_users_say(
            parse, FPD_CONF_ERROR, plan, "request_head_timeout",
            "pool_idle_timeout(%ds) and request_head_timeout(%ds) must be greater than 0s",
            plan->pool_idle_timeout, plan->request_head_timeout);
    }
    if (plan->php != NULL && plan->php[strspn(plan->php, "0123456789.")] != '\0') {
        fpd_users_say(parse, FPD_CONF_ERROR, plan, "php", "php '%s' is not a version such as 8.2",
                      plan->php);
    }
}

/* ---- lists -------------------------------------------------------------------------------- */

/* php_values whose relative value is a path below the prefix (spec 1.4). */
static int is_path_setting(const fpd_plan_pair *pair)
{
    static const char *const names[] = {"error_log",
                                        "extension_dir",
                                        "mime_magic.magicfile",
                                        "sendmail_path",
                                        "session.cookie_path",
                                        "session_pgsql.sem_file_name",
                                        "soap.wsdl_cache_dir",
                                        "uploadprogress.file.filename_template",
                                        "xdebug.output_dir",
                                        "xdebug.profiler_output_dir",
                                        "xdebug.trace_output_dir",
                                        "xmms.path",
                                        "axis2.client_home",
                                        "blenc.key_file",
                                        "coin_acceptor.device"};

    if (*pair->value == '\0' || (pair->is_admin && strcmp(pair->key, "error_log") == 0 &&
                                 strcmp(pair->value, "syslog") == 0)) {
        return 0; /* nothing is no path (php-fpm makes it the prefix's own) */
    }
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (strcmp(pair->key, names[i]) == 0) {
            return 1;
        }
    }
    return 0;
}

static int has_pair(const apr_array_header_t *list, const fpd_plan_pair *wanted)
{
    for (int i = 0; i < list->nelts; i++) {
        const fpd_plan_pair *pair = &APR_ARRAY_IDX(list, i, fpd_plan_pair);
        if (pair->is_admin == wanted->is_admin && strcmp(pair->key, wanted->key) == 0) {
            return 1;
        }
    }
    return 0;
}

/* The first line of a key counts (php-fpm applies them newest first). */
static void complete_lists(fpd_parse *parse, fpd_conf_section *section)
{
    fpd_plan_pool *plan = section->plan;
    int has_chroot = plan->chroot != NULL && *plan->chroot != '\0';

    for (int i = 0; i < section->env->nelts; i++) {
        fpd_plan_pair pair = APR_ARRAY_IDX(section->env, i, fpd_plan_pair);
        if (pair.value[0] == '$') {
            const char *value = getenv(pair.value + 1);
            pair.value = value != NULL ? apr_pstrdup(parse->pool, value) : "";
        }
        if (!has_pair(plan->env, &pair)) {
            APR_ARRAY_PUSH(plan->env, fpd_plan_pair) = pair;
        }
    }
    for (int i = 0; i < section->values->nelts; i++) {
        fpd_plan_pair *pair = &APR_ARRAY_IDX(section->values, i, fpd_plan_pair);
        if (!has_chroot && is_path_setting(pair)) {
            pair->value = fpd_parse_expand(parse, pair->value, plan->prefix, 0);
        }
        if (!has_pair(plan->php_values, pair)) {
            APR_ARRAY_PUSH(plan->php_values, fpd_plan_pair) = *pair;
        }
    }
}

static void forget_empty(const char **member)
{
    if (*member != NULL && **member == '\0') {
        *member = NULL;
    }
}

/* For the pool process; a test's dump shows what was written instead. */
static void complete_plan(fpd_parse *parse, fpd_plan_pool *plan)
{
    const fpd_conf_global *global = &parse->conf->global;
    const char **const optional[] = {&plan->prefix,      &plan->listen_owner, &plan->listen_group,
                                     &plan->status_path, &plan->ping_path,    &plan->slowlog,
                                     &plan->chroot,      &plan->chdir,        &plan->apparmor_hat};

    for (size_t i = 0; i < sizeof(optional) / sizeof(optional[0]); i++) {
        forget_empty(optional[i]);
    }
    if (!parse->options->is_root) {
        plan->chroot = NULL;
        plan->process_priority = FPD_PLAN_UNSET;
    }
    plan->status_listen = full_address(parse, plan, plan->status_listen);
    if (plan->chroot != NULL && plan->chdir == NULL) {
        plan->chdir = "/";
    }

    plan->is_root_allowed = parse->options->allow_root;
    plan->php_ini_path = parse->options->php_ini_path;
    plan->php_ini_ignore = parse->options->php_ini_ignore;
    plan->extended_info = parse->options->extended_info;
    plan->log_level = fpd_conf_log_level(global);
    plan->log_limit = global->log_limit;
    plan->process_control_timeout = global->process_control_timeout;
    plan->has_process_max = global->process_max > 0;
    if (parse->options->defines != NULL) {
        plan->defines = apr_array_copy(parse->pool, parse->options->defines);
    }
}

/* ---- all ---------------------------------------------------------------------------------- */

static void check_prefix(fpd_parse *parse, fpd_plan_pool *plan)
{
    if (plan->prefix == NULL || *plan->prefix == '\0') {
        return;
    }
    plan->prefix = fpd_parse_expand(parse, plan->prefix, NULL, 0);
    if (!fpd_check_files_is_directory(plan->prefix)) {
        fpd_users_say(parse, FPD_CONF_ERROR, plan, "prefix",
                      "the prefix '%s' does not exist or is not a directory", plan->prefix);
    }
}

static void check_pool(fpd_parse *parse, fpd_conf_section *section)
{
    fpd_plan_pool *plan = section->plan;

    check_prefix(parse, plan);
    fpd_users_resolve(parse, plan);
    check_listen(parse, plan);
    check_manager(parse, plan);
    fpd_check_files_pages(parse, plan);
    check_status_listen(parse, plan);
    fpd_check_files_logs(parse, plan);
    fpd_check_files_directories(parse, plan);
    check_ours(parse, plan);
    complete_lists(parse, section);
    APR_ARRAY_PUSH(parse->conf->pools, fpd_plan_pool *) = plan;
}

static void claim_address(fpd_parse *parse, apr_hash_t *seen, const char *address,
                          const char *pool_name)
{
    const char *other;

    if (address == NULL || *address == '\0') {
        return;
    }
    other = apr_hash_get(seen, address, APR_HASH_KEY_STRING);
    if (other == NULL) {
        apr_hash_set(seen, address, APR_HASH_KEY_STRING, pool_name);
        return;
    }
    fpd_parse_say(parse, FPD_CONF_ERROR, 0, "listen",
                  "[pool %s] unable to set listen address as it's already used in another pool "
                  "'%s'",
                  pool_name, other);
}

static void check_pools_together(fpd_parse *parse)
{
    const apr_array_header_t *pools = parse->conf->pools;
    apr_hash_t *seen = apr_hash_make(parse->pool);

    for (int i = 0; i < pools->nelts; i++) {
        fpd_plan_pool *plan = APR_ARRAY_IDX(pools, i, fpd_plan_pool *);
        claim_address(parse, seen, plan->listen, plan->name);
        claim_address(parse, seen, full_address(parse, plan, plan->status_listen),
                      apr_pstrcat(parse->pool, plan->name, "_status", NULL));
    }
    for (int i = 0; i < pools->nelts; i++) {
        fpd_check_files_access_log(parse, APR_ARRAY_IDX(pools, i, fpd_plan_pool *));
    }
}

void fpd_check_all(fpd_parse *parse)
{
    const apr_array_header_t *sections = parse->conf->sections;

    check_global(parse);
    if (sections->nelts == 0) {
        fpd_parse_say(parse, FPD_CONF_ERROR, 0, NULL,
                      "No pool defined. at least one pool section must be specified in config "
                      "file");
    }
    for (int i = 0; i < sections->nelts; i++) {
        check_pool(parse, APR_ARRAY_IDX(sections, i, fpd_conf_section *));
    }
    check_pools_together(parse);
    for (int i = 0; i < parse->conf->pools->nelts && !parse->options->is_test; i++) {
        complete_plan(parse, APR_ARRAY_IDX(parse->conf->pools, i, fpd_plan_pool *));
    }
}

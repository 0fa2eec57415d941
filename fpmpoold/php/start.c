/* start.c - starting libphp: the SAPI structure, ini, module start-up, -v -m -i.
 *
 * Runs in the pool process as the pool's user (prepare: as root), once, before any worker is
 * forked. Never reads anything a client sent.
 */
#include "php/start.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "apr_strings.h"

#include "SAPI.h"
#include "php.h"
#include "php/cwd.h"
#include "php/env.h"
#include "php/functions.h"
#include "php/ini.h"
#include "php/known.h"
#include "php/module.h"
#include "php/sources.h"
#include "php_ini.h"
#include "php_main.h"
#include "php_output.h"
#include "ext/standard/info.h"
#include "zend_extensions.h"
#include "zend_signal.h"

#ifdef ZTS
#error "a thread-safe (ZTS) libphp cannot be used: every worker is one process with one thread"
#endif

#define DESCRIPTORS_MAX  16
#define DESCRIPTORS_SCAN 256

/* A process starts PHP once; this is that start. */
static struct {
    const fpd_plan_pool *plan;
    int (*register_extensions)(void); /* libphp's own */
    fpd_sources sources;
    int has_sources;
    int is_running;
    int descriptors[DESCRIPTORS_MAX];
    int descriptor_count;
} start;

static int start_module(sapi_module_struct *module)
{
    return php_module_startup(module, fpd_functions_module());
}

static void set_default(HashTable *configuration, const char *key, const char *value)
{
    zval entry;

    ZVAL_NEW_STR(&entry, zend_string_init(value, strlen(value), 1));
    zend_hash_str_update(configuration, key, strlen(key), &entry);
}

static void set_defaults(HashTable *configuration)
{
    set_default(configuration, "display_errors", "1");
}

/* PHP calls through it for the whole life of the process. */
static sapi_module_struct sapi = {
    .name = "fpm-fcgi",
    .pretty_name = "FPM/FastCGI",
    .startup = start_module,
    .shutdown = php_module_shutdown_wrapper,
    .activate = fpd_module_activate,
    .deactivate = fpd_module_deactivate,
    .ub_write = fpd_module_write,
    .flush = fpd_module_flush,
    .getenv = fpd_module_getenv,
    .sapi_error = php_error,
    .send_headers = fpd_module_send_headers,
    .read_post = fpd_module_read_post,
    .read_cookies = fpd_module_read_cookies,
    .register_server_variables = fpd_env_register_server,
    .log_message = fpd_module_log,
    .ini_defaults = set_defaults,
    .php_ini_ignore_cwd = 1,
};

apr_status_t fpd_start_prepare(const fpd_plan_pool *plan, apr_pool_t *pool, const char **reason)
{
    apr_status_t status = fpd_sources_find(&start.sources, plan, pool, reason);

    if (status == APR_SUCCESS) {
        status = fpd_sources_open(&start.sources, plan, pool, reason);
    }
    start.has_sources = status == APR_SUCCESS;
    return status;
}

/* fpm has no pcntl, libphp has it built in: a script must not fork a worker. */
static void hide_extension(const char *name)
{
    zend_module_entry *module = zend_hash_str_find_ptr(&module_registry, name, strlen(name));

    if (module != NULL) {
        zend_unregister_functions(module->functions, -1, NULL);
        module->functions = NULL;
        zend_hash_str_del(&module_registry, name, strlen(name));
    }
}

static int register_extensions(void)
{
    int result = start.register_extensions();

    hide_extension("pcntl");
    /* PHP gives chroot() to command lines and to embed only. */
    zend_hash_str_del(CG(function_table), ZEND_STRL("chroot"));
    fpd_ini_add_disabled(start.plan);
    return result;
}

static void note_descriptors(char open_before[DESCRIPTORS_SCAN])
{
    for (int fd = 0; fd < DESCRIPTORS_SCAN; fd++) {
        open_before[fd] = fcntl(fd, F_GETFD) >= 0;
    }
}

/* Keeps the list of what was opened since. */
static void find_descriptors(const char open_before[DESCRIPTORS_SCAN])
{
    start.descriptor_count = 0;
    for (int fd = 0; fd < DESCRIPTORS_SCAN && start.descriptor_count < DESCRIPTORS_MAX; fd++) {
        if (!open_before[fd] && fcntl(fd, F_GETFD) >= 0) {
            start.descriptors[start.descriptor_count++] = fd;
        }
    }
}

const int *fpd_start_descriptors(int *count)
{
    *count = start.descriptor_count;
    return start.descriptors;
}

static char *own_executable(apr_pool_t *pool)
{
    char path[4096];
    ssize_t length = readlink("/proc/self/exe", path, sizeof(path));

    return length > 0 && length < (ssize_t)sizeof(path)
               ? apr_pstrmemdup(pool, path, (apr_size_t)length)
               : NULL;
}

/* PHP reads its scan directory from the environment only. */
static apr_status_t start_with_scan_dir(apr_pool_t *pool)
{
    const char *before = getenv("PHP_INI_SCAN_DIR");
    int result;

    before = before != NULL ? apr_pstrdup(pool, before) : NULL;
    if (start.sources.scan_dir != NULL &&
        setenv("PHP_INI_SCAN_DIR", start.sources.scan_dir, 1) != 0) {
        return errno;
    }
    result = sapi.startup(&sapi);
    if ((before != NULL ? setenv("PHP_INI_SCAN_DIR", before, 1) : unsetenv("PHP_INI_SCAN_DIR")) !=
        0) {
        return errno;
    }
    return result == SUCCESS ? APR_SUCCESS : APR_EGENERAL;
}

static apr_status_t start_php(const fpd_plan_pool *plan, apr_pool_t *pool, const char **reason)
{
    char open_before[DESCRIPTORS_SCAN];
    apr_status_t status;

    start.plan = plan;
    start.register_extensions = php_register_internal_extensions_func;
    php_register_internal_extensions_func = register_extensions;
    note_descriptors(open_before);
    zend_signal_startup();
    sapi_startup(&sapi);
    sapi.php_ini_ignore = plan->php_ini_ignore;
    /* a file that is named is read even under -n: only -c may name one then */
    if (start.sources.ini != NULL && (!plan->php_ini_ignore || plan->php_ini_path != NULL)) {
        sapi.php_ini_path_override = strdup(start.sources.ini);
    }
    sapi.executable_location = own_executable(pool);
    sapi.ini_entries = fpd_ini_entries(plan);
    if (sapi.ini_entries == NULL) {
        *reason = "no memory for the pool's ini settings";
        return APR_ENOMEM;
    }
    status = start_with_scan_dir(pool);
    if (status != APR_SUCCESS) {
        *reason = "PHP did not start; its own messages say why";
        return status;
    }
    start.is_running = 1;
    find_descriptors(open_before);
    fpd_env_install();
    fpd_cwd_install();
    fpd_ini_lock(plan);
    return APR_SUCCESS;
}

apr_status_t fpd_start_php(const fpd_plan_pool *plan, apr_pool_t *pool, const char **reason)
{
    apr_status_t status;
    int error;

    if (!start.has_sources) {
        status = fpd_sources_find(&start.sources, plan, pool, reason);
        if (status != APR_SUCCESS) {
            return status;
        }
    }
    status = start_php(plan, pool, reason);
    if (status != APR_SUCCESS) {
        return status;
    }
    if (start.sources.copy >= 0) {
        close(start.sources.copy);
        start.sources.copy = -1;
    }
    error = fpd_env_apply(plan);
    if (error != 0) {
        *reason = apr_psprintf(pool, "cannot set the environment (env[]): %s", strerror(error));
        return error;
    }
    return APR_SUCCESS;
}

void fpd_start_stop(void)
{
    if (start.is_running) {
        start.is_running = 0;
        php_module_shutdown();
        sapi_shutdown();
        free(sapi.ini_entries);
        sapi.ini_entries = NULL;
        free(sapi.php_ini_path_override);
        sapi.php_ini_path_override = NULL;
    }
}

/* ---- -v -m -i ---------------------------------------------------------------------------- */

static int compare_names(const void *left, const void *right)
{
    return strcasecmp(*(const char *const *)left, *(const char *const *)right);
}

static void print_sorted(apr_array_header_t *names)
{
    qsort(names->elts, (size_t)names->nelts, sizeof(const char *), compare_names);
    for (int i = 0; i < names->nelts; i++) {
        printf("%s\n", APR_ARRAY_IDX(names, i, const char *));
    }
}

static void print_modules(apr_pool_t *pool)
{
    apr_array_header_t *modules = apr_array_make(pool, 64, sizeof(const char *));
    apr_array_header_t *extensions = apr_array_make(pool, 4, sizeof(const char *));
    zend_module_entry *module;

    ZEND_HASH_FOREACH_PTR(&module_registry, module)
    {
        APR_ARRAY_PUSH(modules, const char *) = module->name;
    }
    ZEND_HASH_FOREACH_END();
    for (zend_llist_element *item = zend_extensions.head; item != NULL; item = item->next) {
        APR_ARRAY_PUSH(extensions, const char *) = ((zend_extension *)item->data)->name;
    }
    printf("[PHP Modules]\n");
    print_sorted(modules);
    printf("\n[Zend Modules]\n");
    print_sorted(extensions);
    printf("\n");
}

static int print_info(void)
{
    sapi_module.phpinfo_as_text = 1;
    fflush(stdout);
    if (php_request_startup() == FAILURE) {
        return 70;
    }
    SG(headers_sent) = 1;
    SG(request_info).no_headers = 1;
    php_print_info(0xFFFFFFFF);
    php_request_shutdown(NULL);
    return 0;
}

int fpd_start_print(char what, const fpd_plan_pool *plan, apr_pool_t *pool)
{
    const char *reason = NULL;
    int code = 0;

    if (fpd_sources_find(&start.sources, plan, pool, &reason) == APR_SUCCESS &&
        fpd_sources_open(&start.sources, plan, pool, &reason) != APR_SUCCESS) {
        fprintf(stderr, "fpmpool-php%s: %s\n", fpd_start_version(), reason);
        reason = NULL; /* and yet it answers, as far as that goes */
    }
    if (reason != NULL || start_php(plan, pool, &reason) != APR_SUCCESS) {
        fprintf(stderr, "fpmpool-php%s: %s\n", fpd_start_version(), reason);
        return 70;
    }
    switch (what) {
    case 'v':
        printf("PHP %s (%s) (built: %s %s)\nCopyright (c) The PHP Group\n%s", PHP_VERSION,
               sapi.name, __DATE__, __TIME__, get_zend_version());
        break;
    case 'm':
        print_modules(pool);
        break;
    case 'i':
        code = print_info();
        break;
    default:
        code = 64;
    }
    fflush(stdout);
    fpd_start_stop();
    return code;
}

int fpd_start_tell(int fd, const fpd_plan_pool *plan, apr_pool_t *pool)
{
    const char *reason = NULL;
    FILE *to = fdopen(fd, "w");
    int is_told;

    if (to == NULL || fpd_start_php(plan, pool, &reason) != APR_SUCCESS) {
        fprintf(stderr, "%s\n", reason != NULL ? reason : strerror(errno));
        return 70;
    }
    is_told = fpd_known_write(to);
    fpd_start_stop();
    return is_told ? 0 : 70;
}

#define TEXT(value)     #value
#define AS_TEXT(number) TEXT(number)

const char *fpd_start_version(void)
{
    return AS_TEXT(PHP_MAJOR_VERSION) "." AS_TEXT(PHP_MINOR_VERSION);
}

/* mod_fpmpool.c - requests of httpd to pools of PHP workers over FastCGI: the table of contents.
 *
 *   fpmp_conf, fpmp_conf_define    directives; fpmp_conf_check: what is wrong with them as a whole
 *   fpmp_pool, fpmp_address        what a pool is; addresses as text
 *   fpmp_handler                   a request from its first check to its last log line
 *   fpmp_select                    which pool, which server, which limits
 *   fpmp_env, fpmp_root, fpmp_body what is sent; fpmp_setenvif: by rule; fpmp_spool: large things
 *   fpmp_conn, fpmp_relay          on which connection, and how
 *   fpmp_response, fpmp_answer     what comes back, and what its head (fpmp_header) means
 *   fpmp_sendfile, fpmp_stderr     what is sent in its place; what goes to the log
 *   fpmp_notes, fpmp_failure       what a request leaves behind; fpmp_counters, fpmp_status: all
 */
#include "fpmp_conf.h"
#include "fpmp_conf_dump.h"
#include "fpmp_handler.h"
#include "fpmp_status.h"

#include <httpd.h>
#include <http_config.h>

static void register_hooks(apr_pool_t *pool)
{
    (void)pool;
    ap_hook_check_config(fpmp_conf_check, NULL, NULL, APR_HOOK_MIDDLE);
    ap_hook_test_config(fpmp_conf_dump, NULL, NULL, APR_HOOK_MIDDLE);
    ap_hook_post_config(fpmp_status_prepare, NULL, NULL, APR_HOOK_MIDDLE);
    ap_hook_child_init(fpmp_status_child_init, NULL, NULL, APR_HOOK_MIDDLE);
    ap_hook_child_status(fpmp_status_child_status, NULL, NULL, APR_HOOK_MIDDLE);
    ap_hook_child_init(fpmp_handler_child_init, NULL, NULL, APR_HOOK_MIDDLE);
    ap_hook_handler(fpmp_handler_run, NULL, NULL, APR_HOOK_MIDDLE);
    fpmp_status_register();
}

/* The only symbol that leaves the shared object. */
__attribute__((visibility("default"))) module AP_MODULE_DECLARE_DATA fpmpool_module = {
    STANDARD20_MODULE_STUFF, fpmp_conf_dir_create, fpmp_conf_dir_merge, fpmp_conf_server_create,
    fpmp_conf_server_merge,  fpmp_conf_directives, register_hooks,      AP_MODULE_FLAG_NONE};

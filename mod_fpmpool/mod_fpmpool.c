/* mod_fpmpool.c - requests of httpd to pools of PHP workers over FastCGI: the table of contents.
 *
 *   fpmp_conf, _define, _member    directives; _check: as a whole; fpmp_pool, fpmp_address: a pool
 *   fpmp_handler, _route, _exchange a request from check to log line; where to; its attempts
 *   fpmp_select, fpmp_balance      which server: decisions; the servers as they are now
 *   fpmp_share, fpmp_health        what children share; is a server used: fpmp_verdict, fpmp_probe
 *   fpmp_limit, _queue, _admit     who is let in: rules; places and the queue; a request's way in
 *   fpmp_env (_cgi, _root), _body  what is sent; fpmp_setenvif: by rule; fpmp_spool: large things
 *   fpmp_conn, _relay, _response   on which connection, and how; what comes back: fpmp_answer
 *   fpmp_notes, fpmp_failure       what a request leaves behind; all: _counters, _latency, _trouble
 *   fpmp_page, _manager, _status   what operators see (by fpmp_snapshot) and say (fpmp_admin)
 */
#include "fpmp_conf.h"
#include "fpmp_conf_dump.h"
#include "fpmp_constant.h"
#include "fpmp_handler.h"
#include "fpmp_page.h"
#include "fpmp_status.h"

#include <httpd.h>
#include <http_config.h>

static void register_hooks(apr_pool_t *pool)
{
    (void)pool;
    ap_hook_check_config(fpmp_conf_check, NULL, NULL, APR_HOOK_MIDDLE);
    ap_hook_post_config(fpmp_handler_post_config, NULL, NULL, APR_HOOK_MIDDLE);
    ap_hook_child_status(fpmp_handler_child_status, NULL, NULL, APR_HOOK_MIDDLE);
    ap_hook_test_config(fpmp_conf_dump, NULL, NULL, APR_HOOK_MIDDLE);
    ap_hook_child_init(fpmp_handler_child_init, NULL, NULL, APR_HOOK_MIDDLE);
    ap_hook_handler(fpmp_handler_run, NULL, NULL, APR_HOOK_MIDDLE);
    ap_hook_post_config(fpmp_page_prepare, NULL, NULL, APR_HOOK_MIDDLE);
    ap_hook_handler(fpmp_page_run, NULL, NULL, APR_HOOK_MIDDLE);
    /* Behind the core, which makes the banner of SERVER_SOFTWARE last. */
    ap_hook_post_config(fpmp_constant_prepare, NULL, NULL, APR_HOOK_REALLY_LAST + 1);
    fpmp_status_register();
}

/* The only symbol that leaves the shared object. */
__attribute__((visibility("default"))) module AP_MODULE_DECLARE_DATA fpmpool_module = {
    STANDARD20_MODULE_STUFF, fpmp_conf_dir_create, fpmp_conf_dir_merge, fpmp_conf_server_create,
    fpmp_conf_server_merge,  fpmp_conf_directives, register_hooks,      AP_MODULE_FLAG_NONE};

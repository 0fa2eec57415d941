/* fpmp_constant.c - variables that have the same value in all requests of a server or virtual host.
 *
 * Made in the parent when everything is configured, read in its children. Must not decide what a
 * request is told: who finds another value in its table sends that.
 */
#include "fpmp_constant.h"

#include "wire/wire.h"

#include <http_core.h>
#include <apr_strings.h>
#include <string.h>

/* They lie in httpd's memory until the next restart, or in this module: fpmp_cgi uses this one. */
const char fpmp_constant_interface[] = "CGI/1.1";

static void encode(fpmp_constant *to, const char *name, const char *value, apr_pool_t *pconf)
{
    size_t name_length = strlen(name);
    size_t value_length = strlen(value);
    to->name = name;
    to->value = value;
    to->size = wire_pair_size(name_length, value_length);
    to->pair = apr_palloc(pconf, to->size);
    (void)wire_pair_write(to->pair, name, name_length, value, value_length);
}

static const fpmp_constant *make_list(const server_rec *server, apr_pool_t *pconf)
{
    const core_server_config *core = ap_get_core_module_config(server->module_config);
    const struct {
        const char *name;
        const char *value;
    } known[] = {{"SERVER_SOFTWARE", ap_get_server_banner()},
                 {"DOCUMENT_ROOT", core->ap_document_root},
                 {"SERVER_ADMIN", server->server_admin},
                 {"GATEWAY_INTERFACE", fpmp_constant_interface}};
    const size_t count = sizeof(known) / sizeof(known[0]);
    fpmp_constant *list = apr_pcalloc(pconf, (count + 1) * sizeof(*list));
    fpmp_constant *next = list;
    for (size_t i = 0; i < count; i++) {
        if (known[i].value && strlen(known[i].value) < WIRE_CONTENT_MAX / 2) {
            encode(next++, known[i].name, known[i].value, pconf);
        }
    }
    return list;
}

int fpmp_constant_prepare(apr_pool_t *pconf, apr_pool_t *plog, apr_pool_t *ptemp, server_rec *main)
{
    (void)plog;
    (void)ptemp;
    const fpmp_server_conf *of_main = ap_get_module_config(main->module_config, &fpmpool_module);
    for (server_rec *server = main; server; server = server->next) {
        fpmp_server_conf *conf = ap_get_module_config(server->module_config, &fpmpool_module);
        if (server != main && conf == of_main) { /* a virtual host without lines of this module */
            conf = apr_pmemdup(pconf, conf, sizeof(*conf));
            ap_set_module_config(server->module_config, &fpmpool_module, conf);
        }
        conf->constants = make_list(server, pconf);
    }
    return OK;
}

const fpmp_constant *fpmp_constant_list(const request_rec *r)
{
    const fpmp_server_conf *conf = ap_get_module_config(r->server->module_config, &fpmpool_module);
    return conf->constants;
}

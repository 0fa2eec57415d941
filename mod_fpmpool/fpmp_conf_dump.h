/* fpmp_conf_dump.h - `httpd -t -D DUMP_FPMPOOLS`: what the configuration means. */
#ifndef FPMP_CONF_DUMP_H
#define FPMP_CONF_DUMP_H

#include <httpd.h>

/* test_config hook: prints every pool with its server, its time limits and the lines that use it to
 * standard output, if httpd was started with -D DUMP_FPMPOOLS. */
void fpmp_conf_dump(apr_pool_t *pconf, server_rec *main);

#endif

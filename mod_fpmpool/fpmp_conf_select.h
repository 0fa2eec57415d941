/* fpmp_conf_select.h - FpmPool and its relatives: which pool serves where (specification: apache.md
 * 2.3).
 */
#ifndef FPMP_CONF_SELECT_H
#define FPMP_CONF_SELECT_H

#include "fpmp_conf.h"

/* Directive handlers. */
const char *fpmp_conf_set_pool(cmd_parms *cmd, void *dir_conf, int count, char *const names[]);
const char *fpmp_conf_add_selectable(cmd_parms *cmd, void *dir_conf, const char *name);
const char *fpmp_conf_set_max_pools(cmd_parms *cmd, void *dir_conf, const char *text);

/* Remembers that this line configures `conf`, for the checks at the end. Returns what is to be
 * filled in. Not for .htaccess files. */
fpmp_use *fpmp_conf_note_line(apr_array_header_t *lines, cmd_parms *cmd, const fpmp_dir_conf *conf);

/* What `inner` selects goes over what `merged` has of the outer section. */
void fpmp_conf_select_merge(fpmp_dir_conf *merged, const fpmp_dir_conf *inner);

#endif

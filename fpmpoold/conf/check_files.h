/* check_files.h - pages, log files and directories of a pool (spec/php-fpm.md 1.4, 1.6).
 *
 * Private to conf/. Changes nothing on disk: php-fpm creates the logs of a configuration that it
 * only tests, this asks whether it could.
 */
#ifndef FPD_CHECK_FILES_H
#define FPD_CHECK_FILES_H

#include "conf/parse.h"

int fpd_check_files_is_directory(const char *path);

/* Could this process open the file for appending, or create it? 0, or the errno of the attempt. */
int fpd_check_files_try_append(const char *path);

/* pm.status_path, ping.path, ping.response. */
void fpd_check_files_pages(fpd_parse *parse, fpd_plan_pool *plan);

/* access.log and slowlog: paths, and what goes with them. */
void fpd_check_files_logs(fpd_parse *parse, fpd_plan_pool *plan);

/* What php-fpm looks at when every pool is known: can access.log be opened (a test only: a running
 * master leaves that to the pool), is access.format right. */
void fpd_check_files_access_log(fpd_parse *parse, fpd_plan_pool *plan);

/* chroot and chdir. */
void fpd_check_files_directories(fpd_parse *parse, fpd_plan_pool *plan);

#endif

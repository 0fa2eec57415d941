/* script.h - which file a request runs, and what its path parameters become (spec/php-fpm.md 4.4,
 * 4.5).
 *
 * Pure but for the probe that the caller gives.
 */
#ifndef FPD_SCRIPT_H
#define FPD_SCRIPT_H

#include "php/params.h"

typedef enum fpd_script_question {
    FPD_SCRIPT_RESOLVES, /* does the path lead to anything? */
    FPD_SCRIPT_IS_FILE   /* does it lead to a regular file? */
} fpd_script_question;

/* Returns 1 for yes, 0 for no. */
typedef int fpd_script_probe_fn(void *context, fpd_script_question question, const char *path);

typedef struct fpd_script_rules {
    int fix_pathinfo;     /* cgi.fix_pathinfo */
    int discard_path;     /* cgi.discard_path */
    const char *doc_root; /* php.ini's, or NULL */
    int is_own_module;    /* FPMPOOL_PEER was sent: REDIRECT_URL tells nothing about the script */
    fpd_script_probe_fn *probe;
    void *context;
} fpd_script_rules;

typedef struct fpd_script {
    int is_named;            /* SCRIPT_FILENAME or PATH_TRANSLATED was sent */
    const char *path;        /* the file to run, NULL: answer 404 */
    const char *request_uri; /* SCRIPT_NAME as it is now, may be NULL */
} fpd_script;

/* Changes params (SCRIPT_FILENAME, SCRIPT_NAME, PATH_INFO, PATH_TRANSLATED, their ORIG_ copies) and
 * fills *script, whose strings belong to params. */
void fpd_script_resolve(fpd_script *script, fpd_params *params, const fpd_script_rules *rules);

/* Is the path's ending in the blank-separated list? An empty list or NULL allows all. */
int fpd_script_is_allowed(const char *path, const char *extensions);

#endif

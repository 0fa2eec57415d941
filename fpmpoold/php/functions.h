/* functions.h - the module "cgi-fcgi": fpm's PHP functions and ini settings (spec/php-fpm.md 5).
 *
 * Only for php/.
 */
#ifndef FPD_FUNCTIONS_H
#define FPD_FUNCTIONS_H

#include "php.h"

/* The module's ini settings. */
typedef struct fpd_functions_settings {
    bool rfc2616_headers;
    bool nph;
    bool fix_pathinfo;
    bool discard_path;
    bool logging;        /* fastcgi.logging */
    bool force_redirect; /* unused, as in php-fpm */
    char *redirect_status_env;
    char *error_header; /* fastcgi.error_header */
    char *config;       /* fpm.config */
} fpd_functions_settings;

/* Values as of now. */
const fpd_functions_settings *fpd_functions_settings_now(void);

/* The module, for php_module_startup. */
zend_module_entry *fpd_functions_module(void);

#endif

/* module.h - the SAPI's callbacks, which start.c puts into the SAPI structure. Only for php/. */
#ifndef FPD_MODULE_H
#define FPD_MODULE_H

#include "SAPI.h"

size_t fpd_module_write(const char *text, size_t length);
void fpd_module_flush(void *context);
char *fpd_module_getenv(const char *name, size_t length);
char *fpd_module_read_cookies(void);
size_t fpd_module_read_post(char *buffer, size_t size);
void fpd_module_log(const char *message, int priority);
int fpd_module_activate(void);
int fpd_module_deactivate(void);

/* headers.c: the header block in php-fpm's form (spec/php-fpm.md 4.8). */
int fpd_module_send_headers(sapi_headers_struct *headers);

#endif

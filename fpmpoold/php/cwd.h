/* cwd.h - the working directory of scripts, changed only when it is another one. Only for php/. */
#ifndef FPD_CWD_H
#define FPD_CWD_H

/* In the pool process, after module start-up (and after OPcache's own wrapper): notices scripts
 * that call chdir(). */
void fpd_cwd_install(void);

/* Makes the script's directory the working directory. Remembers it for a second: a deployment may
 * put another directory under the same name. */
void fpd_cwd_enter(const char *script);

#endif

/* fpmp_conf.h - the directives of mod_fpmpool (specification: apache.md 1.8 and 2.3).
 *
 * Create and merge are pure: a merged configuration is a new struct, its parents stay as they are.
 * Everything lives in httpd's configuration pool, is written while the configuration is read and
 * constant while requests run.
 */
#ifndef FPMP_CONF_H
#define FPMP_CONF_H

#include "fpmp_ini.h"
#include "fpmp_pool.h"
#include "fpmp_setenvif.h"

#include <httpd.h>
#include <http_config.h>
#include <apr_hash.h>

extern module AP_MODULE_DECLARE_DATA fpmpool_module;

struct fpmp_connections; /* fpmp_conn.h */
struct fpmp_roots;       /* fpmp_root.h */
struct fpmp_names;       /* fpmp_names.h */
struct fpmp_hosts;       /* fpmp_hosts.h */
struct fpmp_share;       /* fpmp_share.h */

typedef enum fpmp_authorization {
    FPMP_AUTHORIZATION_OFF,   /* the Authorization header stays in httpd */
    FPMP_AUTHORIZATION_ON,    /* passed unless httpd itself authenticated the user */
    FPMP_AUTHORIZATION_ALWAYS /* passed */
} fpmp_authorization;

typedef enum fpmp_body_mode { FPMP_BODY_AUTO, FPMP_BODY_STREAM, FPMP_BODY_BUFFER } fpmp_body_mode;

typedef enum fpmp_flush_mode { FPMP_FLUSH_AUTO, FPMP_FLUSH_ON, FPMP_FLUSH_OFF } fpmp_flush_mode;

/* FpmPoolStderr, besides the levels of httpd. */
enum fpmp_stderr_mode {
    FPMP_STDERR_AUTO = -1, /* PHP's own level */
    FPMP_STDERR_OFF = -2
};

#define FPMP_ABORT_WITHIN_DEFAULT apr_time_from_sec(60)

typedef enum fpmp_resolve_mode {
    FPMP_RESOLVE_AUTO, /* for servers on unix sockets: they see the same files */
    FPMP_RESOLVE_ON,
    FPMP_RESOLVE_OFF
} fpmp_resolve_mode;

#define FPMP_POOLS_MAX     8    /* names of an FpmPool line */
#define FPMP_NAMES_DEFAULT 1024 /* FpmPoolMaxPools */

/* When the fallbacks of FpmPool serve: a set of these. */
enum fpmp_failover { FPMP_FAILOVER_DOWN = 1, FPMP_FAILOVER_OVERLOAD = 2 };

/* One name of an FpmPool line. */
typedef struct fpmp_choice {
    const char *text;       /* the pool's name, or the expression that gives it */
    const void *expression; /* NULL, or an ap_expr_info_t */
} fpmp_choice;

/* An FpmPool line of an .htaccess file. */
typedef struct fpmp_tenant {
    apr_array_header_t *choices; /* as fpmp_dir_conf's; one name */
    const char *file;
    int line;
} fpmp_tenant;

/* Server, virtual host, <Directory>, <Location>, <Files>, <If>. A field counts over the outer
 * section's only if its *_set bit is 1. */
typedef struct fpmp_dir_conf {
    apr_array_header_t *choices;      /* fpmp_choice: the pool and its fallbacks; NULL: `FpmPool
                                       * none`, or nothing selected */
    const struct fpmp_tenant *tenant; /* FpmPool of an .htaccess file, inside of them; NULL: none */
    apr_array_header_t *selectable;   /* const char *: what such a file may name; NULL: nothing */
    int fails_over;                   /* enum fpmp_failover */
    fpmp_timeouts server_timeouts;    /* FpmPoolTimeout of server and virtual host */
    fpmp_timeouts section_timeouts;   /* FpmPoolTimeout inside of sections: goes first */
    fpmp_retry server_retry;          /* FpmPoolRetry, likewise */
    fpmp_retry section_retry;
    fpmp_limit server_limit; /* FpmPoolLimit, likewise */
    fpmp_limit section_limit;
    int retry_after; /* seconds */
    int checks_script;
    fpmp_authorization authorization;
    fpmp_body_mode body_mode;
    apr_size_t body_memory; /* bytes of a request body that are kept in memory */
    fpmp_flush_mode flush;
    int stderr_level;                 /* enum fpmp_stderr_mode, or APLOG_EMERG..APLOG_DEBUG */
    apr_interval_time_t abort_within; /* FpmPoolOnAbort finish: how long a script may run on whose
                                       * client has gone; 0: it is told at once */
    fpmp_resolve_mode resolves_root;
    apr_size_t max_params;          /* bytes of encoded parameters */
    apr_size_t max_header;          /* bytes of a response header block */
    apr_array_header_t *aliases;    /* const char *: handler names besides `fpmpool` */
    apr_array_header_t *send_roots; /* const char *: directories of FpmPoolSendfile, "": the
                                     * document root; NULL: off */
    apr_array_header_t *overridden; /* int: statuses of FpmPoolErrorOverride, 0: all; NULL: none */
    apr_size_t buffer_memory;       /* FpmPoolBuffer; 0: off */
    apr_size_t buffer_file;
    fpmp_setenvif *setenvif; /* NULL: none; an inner section's come behind the outer one's */
    fpmp_ini *ini;           /* php_value and its relatives; NULL: none */
    int server_timing;       /* answers get a Server-Timing header */
    int serves_source;       /* where the engine is off: as mod_php does, not 403 */
    unsigned choices_set : 1;
    unsigned selectable_set : 1;
    unsigned retry_after_set : 1;
    unsigned checks_script_set : 1;
    unsigned authorization_set : 1;
    unsigned body_set : 1;
    unsigned flush_set : 1;
    unsigned max_params_set : 1;
    unsigned max_header_set : 1;
    unsigned aliases_set : 1;
    unsigned serves_source_set : 1;
    unsigned server_timing_set : 1;
    unsigned send_roots_set : 1;
    unsigned overridden_set : 1;
    unsigned buffer_set : 1;
    unsigned resolves_root_set : 1;
    unsigned stderr_level_set : 1;
    unsigned abort_within_set : 1;
    unsigned fails_over_set : 1;
} fpmp_dir_conf;

/* What the whole server has once. */
typedef struct fpmp_global {
    apr_hash_t *pools;  /* name -> fpmp_pool *, implied ones after fpmp_conf_check */
    fpmp_pool defaults; /* of <FpmPoolDefine "*">: what every pool has that says nothing else */
    const char *socket_dir;
    int name_limit; /* FpmPoolMaxPools; 0: not set */
    int max_names;  /* pools that expressions name, in use at a time; 0: there are no expressions */
    int pool_count;
    int server_count;                     /* servers of all pools */
    struct fpmp_connections *connections; /* of this child; NULL before child_init */
    struct fpmp_roots *roots;             /* likewise */
    int name_count;                       /* servers that are names, looked up again */
    struct fpmp_hosts *hosts;             /* of all children; NULL: there are none */
    struct fpmp_share *share;             /* with the other children; after post_config */
    struct fpmp_records *records;         /* in it */
    int row;                              /* of this child in it */
    struct fpmp_names *names;             /* of this child; NULL: no expressions */
} fpmp_global;

/* Why a line names a pool. */
typedef enum fpmp_use_kind { FPMP_USE_FIRST, FPMP_USE_FALLBACK, FPMP_USE_SELECTABLE } fpmp_use_kind;

/* One name of an FpmPool or FpmPoolSelectable line, for the checks at the end; also a section's
 * FpmPoolTimeout line. */
typedef struct fpmp_use {
    const char *name; /* or an expression; NULL: neither */
    int is_expression;
    fpmp_use_kind kind;
    const fpmp_dir_conf *place; /* what it configures: the same for two lines of one section */
    const char *section;        /* "<Directory /srv>", NULL: the server or virtual host itself */
    const char *file;
    int line;
} fpmp_use;

typedef struct fpmp_server_conf {
    fpmp_global *global;                   /* the same for all after the merge */
    apr_array_header_t *uses;              /* fpmp_use: lines of this server or virtual host */
    const struct fpmp_constant *constants; /* fpmp_constant.h; NULL before post_config */
    apr_array_header_t *limits;            /* fpmp_use: FpmPoolTimeout lines in its sections */
} fpmp_server_conf;

extern const command_rec fpmp_conf_directives[];

void *fpmp_conf_dir_create(apr_pool_t *pool, char *path);
void *fpmp_conf_dir_merge(apr_pool_t *pool, void *outer, void *inner);
void *fpmp_conf_server_create(apr_pool_t *pool, server_rec *server);
void *fpmp_conf_server_merge(apr_pool_t *pool, void *outer, void *inner);

/* Does FpmPoolErrorOverride name this status? */
int fpmp_conf_overrides(const fpmp_dir_conf *conf, int status);

/* Which pools serve here: fpmp_dir_conf.choices, or what the .htaccess file chose. */
const apr_array_header_t *fpmp_conf_choices(const fpmp_dir_conf *conf);

/* May its .htaccess file choose that? Without one: yes. */
int fpmp_conf_is_selectable(const fpmp_dir_conf *conf);

fpmp_dir_conf *fpmp_conf_dir(const request_rec *r);
fpmp_global *fpmp_conf_global(const server_rec *server);

/* check_config hook: what can be known only when everything is read. Registers the implied pools,
 * looks up host names, numbers the servers. Logs each mistake with file, line and cure; returns OK
 * or a status that stops httpd. */
int fpmp_conf_check(apr_pool_t *pconf, apr_pool_t *plog, apr_pool_t *ptemp, server_rec *main);

#endif

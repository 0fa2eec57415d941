/* fpmp_address.h - pool names and server addresses as text (specification: apache.md 2.3).
 *
 * Pure: text in, values out; needs APR pools only, so that it is tested without httpd.
 */
#ifndef FPMP_ADDRESS_H
#define FPMP_ADDRESS_H

#include <apr_pools.h>
#include <sys/socket.h>

#define FPMP_SOCKET_PATH_MAX 107 /* sun_path without its NUL */
#define FPMP_POOL_NAME_MAX   64

/* Where a server listens. Strings live as long as the pool they were parsed into. */
typedef struct fpmp_address {
    const char *label;              /* as in log lines: unix:/path or tcp://host:port */
    const char *path;               /* unix socket; NULL for TCP */
    const char *host;               /* TCP: name or number without brackets; NULL for unix */
    unsigned short port;            /* TCP */
    struct sockaddr_storage socket; /* for connect() */
    socklen_t socket_length;        /* 0: a host name that is not resolved yet */
} fpmp_address;

/* Is it a name that may stand in a file name: 1 to 64 of A-Z a-z 0-9 . _ - and no leading dot? */
int fpmp_address_is_pool_name(const char *name);

/* Reads unix:/path or tcp://host:port (IPv6 in brackets). Numeric hosts are filled into `socket`
 * at once, names are not looked up. Returns NULL, or what is wrong with the text. */
const char *fpmp_address_parse(fpmp_address *address, const char *text, apr_pool_t *pool);

/* The socket of a pool without a definition: DIRECTORY/NAME.sock. Returns NULL or what is wrong. */
const char *fpmp_address_imply(fpmp_address *address, const char *directory, const char *name,
                               apr_pool_t *pool);

/* Fills in "unix:/path", which stays the caller's and must live as long; nothing else is allocated.
 * Returns 0 if the path is too long. */
int fpmp_address_set_label(fpmp_address *address, const char *label);

/* Looks a host name up (blocking) and fills `socket`. Numbers and unix sockets: nothing to do. */
apr_status_t fpmp_address_resolve(fpmp_address *address, apr_pool_t *scratch);

#endif

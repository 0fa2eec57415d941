/* fpmp_hosts.h - the addresses of servers that are given by a host name, shared by all httpd
 * children (specification: apache.md 2.2, DNS).
 *
 * One child looks names up (fpmp_lookup.h) and publishes what it finds; all read. A list is
 * replaced as a whole: its other half is written first, then a stamp with a hash of it, so that
 * nobody reads a half list, whoever is killed. Needs APR only.
 */
#ifndef FPMP_HOSTS_H
#define FPMP_HOSTS_H

#include "fpmp_pool.h"

#include <netinet/in.h>
#include <stdint.h>
#include <sys/types.h>

#define FPMP_ADDRESSES_MAX 8 /* of one name; more are not used */

typedef struct fpmp_hosts fpmp_hosts;

typedef union fpmp_socket {
    struct sockaddr any;
    struct sockaddr_in four;
    struct sockaddr_in6 six;
} fpmp_socket;

/* Where a server can be reached, in an order that the name service does not change. */
typedef struct fpmp_addresses {
    uint32_t version; /* changes with the set of addresses */
    int count;        /* 0: not known */
    fpmp_socket sockets[FPMP_ADDRESSES_MAX];
} fpmp_addresses;

/* A table for names with fpmp_server.name_place 1..count, in anonymous memory that is inherited
 * over fork. It is unmapped with `pconf` in this process only: in a child it stays to the end. */
apr_status_t fpmp_hosts_open(fpmp_hosts **names, apr_pool_t *pconf, int count);

/* The addresses of any server. Of a unix socket or a number (or names == NULL): that one, if its
 * address fits; else count is 0 and the server's own address is meant. */
void fpmp_hosts_get(const fpmp_hosts *names, const fpmp_server *server, fpmp_addresses *found);

/* fpmp_addresses.version; always 0 for a server that is no name. */
uint32_t fpmp_hosts_version(const fpmp_hosts *names, const fpmp_server *server);

/* Sorts the addresses, drops doubles and publishes them. Returns 1 if they are others than before.
 */
int fpmp_hosts_publish(fpmp_hosts *names, const fpmp_server *server, fpmp_addresses *found);

/* When it was looked up last (ms; 0: never). */
uint64_t fpmp_hosts_looked(const fpmp_hosts *names, const fpmp_server *server);
void fpmp_hosts_note_look(fpmp_hosts *names, const fpmp_server *server, uint64_t now);

/* One child looks names up, until `until` (ms) or as long as it renews that. Returns 1 if `child`
 * does it now; 0: *until is when its turn may come. */
int fpmp_hosts_lease(fpmp_hosts *names, pid_t child, uint64_t now, uint64_t *until);
void fpmp_hosts_end_lease(fpmp_hosts *names, pid_t child);

#endif

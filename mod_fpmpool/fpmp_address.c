/* fpmp_address.c - pool names and server addresses as text.
 *
 * Runs while the configuration is read, and in a child for host names that could not be resolved
 * then. Owns nothing; must not log and must not connect.
 */
#include "fpmp_address.h"

#include <apr_network_io.h>
#include <apr_strings.h>
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stddef.h>
#include <string.h>
#include <sys/un.h>

int fpmp_address_is_pool_name(const char *name)
{
    size_t length =
        strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-");
    return length > 0 && length <= FPMP_POOL_NAME_MAX && name[length] == '\0' && name[0] != '.';
}

int fpmp_address_set_label(fpmp_address *address, const char *label)
{
    const char *path = label + 5;
    size_t length = strlen(path);
    struct sockaddr_un *name = (struct sockaddr_un *)&address->socket;
    if (length > FPMP_SOCKET_PATH_MAX) {
        return 0;
    }
    name->sun_family = AF_UNIX;
    memcpy(name->sun_path, path, length + 1);
    address->socket_length = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length + 1);
    address->path = path;
    address->label = label;
    return 1;
}

static const char *set_path(fpmp_address *address, const char *path, apr_pool_t *pool)
{
    if (path[0] != '/') {
        return apr_psprintf(pool, "the socket path \"%s\" does not begin with /", path);
    }
    if (!fpmp_address_set_label(address, apr_pstrcat(pool, "unix:", path, NULL))) {
        return apr_psprintf(pool,
                            "the socket path %s has %" APR_SIZE_T_FMT
                            " bytes, a unix socket's can have %d: use a shorter directory",
                            path, strlen(path), FPMP_SOCKET_PATH_MAX);
    }
    return NULL;
}

static void set_number(fpmp_address *address)
{
    struct sockaddr_in *four = (struct sockaddr_in *)&address->socket;
    struct sockaddr_in6 *six = (struct sockaddr_in6 *)&address->socket;
    if (inet_pton(AF_INET, address->host, &four->sin_addr) == 1) {
        four->sin_family = AF_INET;
        four->sin_port = htons(address->port);
        address->socket_length = sizeof(*four);
    } else if (inet_pton(AF_INET6, address->host, &six->sin6_addr) == 1) {
        six->sin6_family = AF_INET6;
        six->sin6_port = htons(address->port);
        address->socket_length = sizeof(*six);
    }
}

static const char *set_host(fpmp_address *address, const char *text, apr_pool_t *pool)
{
    char *host = NULL;
    char *scope = NULL;
    apr_port_t port = 0;
    int is_good = apr_parse_addr_port(&host, &scope, &port, text, pool) == APR_SUCCESS && host &&
                  !scope && port && (text[0] == '[' || !strchr(host, ':'));
    if (!is_good) {
        return apr_psprintf(pool, "\"tcp://%s\" is not tcp://host:port (IPv6: tcp://[::1]:9000)",
                            text);
    }
    address->host = host;
    address->port = port;
    address->label = apr_pstrcat(pool, "tcp://", text, NULL);
    set_number(address);
    return NULL;
}

const char *fpmp_address_parse(fpmp_address *address, const char *text, apr_pool_t *pool)
{
    memset(address, 0, sizeof(*address));
    if (!strncasecmp(text, "unix:", 5)) {
        return set_path(address, text + 5, pool);
    }
    if (!strncasecmp(text, "tcp://", 6)) {
        return set_host(address, text + 6, pool);
    }
    return apr_psprintf(pool, "\"%s\" is neither unix:/path nor tcp://host:port", text);
}

const char *fpmp_address_imply(fpmp_address *address, const char *directory, const char *name,
                               apr_pool_t *pool)
{
    memset(address, 0, sizeof(*address));
    return set_path(address, apr_pstrcat(pool, directory, "/", name, ".sock", NULL), pool);
}

apr_status_t fpmp_address_resolve(fpmp_address *address, apr_pool_t *scratch)
{
    if (address->socket_length) {
        return APR_SUCCESS;
    }
    apr_sockaddr_t *found = NULL;
    apr_status_t status =
        apr_sockaddr_info_get(&found, address->host, APR_UNSPEC, address->port, 0, scratch);
    if (status != APR_SUCCESS) {
        return status;
    }
    memcpy(&address->socket, &found->sa, (size_t)found->salen);
    address->socket_length = (socklen_t)found->salen;
    return APR_SUCCESS;
}

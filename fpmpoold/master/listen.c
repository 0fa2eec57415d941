/* listen.c - binds unix and TCP sockets for pools.
 *
 * Runs in the master only; listeners stay open there for the life of a pool, so that no waiting
 * connection is lost when a pool process is replaced. It never accepts.
 */
#include "master/listen.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <netdb.h>
#include <netinet/in.h>
#include <poll.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "apr_strings.h"
#include "base/log.h"
#include "base/loop.h"
#include "master/listen_acl.h"

#define LIVE_SOCKET_PAUSE 50 /* milliseconds between tries */
#define DEFAULT_MODE      0660

int fpd_listen_is_tcp(const char *address)
{
    return strchr(address, ':') != NULL || address[strspn(address, "0123456789")] == '\0';
}

static int open_socket(int family)
{
    return socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
}

/* ---- unix --------------------------------------------------------------------------------- */

static uid_t find_user(const char *name, gid_t *primary_group)
{
    const struct passwd *user;

    if (name == NULL) {
        return (uid_t)-1;
    }
    if (name[strspn(name, "0123456789")] == '\0') {
        return (uid_t)atoi(name);
    }
    user = getpwnam(name);
    if (user == NULL) {
        return (uid_t)-1;
    }
    *primary_group = user->pw_gid;
    return user->pw_uid;
}

static gid_t find_group(const char *name, gid_t otherwise)
{
    const struct group *group;

    if (name == NULL) {
        return otherwise;
    }
    if (name[strspn(name, "0123456789")] == '\0') {
        return (gid_t)atoi(name);
    }
    group = getgrnam(name);
    return group != NULL ? group->gr_gid : otherwise;
}

static mode_t wanted_mode(const fpd_plan_pool *plan)
{
    return plan->listen_mode == FPD_PLAN_UNSET ? DEFAULT_MODE : (mode_t)plan->listen_mode;
}

static apr_status_t change_owner(int fd, const fpd_plan_pool *plan)
{
    gid_t group = (gid_t)-1;
    uid_t user = find_user(plan->listen_owner, &group);
    apr_status_t status;

    group = find_group(plan->listen_group, group);
    if ((user == (uid_t)-1 && group == (gid_t)-1) ||
        fchownat(fd, "", user, group, AT_EMPTY_PATH) == 0) {
        return APR_SUCCESS;
    }
    status = errno;
    fpd_log_errno(FPD_LOG_ERROR, status, "[pool %s] failed to chown() the socket '%s'", plan->name,
                  plan->listen);
    return status;
}

/* php-fpm's rule: whoever is listed gets in, and the owner stays who the master is. */
static void say_ignored(const fpd_plan_pool *plan)
{
    if (plan->listen_owner != NULL) {
        fpd_log(FPD_LOG_WARNING, "[pool %s] ACL set, listen.owner = '%s' is ignored", plan->name,
                plan->listen_owner);
    }
    if (plan->listen_group != NULL) {
        fpd_log(FPD_LOG_WARNING, "[pool %s] ACL set, listen.group = '%s' is ignored", plan->name,
                plan->listen_group);
    }
}

/* Through a descriptor of the socket itself: a path that was swapped meanwhile changes nothing
 * else. */
static apr_status_t own_socket(const fpd_plan_pool *plan)
{
    int fd = open(plan->listen, O_PATH | O_NOFOLLOW | O_CLOEXEC);
    int has_list = fpd_listen_acl_is_wanted(plan);
    char self[32];
    struct stat about;
    apr_status_t status;

    if (fd < 0) {
        return errno;
    }
    apr_snprintf(self, sizeof(self), "/proc/self/fd/%d", fd);
    if (fstat(fd, &about) != 0 || !S_ISSOCK(about.st_mode)) {
        close(fd);
        return APR_EINVAL;
    }
    if (has_list) {
        say_ignored(plan);
    }
    status = has_list ? APR_SUCCESS : change_owner(fd, plan);
    if (status == APR_SUCCESS) {
        status = fpd_listen_acl_apply(self, plan, wanted_mode(plan));
    }
    if (status == APR_SUCCESS && !has_list && chmod(self, wanted_mode(plan)) != 0) {
        status = errno;
        fpd_log_errno(FPD_LOG_ERROR, status, "[pool %s] failed to chmod() the socket '%s'",
                      plan->name, plan->listen);
    }
    close(fd);
    return status;
}

/* 1: someone listens there. 0: nobody, or no such file. */
static int is_live(const struct sockaddr_un *address)
{
    int fd = open_socket(AF_UNIX);
    int answers;

    if (fd < 0) {
        return 0;
    }
    answers = connect(fd, (const struct sockaddr *)address, sizeof(*address)) == 0 ||
              errno == EAGAIN; /* a full backlog is alive too */
    close(fd);
    return answers;
}

static apr_status_t clear_path(const fpd_plan_pool *plan, const struct sockaddr_un *address,
                               int64_t patient_until)
{
    struct stat about;

    if (lstat(plan->listen, &about) != 0) {
        return APR_SUCCESS;
    }
    if (!S_ISSOCK(about.st_mode)) {
        fpd_log(FPD_LOG_ERROR,
                "[pool %s] '%s' exists and is not a socket: move it away or change 'listen'",
                plan->name, plan->listen);
        return APR_EEXIST;
    }
    while (is_live(address)) {
        if (fpd_monotonic_now() > patient_until) {
            fpd_log(FPD_LOG_ERROR, "Another FPM instance seems to already listen on %s",
                    plan->listen);
            return EADDRINUSE;
        }
        (void)poll(NULL, 0, LIVE_SOCKET_PAUSE);
    }
    return unlink(plan->listen) == 0 || errno == ENOENT ? APR_SUCCESS : errno;
}

static apr_status_t fail_bind(const fpd_plan_pool *plan, int fd, const char *what)
{
    int error = errno;

    fpd_log_errno(FPD_LOG_ERROR, error, "[pool %s] %s for address '%s'", plan->name, what,
                  plan->listen);
    close(fd);
    return error;
}

static apr_status_t open_unix(int *opened, const fpd_plan_pool *plan, int64_t patient_until)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    apr_status_t status;
    mode_t old_mask;
    int fd;
    int is_bound;

    if (strlen(plan->listen) >= sizeof(address.sun_path)) {
        fpd_log(FPD_LOG_ERROR, "[pool %s] the socket path '%s' is longer than %d bytes", plan->name,
                plan->listen, (int)sizeof(address.sun_path) - 1);
        return APR_ENAMETOOLONG;
    }
    strcpy(address.sun_path, plan->listen); /* fits: checked above */
    status = clear_path(plan, &address, patient_until);
    if (status != APR_SUCCESS) {
        return status;
    }
    fd = open_socket(AF_UNIX);
    if (fd < 0) {
        return errno;
    }
    old_mask = umask(0777 & ~wanted_mode(plan));
    is_bound = bind(fd, (const struct sockaddr *)&address, sizeof(address)) == 0;
    umask(old_mask);
    if (!is_bound) {
        return fail_bind(plan, fd, "unable to bind listening socket");
    }
    status = own_socket(plan);
    if (status != APR_SUCCESS) {
        close(fd);
        (void)unlink(plan->listen);
        return status;
    }
    *opened = fd;
    return APR_SUCCESS;
}

/* ---- TCP ---------------------------------------------------------------------------------- */

static int bind_patiently(int fd, const struct addrinfo *address, int64_t patient_until)
{
    int result;

    while ((result = bind(fd, address->ai_addr, address->ai_addrlen)) != 0 && errno == EADDRINUSE &&
           fpd_monotonic_now() < patient_until) {
        (void)poll(NULL, 0, LIVE_SOCKET_PAUSE);
    }
    return result;
}

static apr_status_t bind_tcp(int *opened, const fpd_plan_pool *plan, const struct addrinfo *address,
                             int64_t patient_until)
{
    int on = 1;
    int off = 0;
    int fd = open_socket(address->ai_family);

    if (fd < 0) {
        return errno;
    }
    if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) != 0) {
        return fail_bind(plan, fd, "unable to set SO_REUSEADDR");
    }
    if (address->ai_family == AF_INET6) {
        (void)setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off));
    }
    if (bind_patiently(fd, address, patient_until) != 0) {
        return fail_bind(plan, fd, "unable to bind listening socket");
    }
    *opened = fd;
    return APR_SUCCESS;
}

static apr_status_t resolve_and_bind(int *opened, const fpd_plan_pool *plan, const char *host,
                                     const char *port, int flags, int64_t patient_until)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = flags};
    struct addrinfo *found;
    apr_status_t status;
    int error = getaddrinfo(host, port, &hints, &found);

    if (error != 0) {
        fpd_log(FPD_LOG_ERROR, "[pool %s] getaddrinfo: %s (listen = %s)", plan->name,
                gai_strerror(error), plan->listen);
        return APR_EGENERAL;
    }
    status = bind_tcp(opened, plan, found, patient_until);
    freeaddrinfo(found);
    return status;
}

void fpd_listen_split(const char *address, const char **host, const char **port, int *flags,
                      apr_pool_t *pool)
{
    const char *colon = strrchr(address, ':');

    *port = colon != NULL ? colon + 1 : address;
    *flags = colon != NULL ? 0 : AI_PASSIVE;
    *host = "::";
    if (colon == NULL) {
        return;
    }
    *host = apr_pstrmemdup(pool, address, (apr_size_t)(colon - address));
    if (**host == '[' && (*host)[strlen(*host) - 1] == ']') {
        *host = apr_pstrmemdup(pool, *host + 1, strlen(*host) - 2);
    } else if (strcmp(*host, "*") == 0) {
        /* php-fpm's "*" is the loopback address, and so it stays: nobody's port opens by a switch
         */
        *host = NULL;
    }
}

static apr_status_t open_tcp(int *opened, const fpd_plan_pool *plan, int64_t patient_until,
                             apr_pool_t *scratch)
{
    const char *host;
    const char *port;
    int flags;

    fpd_listen_split(plan->listen, &host, &port, &flags, scratch);
    if (port[strspn(port, "0123456789")] != '\0' || atoi(port) < 1 || atoi(port) > 65535) {
        fpd_log(FPD_LOG_ERROR, "[pool %s] invalid port value '%s'", plan->name, port);
        return APR_EINVAL;
    }
    if (strchr(plan->listen, ':') != NULL) {
        return resolve_and_bind(opened, plan, host, port, flags, patient_until);
    }
    if (resolve_and_bind(opened, plan, host, port, flags, patient_until) == APR_SUCCESS) {
        return APR_SUCCESS;
    }
    fpd_log(FPD_LOG_NOTICE, "[pool %s] Failed implicitly binding to ::, retrying with 0.0.0.0",
            plan->name);
    return resolve_and_bind(opened, plan, "0.0.0.0", port, flags, patient_until);
}

/* ---- both --------------------------------------------------------------------------------- */

apr_status_t fpd_listen_open(int *opened, const fpd_plan_pool *plan, int64_t patient_until,
                             apr_pool_t *scratch)
{
    int fd = -1;
    apr_status_t status = fpd_listen_is_tcp(plan->listen)
                              ? open_tcp(&fd, plan, patient_until, scratch)
                              : open_unix(&fd, plan, patient_until);

    if (status != APR_SUCCESS) {
        return status;
    }
    if (listen(fd, plan->listen_backlog) != 0) {
        return fail_bind(plan, fd, "failed to listen");
    }
    *opened = fd;
    return APR_SUCCESS;
}

apr_status_t fpd_listen_adjust(int fd, const fpd_plan_pool *plan)
{
    if (listen(fd, plan->listen_backlog) != 0) {
        return errno;
    }
    return fpd_listen_is_tcp(plan->listen) ? APR_SUCCESS : own_socket(plan);
}

const char *fpd_listen_describe(int fd, apr_pool_t *pool)
{
    struct sockaddr_storage address;
    struct sockaddr_un *local = (struct sockaddr_un *)&address;
    socklen_t length = sizeof(address);
    char host[NI_MAXHOST];
    char port[NI_MAXSERV];

    memset(&address, 0, sizeof(address)); /* a path need not end with NUL */
    if (getsockname(fd, (struct sockaddr *)&address, &length) != 0) {
        return "?";
    }
    if (address.ss_family == AF_UNIX) {
        return apr_pstrmemdup(pool, local->sun_path,
                              strnlen(local->sun_path, sizeof(local->sun_path)));
    }
    if (getnameinfo((struct sockaddr *)&address, length, host, sizeof(host), port, sizeof(port),
                    NI_NUMERICHOST | NI_NUMERICSERV) != 0) {
        return "?";
    }
    return apr_pstrcat(pool, host, ":", port, NULL);
}

void fpd_listen_unlink(const char *address)
{
    struct stat about;

    if (!fpd_listen_is_tcp(address) && lstat(address, &about) == 0 && S_ISSOCK(about.st_mode)) {
        (void)unlink(address);
    }
}

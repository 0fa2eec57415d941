/* listen_acl.c - writes POSIX access control lists of unix sockets, with libacl.
 *
 * Runs in the master only. Names come from the configuration, which was checked; whoever has gone
 * from the user database since then is an error here. It must not follow a path that a tenant can
 * swap: the caller gives a name that leads to the socket itself.
 */
#include "master/listen_acl.h"

#include <acl/libacl.h>
#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <string.h>
#include <sys/acl.h>

#include "base/log.h"

#define NAME_MAX_LENGTH 256
#define MODE_ENTRIES    3   /* owner, group, others */
#define FOLDER_MAX      256 /* a socket's path is shorter */

int fpd_listen_acl_is_wanted(const fpd_plan_pool *plan)
{
    return (plan->listen_acl_users != NULL && *plan->listen_acl_users != '\0') ||
           (plan->listen_acl_groups != NULL && *plan->listen_acl_groups != '\0');
}

/* ---- entries ------------------------------------------------------------------------------ */

static int is_named(acl_tag_t tag)
{
    return tag == ACL_USER || tag == ACL_GROUP;
}

/* The entry of that user or group; NULL: there is none yet. */
static int find_entry(acl_t list, acl_tag_t tag, id_t id, acl_entry_t *entry)
{
    for (int more = acl_get_entry(list, ACL_FIRST_ENTRY, entry); more == 1;
         more = acl_get_entry(list, ACL_NEXT_ENTRY, entry)) {
        acl_tag_t found;
        id_t *qualifier;
        int is_same;
        if (acl_get_tag_type(*entry, &found) != 0 || found != tag) {
            continue;
        }
        qualifier = acl_get_qualifier(*entry);
        is_same = qualifier != NULL && *qualifier == id;
        acl_free(qualifier);
        if (is_same) {
            return 1;
        }
    }
    return 0;
}

static int allow(acl_t *list, acl_tag_t tag, id_t id)
{
    acl_entry_t entry;
    acl_permset_t rights;

    if (!find_entry(*list, tag, id, &entry) &&
        (acl_create_entry(list, &entry) != 0 || acl_set_tag_type(entry, tag) != 0 ||
         acl_set_qualifier(entry, &id) != 0)) {
        return 0;
    }
    return acl_get_permset(entry, &rights) == 0 && acl_clear_perms(rights) == 0 &&
           acl_add_perm(rights, ACL_READ) == 0 && acl_add_perm(rights, ACL_WRITE) == 0;
}

static int find_id(acl_tag_t tag, const char *name, id_t *id)
{
    const struct passwd *user = tag == ACL_USER ? getpwnam(name) : NULL;
    const struct group *group = tag == ACL_GROUP ? getgrnam(name) : NULL;

    if (user != NULL) {
        *id = user->pw_uid;
    } else if (group != NULL) {
        *id = group->gr_gid;
    }
    return user != NULL || group != NULL;
}

/* The check of the configuration has made it the pool's failure, or the name has gone since then:
 * nobody gets in by it. */
static void say_unknown(const fpd_plan_pool *plan, acl_tag_t tag, const char *name)
{
    if (plan->failure == NULL) {
        fpd_log(FPD_LOG_ERROR,
                tag == ACL_USER ? "[pool %s] cannot get uid for user '%s'"
                                : "[pool %s] cannot get gid for group '%s'",
                plan->name, name);
    }
}

/* names: with commas and no blanks. */
static apr_status_t allow_names(acl_t *list, const fpd_plan_pool *plan, acl_tag_t tag,
                                const char *names)
{
    while (names != NULL && *names != '\0') {
        size_t length = strcspn(names, ",");
        char name[NAME_MAX_LENGTH];
        id_t id;
        if (length >= sizeof(name)) {
            length = sizeof(name) - 1;
        }
        memcpy(name, names, length);
        name[length] = '\0';
        if (!find_id(tag, name, &id)) {
            say_unknown(plan, tag, name);
        } else if (!allow(list, tag, id)) {
            fpd_log_errno(FPD_LOG_ERROR, errno,
                          "[pool %s] failed to add entry to the ACL of the socket '%s'", plan->name,
                          plan->listen);
            return errno;
        }
        names += strcspn(names, ",");
        names += *names == ',';
    }
    return APR_SUCCESS;
}

/* What everything new in that folder gets. */
static acl_t default_list(const char *socket_path)
{
    const char *slash = strrchr(socket_path, '/');
    char folder[FOLDER_MAX];
    size_t length = slash != NULL ? (size_t)(slash - socket_path) : 0;

    if (length == 0 || length >= sizeof(folder)) {
        return NULL;
    }
    memcpy(folder, socket_path, length);
    folder[length] = '\0';
    return acl_get_file(folder, ACL_TYPE_DEFAULT);
}

static void copy_named(acl_t *list, acl_t from)
{
    acl_entry_t entry;

    for (int more = acl_get_entry(from, ACL_FIRST_ENTRY, &entry); more == 1;
         more = acl_get_entry(from, ACL_NEXT_ENTRY, &entry)) {
        acl_tag_t tag;
        acl_entry_t copy;
        if (acl_get_tag_type(entry, &tag) == 0 && is_named(tag) &&
            acl_create_entry(list, &copy) == 0) {
            (void)acl_copy_entry(copy, entry);
        }
    }
}

/* ---- the list of a socket ----------------------------------------------------------------- */

static apr_status_t write_list(const char *path, const fpd_plan_pool *plan, mode_t mode)
{
    acl_t list = acl_from_mode(mode);
    acl_t inherited = default_list(plan->listen);
    apr_status_t status = APR_SUCCESS;

    if (list == NULL) {
        status = errno;
    } else if (inherited != NULL) {
        copy_named(&list, inherited);
    }
    if (status == APR_SUCCESS) {
        status = allow_names(&list, plan, ACL_USER, plan->listen_acl_users);
    }
    if (status == APR_SUCCESS) {
        status = allow_names(&list, plan, ACL_GROUP, plan->listen_acl_groups);
    }
    /* without anybody named, a mask would make it more than a mode */
    if (status == APR_SUCCESS &&
        ((acl_entries(list) > MODE_ENTRIES && acl_calc_mask(&list) != 0) || acl_valid(list) != 0 ||
         acl_set_file(path, ACL_TYPE_ACCESS, list) != 0)) {
        status = errno;
        fpd_log_errno(FPD_LOG_ERROR, status, "[pool %s] failed to write the ACL of the socket '%s'",
                      plan->name, plan->listen);
    }
    acl_free(inherited);
    acl_free(list);
    return status;
}

apr_status_t fpd_listen_acl_apply(const char *path, const fpd_plan_pool *plan, mode_t mode)
{
    int is_extended = acl_extended_file(path);
    apr_status_t status;

    if (!fpd_listen_acl_is_wanted(plan)) {
        return is_extended <= 0 ? APR_SUCCESS : write_list(path, plan, mode);
    }
    if (is_extended < 0) { /* a file system without lists, mostly */
        status = errno;
        fpd_log_errno(FPD_LOG_ERROR, status, "[pool %s] failed to read the ACL of the socket '%s'",
                      plan->name, plan->listen);
        return status;
    }
    status = write_list(path, plan, mode);
    if (status == APR_SUCCESS) {
        fpd_log(FPD_LOG_DEBUG, "[pool %s] ACL of the socket '%s' is set", plan->name, plan->listen);
    }
    return status;
}

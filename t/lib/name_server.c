/* name_server.c - preloaded by t/57-names.t: a name service that a test writes. $NAME_FILE has
 * lines "NAME ADDRESS..."; "NAME !" is not found, "NAME ?" has no answer until the line is another
 * one. Other names go to the system. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef int look_up(const char *, const char *, const struct addrinfo *, struct addrinfo **);

/* The rest of the name's line; NULL: none. */
static char *find(const char *name, char *line, int size)
{
    const char *path = getenv("NAME_FILE");
    FILE *in = path ? fopen(path, "re") : NULL;
    char *found = NULL;
    size_t length = strlen(name);
    while (in && !found && fgets(line, size, in)) {
        if (!strncmp(line, name, length) && line[length] == ' ') {
            found = line + length + 1;
        }
    }
    if (in) {
        fclose(in);
    }
    return found;
}

int getaddrinfo(const char *name, const char *service, const struct addrinfo *hints,
                struct addrinfo **result)
{
    look_up *real = (look_up *)dlsym(RTLD_NEXT, "getaddrinfo");
    char line[1000];
    char *rest = name ? find(name, line, sizeof(line)) : NULL;
    if (!rest) {
        return real(name, service, hints, result);
    }
    while (rest && *rest == '?') {
        usleep(10000);
        rest = find(name, line, sizeof(line));
    }
    struct addrinfo *last = NULL;
    *result = NULL;
    char *more = NULL;
    for (char *word = rest ? strtok_r(rest, " \n", &more) : NULL; word && *word != '!';
         word = strtok_r(NULL, " \n", &more)) {
        struct addrinfo *one = NULL;
        if (real(word, service, hints, &one)) {
            return EAI_FAIL;
        }
        *(last ? &last->ai_next : result) = one;
        for (last = one; last->ai_next; last = last->ai_next) {
        }
    }
    return *result ? 0 : EAI_NONAME;
}

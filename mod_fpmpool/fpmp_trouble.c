/* fpmp_trouble.c - why a server failed last.
 *
 * Runs in every thread of every httpd child, when something failed. Plain atomics; must not log.
 */
#include "fpmp_trouble.h"

#include <apr_strings.h>
#include <string.h>

#define WORDS (FPMP_TROUBLE_SIZE / sizeof(uint64_t))

/* FNV-1a, by words; never 0. */
static uint64_t seal_of(uint64_t when, const uint64_t *words)
{
    uint64_t sum = (UINT64_C(14695981039346656037) ^ when) * UINT64_C(1099511628211);
    for (size_t i = 0; i < WORDS; i++) {
        sum = (sum ^ words[i]) * UINT64_C(1099511628211);
    }
    return sum | 1;
}

void fpmp_trouble_note(fpmp_trouble *trouble, const char *text, uint64_t now)
{
    uint64_t words[WORDS] = {0};
    apr_cpystrn((char *)words, text, sizeof(words));
    atomic_store(&trouble->seal, 0);
    atomic_store(&trouble->when, now);
    for (size_t i = 0; i < WORDS; i++) {
        atomic_store(&trouble->words[i], words[i]);
    }
    atomic_store(&trouble->seal, seal_of(now, words));
}

int fpmp_trouble_read(const fpmp_trouble *trouble, char text[FPMP_TROUBLE_SIZE], uint64_t *when)
{
    uint64_t words[WORDS];
    uint64_t seal = atomic_load(&trouble->seal);
    *when = atomic_load(&trouble->when);
    for (size_t i = 0; i < WORDS; i++) {
        words[i] = atomic_load(&trouble->words[i]);
    }
    if (!seal || seal != seal_of(*when, words)) {
        return 0;
    }
    memcpy(text, words, sizeof(words));
    text[FPMP_TROUBLE_SIZE - 1] = '\0';
    return 1;
}

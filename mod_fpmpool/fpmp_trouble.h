/* fpmp_trouble.h - why a server failed last: a short text in shared memory, for people. Needs APR
 * only.
 *
 * No lock: a text that is being written, or whose writer was killed or met another one, is not read
 * at all. All zero is none.
 */
#ifndef FPMP_TROUBLE_H
#define FPMP_TROUBLE_H

#include <stdatomic.h>
#include <stdint.h>

#define FPMP_TROUBLE_SIZE 64 /* bytes, with the NUL */

typedef struct fpmp_trouble {
    _Atomic(uint64_t) when; /* ms of fpmp_clock_now() */
    _Atomic(uint64_t) words[FPMP_TROUBLE_SIZE / sizeof(uint64_t)];
    _Atomic(uint64_t) seal; /* a sum of all of them */
} fpmp_trouble;

/* A longer text is cut. */
void fpmp_trouble_note(fpmp_trouble *trouble, const char *text, uint64_t now);

/* 0: there is none. */
int fpmp_trouble_read(const fpmp_trouble *trouble, char text[FPMP_TROUBLE_SIZE], uint64_t *when);

#endif

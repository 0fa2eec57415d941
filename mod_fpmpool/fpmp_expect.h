/* fpmp_expect.h - FpmPoolCheck expect=: is the answer of a check's script the right one?
 *
 * httpd's expression syntax over a vocabulary of our own: %{REQUEST_STATUS}, resp('Name'),
 * hc('body') (the first bytes of the body), tolower(), toupper(), -n, -z. Variables and functions
 * of httpd and of its other modules are not known: they want a request, its connection and its
 * thread, and a check has none of these.
 */
#ifndef FPMP_EXPECT_H
#define FPMP_EXPECT_H

#include "fpmp_pool.h"

#include <httpd.h>
#include <http_config.h>

typedef struct fpmp_expect fpmp_expect;

/* What a script has answered; bytes without NUL at the end. */
typedef struct fpmp_expect_answer {
    int status;
    const char *header;
    size_t header_length;
    const char *body;
    size_t body_length;
} fpmp_expect_answer;

/* Returns NULL, or what is wrong with the text (in cmd->pool). */
const char *fpmp_expect_parse(cmd_parms *cmd, const char *text, const fpmp_expect **expectation);

/* As the configuration has it. */
const char *fpmp_expect_text(const fpmp_expect *expectation);

/* May be called by any thread: it uses memory of its own, and nothing of a child's pools. An
 * expression that cannot be evaluated is not met. */
int fpmp_expect_is_met(const fpmp_expect *expectation, server_rec *main,
                       const fpmp_expect_answer *answer);

#endif

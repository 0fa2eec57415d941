/* fpmp_check.h - what a check says to a server, and what is made of the answer (FpmPoolCheck;
 * specification: apache.md 2.2).
 *
 * Pure: bytes in, bytes out, no sockets, no clock, no log. Needs APR and wire/ only.
 */
#ifndef FPMP_CHECK_H
#define FPMP_CHECK_H

#include "fpmp_pool.h"
#include "wire/wire.h"

#include <stddef.h>
#include <stdint.h>

#define FPMP_CHECK_ANSWER_MOST 16384 /* bytes of header and body that are looked at */

typedef enum fpmp_check_word {
    FPMP_CHECK_MORE,     /* give it more bytes */
    FPMP_CHECK_GOOD,     /* it is FastCGI that answers; a script: status and answer are there */
    FPMP_CHECK_BUSY,     /* OVERLOADED: neither good nor bad */
    FPMP_CHECK_CLOSED,   /* the connection ended without an answer */
    FPMP_CHECK_INVALID,  /* not FastCGI */
    FPMP_CHECK_REFUSED,  /* CANT_MPX_CONN, UNKNOWN_ROLE */
    FPMP_CHECK_NO_ANSWER /* the script's header block is malformed, too large or not there */
} fpmp_check_word;

/* One check at a time. Memory is of malloc and stays until the process ends. */
typedef struct fpmp_check_talk {
    uint8_t *question; /* bytes to send */
    size_t question_length;
    int is_script;
    /* of the check that runs */
    int has_started; /* our daemon has said that the script runs */
    int status;      /* of a script that is GOOD */
    char *answer;    /* of a script: its header block, then the head of its body */
    size_t answer_length;
    size_t header_length; /* with its blank line; 0: not there yet */
    size_t received;      /* private: of a ping's answer */
    wire_decoder decoder; /* private */
} fpmp_check_talk;

/* Writes the question. Returns 0 if there is no memory. */
int fpmp_check_prepare(fpmp_check_talk *talk, const fpmp_check *check, fpmp_server_type type);

/* Another check begins. */
void fpmp_check_begin(fpmp_check_talk *talk);

/* Bytes of the server's; `length` 0: it has closed the connection. */
fpmp_check_word fpmp_check_take(fpmp_check_talk *talk, const uint8_t *bytes, size_t length);

/* What a bad word means, for the log: "it closes the connection of a check". */
const char *fpmp_check_reason(fpmp_check_word word);

#endif

/* test_fpmp_check.c - what a check asks, and what becomes of each answer. */
#include "unit.h"

#include "fpmp_check.h"

#include <stdlib.h>
#include <string.h>

static const fpmp_check ping = {.kind = FPMP_CHECK_PING};
static const fpmp_check script = {.kind = FPMP_CHECK_SCRIPT, .script = "/srv/a/health.php"};

/* Puts a record behind what is there. */
static size_t put(uint8_t *to, size_t used, int type, const char *text, size_t length)
{
    wire_header_write(to + used, type, type == WIRE_GET_VALUES_RESULT ? 0 : FPMP_REQUEST_ID,
                      (uint16_t)length, 0);
    if (length) {
        memcpy(to + used + WIRE_HEADER_SIZE, text, length);
    }
    return used + WIRE_HEADER_SIZE + length;
}

/* Gives all bytes, `step` at a time. */
static fpmp_check_word give(fpmp_check_talk *talk, const uint8_t *bytes, size_t length, size_t step)
{
    fpmp_check_word word = FPMP_CHECK_MORE;
    fpmp_check_begin(talk);
    for (size_t at = 0; at < length && word == FPMP_CHECK_MORE; at += step) {
        word = fpmp_check_take(talk, bytes + at, length - at < step ? length - at : step);
    }
    return word;
}

START_TEST(test_ping)
{
    fpmp_check_talk talk;
    uint8_t bytes[64];
    ck_assert(fpmp_check_prepare(&talk, &ping, FPMP_TYPE_GENERIC));
    ck_assert_uint_eq(talk.question[1], WIRE_GET_VALUES);
    size_t length = put(bytes, 0, WIRE_GET_VALUES_RESULT, "", 0);
    ck_assert_int_eq(give(&talk, bytes, length, 64), FPMP_CHECK_GOOD);
    ck_assert_int_eq(give(&talk, bytes, length, 1), FPMP_CHECK_GOOD);
    ck_assert_int_eq(give(&talk, bytes, 7, 64), FPMP_CHECK_MORE);
    ck_assert_int_eq(fpmp_check_take(&talk, NULL, 0), FPMP_CHECK_CLOSED);
    ck_assert_int_eq(give(&talk, (const uint8_t *)"HTTP/1.1 400", 12, 64), FPMP_CHECK_INVALID);
}
END_TEST

/* What the server is told, by its type: the value of a variable, NULL: it is not there. */
static const char *find_variable(const fpmp_check_talk *talk, const char *name)
{
    static char value[200];
    const uint8_t *cursor = talk->question;
    const uint8_t *end = talk->question + talk->question_length;
    wire_decoder decoder;
    wire_event event;
    const char *found = NULL;
    wire_decoder_init(&decoder, WIRE_SERVER, 65536);
    while (wire_decode(&decoder, &cursor, end, &event) != WIRE_EVENT_MORE) {
        ck_assert_int_ne(event.kind, WIRE_EVENT_ERROR);
        const uint8_t *at = event.data;
        wire_pair pair;
        while (event.kind == WIRE_EVENT_PARAMS &&
               wire_pair_next(&at, event.data + event.length, &pair) > 0) {
            if (pair.name_length == strlen(name) && !memcmp(pair.name, name, pair.name_length)) {
                memcpy(value, pair.value, pair.value_length);
                value[pair.value_length] = '\0';
                found = value;
            }
        }
    }
    ck_assert(wire_decoder_is_clean(&decoder));
    return found;
}

START_TEST(test_question)
{
    static const fpmp_check top = {.kind = FPMP_CHECK_SCRIPT, .script = "/h.php"};
    fpmp_check_talk talk;
    ck_assert(fpmp_check_prepare(&talk, &script, FPMP_TYPE_FPMPOOL));
    ck_assert_str_eq(find_variable(&talk, "SCRIPT_FILENAME"), "/srv/a/health.php");
    ck_assert_str_eq(find_variable(&talk, "DOCUMENT_ROOT"), "/srv/a");
    ck_assert_str_eq(find_variable(&talk, "SCRIPT_NAME"), "/health.php");
    ck_assert_str_eq(find_variable(&talk, "REQUEST_METHOD"), "GET");
    ck_assert_str_eq(find_variable(&talk, WIRE_PARAM_ACK), "1");
    ck_assert(fpmp_check_prepare(&talk, &script, FPMP_TYPE_FPM));
    ck_assert_str_eq(find_variable(&talk, "SCRIPT_FILENAME"), FPMP_FPM_PREFIX "/srv/a/health.php");
    ck_assert_ptr_null(find_variable(&talk, WIRE_PARAM_ACK));
    ck_assert_ptr_null(find_variable(&talk, WIRE_PARAM_PEER));
    ck_assert(fpmp_check_prepare(&talk, &top, FPMP_TYPE_GENERIC));
    ck_assert_str_eq(find_variable(&talk, "SCRIPT_FILENAME"), "/h.php");
    ck_assert_str_eq(find_variable(&talk, "DOCUMENT_ROOT"), "/");
}
END_TEST

/* STDOUT, END_REQUEST's protocol status (-1: none) -> word, status, body */
static const struct {
    const char *output;
    int end;
    fpmp_check_word word;
    int status;
    const char *body;
} answers[] = {
    {"Content-Type: text/html\r\n\r\nok", 0, FPMP_CHECK_GOOD, 200, "ok"},
    {"Status: 503 Not now\r\n\r\n", 0, FPMP_CHECK_GOOD, 503, ""},
    {"Status: 204\n\n", 0, FPMP_CHECK_GOOD, 204, ""},
    {"Location: /x\r\n\r\n", 0, FPMP_CHECK_GOOD, 302, ""},
    {"Status: 103 Early Hints\r\nLink: <a>\r\n\r\nStatus: 201\r\n\r\nthere", 0, FPMP_CHECK_GOOD,
     201, "there"},
    {"Content-Type: text/html\r\n\r\nnot yet all", -1, FPMP_CHECK_MORE, 0, NULL},
    {"Content-Type: text/html\r\n", 0, FPMP_CHECK_NO_ANSWER, 0, NULL},
    {"Status: 12\r\n\r\n", 0, FPMP_CHECK_NO_ANSWER, 0, NULL},
    {"Status: 103\r\n\r\n", 0, FPMP_CHECK_NO_ANSWER, 0, NULL},
    {"no header at all\r\n\r\n", 0, FPMP_CHECK_NO_ANSWER, 0, NULL},
    {"", 0, FPMP_CHECK_NO_ANSWER, 0, NULL},
    {"", WIRE_OVERLOADED, FPMP_CHECK_BUSY, 0, NULL},
    {"Status: 503 Busy\r\n\r\nbusy", WIRE_OVERLOADED, FPMP_CHECK_BUSY, 0, NULL},
    {"", WIRE_CANT_MPX_CONN, FPMP_CHECK_REFUSED, 0, NULL},
    {"", WIRE_UNKNOWN_ROLE, FPMP_CHECK_REFUSED, 0, NULL},
};

START_TEST(test_answer)
{
    fpmp_check_talk talk;
    uint8_t bytes[512];
    ck_assert(fpmp_check_prepare(&talk, &script, FPMP_TYPE_FPMPOOL));
    for (size_t step = 1; step < 600; step += 7) {
        size_t length = put(bytes, 0, WIRE_STDERR, "text", 4);
        if (*answers[_i].output) {
            length =
                put(bytes, length, WIRE_STDOUT, answers[_i].output, strlen(answers[_i].output));
        }
        if (answers[_i].end >= 0) {
            (void)wire_end_write(bytes + length, FPMP_REQUEST_ID, 0, answers[_i].end);
            length += WIRE_END_SIZE;
        }
        fpmp_check_word word = give(&talk, bytes, length, step);
        ck_assert_msg(word == answers[_i].word, "%s: %d in steps of %zu", answers[_i].output, word,
                      step);
        if (word == FPMP_CHECK_GOOD) {
            ck_assert_int_eq(talk.status, answers[_i].status);
            ck_assert_uint_eq(talk.answer_length - talk.header_length, strlen(answers[_i].body));
            ck_assert(!memcmp(talk.answer + talk.header_length, answers[_i].body,
                              strlen(answers[_i].body)));
        }
    }
}
END_TEST

/* A page without end is read as far as it is looked at; a header without end is no answer. */
START_TEST(test_is_bounded)
{
    fpmp_check_talk talk;
    uint8_t *bytes = malloc(30000);
    char *text = malloc(20000);
    ck_assert(fpmp_check_prepare(&talk, &script, FPMP_TYPE_FPMPOOL));
    memset(text, 'x', 20000);
    size_t length = put(bytes, 0, WIRE_STDOUT, text, 20000);
    ck_assert_int_eq(give(&talk, bytes, length, 1000), FPMP_CHECK_NO_ANSWER);
    memcpy(text, "A: b\n\n", 6);
    length = put(bytes, 0, WIRE_STDOUT, text, 20000);
    ck_assert_int_eq(give(&talk, bytes, length, 1000), FPMP_CHECK_GOOD);
    ck_assert_uint_eq(talk.answer_length, FPMP_CHECK_ANSWER_MOST);
    ck_assert_int_eq(give(&talk, (const uint8_t *)"HTTP/1.1 200 OK\r\n", 17, 64),
                     FPMP_CHECK_INVALID);
    free(bytes);
    free(text);
}
END_TEST

/* Only our daemon's word for it, or output, is a start. */
START_TEST(test_start)
{
    fpmp_check_talk talk;
    uint8_t bytes[64];
    ck_assert(fpmp_check_prepare(&talk, &script, FPMP_TYPE_FPMPOOL));
    ck_assert_int_eq(give(&talk, bytes, put(bytes, 0, WIRE_STDERR, "why", 3), 64), FPMP_CHECK_MORE);
    ck_assert(!talk.has_started);
    ck_assert_int_eq(give(&talk, bytes, put(bytes, 0, WIRE_STDERR, "", 0), 64), FPMP_CHECK_MORE);
    ck_assert(talk.has_started);
    ck_assert_int_eq(fpmp_check_take(&talk, NULL, 0), FPMP_CHECK_CLOSED);
}
END_TEST

static Suite *check_suite(void)
{
    Suite *suite = suite_create("fpmp_check");
    TCase *cases = tcase_create("check");
    tcase_add_test(cases, test_ping);
    tcase_add_test(cases, test_question);
    tcase_add_loop_test(cases, test_answer, 0, (int)(sizeof(answers) / sizeof(answers[0])));
    tcase_add_test(cases, test_is_bounded);
    tcase_add_test(cases, test_start);
    suite_add_tcase(suite, cases);
    return suite;
}

UNIT_MAIN(check_suite)

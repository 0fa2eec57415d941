/* fpmp_check.c - what a check says to a server, and what is made of the answer.
 *
 * Runs in the thread that checks. Owns memory that is never freed: the process may end at any
 * moment, without waiting for that thread. Pure: must not do I/O, log or know httpd.
 */
#include "fpmp_check.h"
#include "fpmp_header.h"

#include <stdlib.h>
#include <string.h>

typedef struct variable {
    const char *name;
    const char *value;
} variable;

/* ---- the question ---------------------------------------------------------------------------- */

static int write_ping(fpmp_check_talk *talk)
{
    static const char name[] = "FCGI_MPXS_CONNS";
    size_t size = wire_pair_size(sizeof(name) - 1, 0);
    talk->question = malloc(WIRE_HEADER_SIZE + size);
    if (!talk->question) {
        return 0;
    }
    wire_header_write(talk->question, WIRE_GET_VALUES, 0, (uint16_t)size, 0);
    (void)wire_pair_write(talk->question + WIRE_HEADER_SIZE, name, sizeof(name) - 1, "", 0);
    talk->question_length = WIRE_HEADER_SIZE + size;
    return 1;
}

static uint8_t *write_record(uint8_t *to, int type, size_t length)
{
    wire_header_write(to, type, FPMP_REQUEST_ID, (uint16_t)length, 0);
    return to + WIRE_HEADER_SIZE;
}

static int write_request(fpmp_check_talk *talk, const variable *variables, size_t count)
{
    size_t size = 0;
    for (size_t i = 0; i < count; i++) {
        size += wire_pair_size(strlen(variables[i].name), strlen(variables[i].value));
    }
    talk->question = size <= WIRE_CONTENT_MAX
                         ? malloc(WIRE_BEGIN_SIZE + size + 3 * (size_t)WIRE_HEADER_SIZE)
                         : NULL;
    if (!talk->question) {
        return 0;
    }
    uint8_t *at = wire_begin_write(talk->question, FPMP_REQUEST_ID, WIRE_RESPONDER, 0);
    at = write_record(at, WIRE_PARAMS, size);
    for (size_t i = 0; i < count; i++) {
        at = wire_pair_write(at, variables[i].name, strlen(variables[i].name), variables[i].value,
                             strlen(variables[i].value));
    }
    at = write_record(at, WIRE_PARAMS, 0);
    at = write_record(at, WIRE_STDIN, 0);
    talk->question_length = (size_t)(at - talk->question);
    return 1;
}

/* A GET request of this machine's for the script itself. */
static int write_script(fpmp_check_talk *talk, const char *script, fpmp_server_type type)
{
    const char *prefix = type == FPMP_TYPE_FPM ? FPMP_FPM_PREFIX : "";
    const char *name = strrchr(script, '/');
    size_t root_length = (size_t)(name - script);
    char *filename = malloc(strlen(prefix) + strlen(script) + 1);
    char *root = malloc(root_length + 2);
    int is_made = 0;
    if (filename && root) {
        memcpy(filename, prefix, strlen(prefix));
        memcpy(filename + strlen(prefix), script, strlen(script) + 1);
        memcpy(root, script, root_length);
        memcpy(root + root_length, root_length ? "" : "/", root_length ? 1 : 2);
        const variable variables[] = {{"SCRIPT_FILENAME", filename},
                                      {"SCRIPT_NAME", name},
                                      {"REQUEST_URI", name},
                                      {"DOCUMENT_URI", name},
                                      {"DOCUMENT_ROOT", root},
                                      {"REQUEST_METHOD", "GET"},
                                      {"QUERY_STRING", ""},
                                      {"GATEWAY_INTERFACE", "CGI/1.1"},
                                      {"SERVER_PROTOCOL", "HTTP/1.1"},
                                      {"SERVER_SOFTWARE", "mod_fpmpool"},
                                      {"SERVER_NAME", "localhost"},
                                      {"SERVER_ADDR", "127.0.0.1"},
                                      {"SERVER_PORT", "80"},
                                      {"REMOTE_ADDR", "127.0.0.1"},
                                      {"REMOTE_PORT", "0"},
                                      {"HTTP_HOST", "localhost"},
                                      {"HTTP_USER_AGENT", "FpmPoolCheck"},
                                      {"REDIRECT_STATUS", "200"},
                                      {WIRE_PARAM_PEER, "1"},
                                      {WIRE_PARAM_ACK, "1"}};
        size_t of_ours = type == FPMP_TYPE_FPMPOOL ? 0 : 2;
        is_made =
            write_request(talk, variables, sizeof(variables) / sizeof(variables[0]) - of_ours);
    }
    free(filename);
    free(root);
    return is_made;
}

int fpmp_check_prepare(fpmp_check_talk *talk, const fpmp_check *check, fpmp_server_type type)
{
    memset(talk, 0, sizeof(*talk));
    talk->is_script = check->kind == FPMP_CHECK_SCRIPT;
    if (!talk->is_script) {
        return write_ping(talk);
    }
    talk->answer = malloc(FPMP_CHECK_ANSWER_MOST);
    return talk->answer && write_script(talk, check->script, type);
}

void fpmp_check_begin(fpmp_check_talk *talk)
{
    talk->has_started = 0;
    talk->status = 0;
    talk->answer_length = 0;
    talk->header_length = 0;
    talk->received = 0;
    wire_decoder_init(&talk->decoder, WIRE_CLIENT, WIRE_CONTENT_MAX);
    wire_decoder_open(&talk->decoder, FPMP_REQUEST_ID);
}

/* ---- the answer ------------------------------------------------------------------------------ */

/* The first record's head is enough. */
static fpmp_check_word take_pong(fpmp_check_talk *talk, const uint8_t *bytes, size_t length)
{
    wire_header header;
    while (length && talk->received < WIRE_HEADER_SIZE) {
        talk->decoder.partial[talk->received++] = *bytes++;
        length--;
    }
    if (talk->received < WIRE_HEADER_SIZE) {
        return FPMP_CHECK_MORE;
    }
    wire_header_read(&header, talk->decoder.partial);
    return header.version == WIRE_VERSION &&
                   (header.type == WIRE_GET_VALUES_RESULT || header.type == WIRE_UNKNOWN_TYPE)
               ? FPMP_CHECK_GOOD
               : FPMP_CHECK_INVALID;
}

static fpmp_check_word read_status(fpmp_check_talk *talk)
{
    const char *cursor = talk->answer;
    const char *end = talk->answer + talk->header_length;
    int has_location = 0;
    int found = 0;
    fpmp_header_line line;
    talk->status = 0;
    while ((found = fpmp_header_next(&cursor, end, &line)) > 0) {
        has_location |= fpmp_header_is(&line, "Location");
        if (fpmp_header_is(&line, "Status")) {
            talk->status = fpmp_header_status(&line);
        }
    }
    talk->status = talk->status ? talk->status : has_location ? 302 : 200;
    return found < 0 || talk->status < 200 ? FPMP_CHECK_NO_ANSWER : FPMP_CHECK_GOOD;
}

/* Early hints go before the answer. */
static void drop_hints(fpmp_check_talk *talk)
{
    const char *cursor = talk->answer;
    fpmp_header_line line;
    while (talk->header_length &&
           fpmp_header_next(&cursor, talk->answer + talk->header_length, &line) > 0 &&
           fpmp_header_is(&line, "Status") && fpmp_header_status(&line) == 103) {
        talk->answer_length -= talk->header_length;
        memmove(talk->answer, talk->answer + talk->header_length, talk->answer_length);
        talk->header_length = fpmp_header_length(talk->answer, talk->answer_length, 0);
        cursor = talk->answer;
    }
}

/* What is beyond the room is not looked at: then there is no more to wait for. */
static fpmp_check_word keep_output(fpmp_check_talk *talk, const uint8_t *bytes, size_t length)
{
    size_t room = FPMP_CHECK_ANSWER_MOST - talk->answer_length;
    size_t before = talk->answer_length;
    memcpy(talk->answer + talk->answer_length, bytes, length < room ? length : room);
    talk->answer_length += length < room ? length : room;
    if (!talk->header_length) {
        talk->header_length = fpmp_header_length(talk->answer, talk->answer_length, before);
        if (talk->header_length) {
            drop_hints(talk);
        }
    }
    if (talk->answer_length < FPMP_CHECK_ANSWER_MOST) {
        return FPMP_CHECK_MORE;
    }
    return talk->header_length ? read_status(talk) : FPMP_CHECK_NO_ANSWER;
}

static fpmp_check_word take_end(fpmp_check_talk *talk, int protocol_status)
{
    if (protocol_status == WIRE_OVERLOADED) {
        return FPMP_CHECK_BUSY;
    }
    if (protocol_status != WIRE_REQUEST_COMPLETE) {
        return FPMP_CHECK_REFUSED;
    }
    return talk->header_length ? read_status(talk) : FPMP_CHECK_NO_ANSWER;
}

static fpmp_check_word take_records(fpmp_check_talk *talk, const uint8_t *bytes, size_t length)
{
    const uint8_t *cursor = bytes;
    fpmp_check_word word = FPMP_CHECK_MORE;
    wire_event event;
    while (word == FPMP_CHECK_MORE &&
           wire_decode(&talk->decoder, &cursor, bytes + length, &event) != WIRE_EVENT_MORE) {
        switch (event.kind) {
        case WIRE_EVENT_STDOUT:
            talk->has_started = 1;
            word = keep_output(talk, event.data, event.length);
            break;
        case WIRE_EVENT_STDERR_END: /* not text: that may say why it does not start */
            talk->has_started = 1;
            break;
        case WIRE_EVENT_END:
            word = take_end(talk, event.protocol_status);
            break;
        case WIRE_EVENT_ERROR:
            word = FPMP_CHECK_INVALID;
            break;
        default:
            break;
        }
    }
    return word;
}

fpmp_check_word fpmp_check_take(fpmp_check_talk *talk, const uint8_t *bytes, size_t length)
{
    if (!length) {
        return FPMP_CHECK_CLOSED;
    }
    return talk->is_script ? take_records(talk, bytes, length) : take_pong(talk, bytes, length);
}

const char *fpmp_check_reason(fpmp_check_word word)
{
    switch (word) {
    case FPMP_CHECK_CLOSED:
        return "it closes the connection of a check";
    case FPMP_CHECK_INVALID:
        return "what it answers a check is not FastCGI";
    case FPMP_CHECK_REFUSED:
        return "it refuses the request of a check by FastCGI";
    default:
        return "the script of its check does not answer";
    }
}

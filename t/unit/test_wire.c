/* test_wire.c - the codec: every event and error, both encodings of lengths, and the property that
 * the same bytes whole, one at a time and cut anywhere give the same events.
 */
#include "unit.h"

#include <dirent.h>
#include <stdio.h>
#include <string.h>

#include "wire/wire.h"

#define STREAM_MAX 262144

/* ---- building streams --------------------------------------------------------------------- */

typedef struct bytes {
    uint8_t data[STREAM_MAX];
    size_t length;
} bytes;

static void add_record(bytes *to, int type, int id, const void *content, size_t length, int padding)
{
    wire_header_write(to->data + to->length, type, (uint16_t)id, (uint16_t)length,
                      (uint8_t)padding);
    to->length += WIRE_HEADER_SIZE;
    if (length > 0) {
        memcpy(to->data + to->length, content, length);
    }
    memset(to->data + to->length + length, 0xaa, (size_t)padding);
    to->length += length + (size_t)padding;
}

static void add_begin(bytes *to, int id, int role, int flags)
{
    to->length =
        (size_t)(wire_begin_write(to->data + to->length, (uint16_t)id, role, flags) - to->data);
}

static size_t make_pairs(uint8_t *to)
{
    static char long_value[300];
    uint8_t *end = to;

    memset(long_value, 'v', sizeof(long_value));
    end = wire_pair_write(end, "SCRIPT_NAME", 11, "/index.php", 10);
    end = wire_pair_write(end, "EMPTY", 5, "", 0);
    end = wire_pair_write(end, "LONG", 4, long_value, sizeof(long_value));
    return (size_t)(end - to);
}

/* A request with pairs in PARAMS records of at most `piece` bytes, and a body. */
static void add_request(bytes *to, int id, int flags, size_t piece, const char *body)
{
    uint8_t pairs[1024];
    size_t length = make_pairs(pairs);

    add_begin(to, id, WIRE_RESPONDER, flags);
    for (size_t at = 0; at < length; at += piece) {
        size_t take = length - at < piece ? length - at : piece;
        add_record(to, WIRE_PARAMS, id, pairs + at, take, wire_padding(take));
    }
    add_record(to, WIRE_PARAMS, id, NULL, 0, 0);
    if (*body != '\0') {
        add_record(to, WIRE_STDIN, id, body, strlen(body), 3);
    }
    add_record(to, WIRE_STDIN, id, NULL, 0, 0);
}

/* ---- reading them ------------------------------------------------------------------------- */

/* Events as text, one letter and what it carries; neighbouring data of one stream is joined. */
typedef struct transcript {
    char text[4 * STREAM_MAX];
    size_t length;
    wire_event_kind last;
} transcript;

static void note(transcript *to, const wire_event *event)
{
    int is_data = event->kind == WIRE_EVENT_PARAMS || event->kind == WIRE_EVENT_STDIN ||
                  event->kind == WIRE_EVENT_DATA || event->kind == WIRE_EVENT_STDOUT ||
                  event->kind == WIRE_EVENT_STDERR || event->kind == WIRE_EVENT_VALUES;

    if (!is_data || event->kind != to->last) {
        to->length +=
            (size_t)sprintf(to->text + to->length, "\n%d:%u:", event->kind, event->request_id);
    }
    to->last = event->kind;
    if (is_data) {
        ck_assert_uint_gt(event->length, 0);
        for (size_t i = 0; i < event->length; i++) {
            to->length += (size_t)sprintf(to->text + to->length, "%02x", event->data[i]);
        }
    } else {
        to->length += (size_t)sprintf(to->text + to->length, "%u,%u,%u,%u,%u,%d", event->role,
                                      event->flags, event->unknown_type, event->protocol_status,
                                      event->app_status, event->error);
    }
}

/* Feeds [from, to) of a stream; returns 0 after an error. */
static int feed(wire_decoder *decoder, const uint8_t *from, const uint8_t *to, transcript *out)
{
    wire_event event;

    for (;;) {
        const uint8_t *before = from;
        wire_event_kind kind = wire_decode(decoder, &from, to, &event);
        ck_assert(from >= before);
        ck_assert(from <= to);
        if (kind == WIRE_EVENT_MORE) {
            ck_assert_ptr_eq(from, to);
            return 1;
        }
        note(out, &event);
        if (kind == WIRE_EVENT_ERROR) {
            return 0;
        }
    }
}

static void read_in_steps(const uint8_t *data, size_t length, wire_side side, size_t step,
                          size_t first, transcript *out)
{
    wire_decoder decoder;
    size_t at = 0;

    memset(out, 0, sizeof(*out));
    wire_decoder_init(&decoder, side, 65536);
    wire_decoder_open(&decoder, side == WIRE_CLIENT ? 1 : 0);
    while (at < length) {
        size_t take = at == 0 && first > 0 ? first : step;
        if (take > length - at) {
            take = length - at;
        }
        if (!feed(&decoder, data + at, data + at + take, out)) {
            return;
        }
        at += take;
    }
}

static void expect_same_in_every_cut(const uint8_t *data, size_t length, wire_side side)
{
    static transcript whole, other;
    size_t stride = length > 2000 ? length / 1000 : 1;

    read_in_steps(data, length, side, length, 0, &whole);
    read_in_steps(data, length, side, 1, 0, &other);
    ck_assert_str_eq(whole.text, other.text);
    for (size_t cut = 1; cut < length; cut += stride) {
        read_in_steps(data, length, side, length, cut, &other);
        ck_assert_str_eq(whole.text, other.text);
    }
}

static wire_event_kind decode_one(wire_decoder *decoder, const bytes *from, const uint8_t **cursor,
                                  wire_event *event)
{
    return wire_decode(decoder, cursor, from->data + from->length, event);
}

/* The error a server-side (or client-side) stream ends with; WIRE_OK if it is good. */
static wire_error error_of(const bytes *from, wire_side side, uint32_t limit)
{
    wire_decoder decoder;
    wire_event event;
    const uint8_t *cursor = from->data;

    wire_decoder_init(&decoder, side, limit);
    wire_decoder_open(&decoder, side == WIRE_CLIENT ? 1 : 0);
    for (;;) {
        switch (decode_one(&decoder, from, &cursor, &event)) {
        case WIRE_EVENT_MORE:
            return WIRE_OK;
        case WIRE_EVENT_ERROR:
            ck_assert_int_eq(wire_decode(&decoder, &cursor, cursor, &event), WIRE_EVENT_ERROR);
            return event.error;
        default:
            break;
        }
    }
}

/* ---- pairs -------------------------------------------------------------------------------- */

START_TEST(pair_lengths_change_their_form_at_128)
{
    static char text[70000];
    static uint8_t encoded[140100];
    const size_t lengths[] = {0, 1, 127, 128, 129, 255, 256, 65535, 65536};

    memset(text, 't', sizeof(text));
    for (size_t n = 0; n < 9; n++) {
        for (size_t v = 0; v < 9; v++) {
            uint8_t *end = wire_pair_write(encoded, text, lengths[n], text, lengths[v]);
            const uint8_t *cursor = encoded;
            wire_pair pair;
            ck_assert_uint_eq((size_t)(end - encoded), wire_pair_size(lengths[n], lengths[v]));
            ck_assert_uint_eq(encoded[0] >> 7, lengths[n] > 127);
            ck_assert_int_eq(wire_pair_next(&cursor, end, &pair), 1);
            ck_assert_uint_eq(pair.name_length, lengths[n]);
            ck_assert_uint_eq(pair.value_length, lengths[v]);
            ck_assert_ptr_eq(cursor, end);
            ck_assert_int_eq(wire_pair_next(&cursor, end, &pair), 0);
        }
    }
}
END_TEST

START_TEST(a_pair_cut_anywhere_is_an_error_and_moves_nothing)
{
    uint8_t pairs[1024];
    static const char value[200] = "v";
    uint8_t *end = wire_pair_write(pairs, "NAME", 4, value, sizeof(value));

    for (const uint8_t *cut = pairs + 1; cut < end; cut++) {
        const uint8_t *cursor = pairs;
        wire_pair pair;
        ck_assert_int_eq(wire_pair_next(&cursor, cut, &pair), -1);
        ck_assert_ptr_eq(cursor, pairs);
    }
}
END_TEST

START_TEST(a_pair_length_near_the_limit_does_not_overflow)
{
    const uint8_t huge[] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 'a', 'b'};
    const uint8_t *cursor = huge;
    wire_pair pair;

    ck_assert_int_eq(wire_pair_next(&cursor, huge + sizeof(huge), &pair), -1);
}
END_TEST

START_TEST(four_byte_form_of_a_small_length_is_accepted)
{
    const uint8_t encoded[] = {0x80, 0, 0, 1, 0x80, 0, 0, 2, 'n', 'v', 'w'};
    const uint8_t *cursor = encoded;
    wire_pair pair;

    ck_assert_int_eq(wire_pair_next(&cursor, encoded + sizeof(encoded), &pair), 1);
    ck_assert_mem_eq(pair.name, "n", 1);
    ck_assert_mem_eq(pair.value, "vw", 2);
}
END_TEST

/* ---- server side -------------------------------------------------------------------------- */

START_TEST(params_split_at_every_size_join_to_the_same_bytes)
{
    static bytes stream;
    uint8_t expected[1024];
    size_t length = make_pairs(expected);

    for (size_t piece = 1; piece <= length; piece++) {
        uint8_t joined[1024];
        size_t used = 0;
        wire_decoder decoder;
        wire_event event;
        const uint8_t *cursor = stream.data;
        stream.length = 0;
        add_request(&stream, 7, WIRE_KEEP_CONN, piece, "");
        wire_decoder_init(&decoder, WIRE_SERVER, 65536);
        ck_assert_int_eq(decode_one(&decoder, &stream, &cursor, &event), WIRE_EVENT_BEGIN);
        ck_assert_uint_eq(event.request_id, 7);
        ck_assert_uint_eq(event.role, WIRE_RESPONDER);
        ck_assert_uint_eq(event.flags, WIRE_KEEP_CONN);
        while (decode_one(&decoder, &stream, &cursor, &event) == WIRE_EVENT_PARAMS) {
            memcpy(joined + used, event.data, event.length);
            used += event.length;
        }
        ck_assert_int_eq(event.kind, WIRE_EVENT_PARAMS_END);
        ck_assert_uint_eq(used, length);
        ck_assert_mem_eq(joined, expected, length);
        ck_assert(!wire_decoder_is_clean(&decoder));
        ck_assert_int_eq(decode_one(&decoder, &stream, &cursor, &event), WIRE_EVENT_STDIN_END);
        ck_assert(wire_decoder_is_clean(&decoder));
    }
}
END_TEST

START_TEST(every_kind_of_stream_gives_the_same_events_in_every_cut)
{
    static bytes stream;
    uint8_t values[64];
    uint8_t *end = wire_pair_write(values, "FCGI_MAX_CONNS", 14, "", 0);

    add_record(&stream, WIRE_STDIN, 1, NULL, 0, 0); /* an empty STDIN of no request */
    add_record(&stream, WIRE_GET_VALUES, 0, values, (size_t)(end - values), 5);
    add_record(&stream, 77, 0, "what", 4, 1);
    add_request(&stream, 1, WIRE_KEEP_CONN, 10, "body of the first");
    add_request(&stream, 2, 0, 1000, "");
    add_begin(&stream, 3, WIRE_FILTER, 0);
    add_record(&stream, WIRE_PARAMS, 3, NULL, 0, 0);
    add_begin(&stream, 4, WIRE_RESPONDER, 0); /* a second request: told, then skipped */
    add_record(&stream, WIRE_PARAMS, 4, "zzzz", 4, 0);
    add_record(&stream, WIRE_STDIN, 3, "in", 2, 0);
    add_record(&stream, WIRE_STDIN, 3, NULL, 0, 0);
    add_record(&stream, WIRE_DATA, 3, "data", 4, 9);
    add_record(&stream, WIRE_ABORT_REQUEST, 3, NULL, 0, 0);
    add_record(&stream, WIRE_DATA, 3, NULL, 0, 0);
    expect_same_in_every_cut(stream.data, stream.length, WIRE_SERVER);
    ck_assert_int_eq(error_of(&stream, WIRE_SERVER, 65536), WIRE_OK);
}
END_TEST

START_TEST(a_second_begin_is_told_and_its_records_are_skipped)
{
    static bytes stream;
    wire_decoder decoder;
    wire_event event;
    const uint8_t *cursor = stream.data;

    add_begin(&stream, 1, WIRE_RESPONDER, 0);
    add_begin(&stream, 2, WIRE_RESPONDER, 0);
    add_record(&stream, WIRE_PARAMS, 2, "ab", 2, 0);
    add_record(&stream, WIRE_PARAMS, 1, NULL, 0, 0);
    wire_decoder_init(&decoder, WIRE_SERVER, 100);
    ck_assert_int_eq(decode_one(&decoder, &stream, &cursor, &event), WIRE_EVENT_BEGIN);
    ck_assert_int_eq(decode_one(&decoder, &stream, &cursor, &event), WIRE_EVENT_SECOND_BEGIN);
    ck_assert_uint_eq(event.request_id, 2);
    ck_assert_int_eq(decode_one(&decoder, &stream, &cursor, &event), WIRE_EVENT_PARAMS_END);
    ck_assert_uint_eq(event.request_id, 1);
}
END_TEST

START_TEST(bad_streams_are_named_errors)
{
    static bytes s;
    const struct {
        int type, id, length, padding;
        wire_error error;
    } table[] = {
        {WIRE_BEGIN_REQUEST, 0, 8, 0, WIRE_ERROR_ID},
        {WIRE_BEGIN_REQUEST, 1, 7, 0, WIRE_ERROR_LENGTH},
        {WIRE_GET_VALUES, 1, 0, 0, WIRE_ERROR_ID},
        {WIRE_GET_VALUES, 0, 600, 0, WIRE_ERROR_TOO_LARGE},
        {WIRE_END_REQUEST, 0, 8, 0, WIRE_ERROR_ID},
        {WIRE_GET_VALUES_RESULT, 0, 0, 0, WIRE_ERROR_UNEXPECTED},
    };

    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        static const uint8_t content[600];
        s.length = 0;
        add_record(&s, table[i].type, table[i].id, content, (size_t)table[i].length,
                   table[i].padding);
        ck_assert_msg(error_of(&s, WIRE_SERVER, 500) == table[i].error, "row %zu: %s", i,
                      wire_error_text(error_of(&s, WIRE_SERVER, 500)));
    }
}
END_TEST

START_TEST(bad_records_inside_a_request_are_named_errors)
{
    static bytes s;
    const struct {
        int type, length, after_params;
        wire_error error;
    } table[] = {
        {WIRE_STDIN, 0, 0, WIRE_ERROR_UNEXPECTED},  /* before the parameters ended */
        {WIRE_PARAMS, 4, 1, WIRE_ERROR_UNEXPECTED}, /* after they ended */
        {WIRE_DATA, 4, 1, WIRE_ERROR_UNEXPECTED},   /* no FILTER */
        {WIRE_STDOUT, 4, 1, WIRE_ERROR_UNEXPECTED}, /* the other side's */
        {WIRE_ABORT_REQUEST, 4, 1, WIRE_ERROR_LENGTH},
        {WIRE_BEGIN_REQUEST, 8, 1, WIRE_ERROR_UNEXPECTED}, /* the same id again */
        {99, 4, 1, WIRE_ERROR_UNEXPECTED},
        {WIRE_PARAMS, 600, 0, WIRE_ERROR_TOO_LARGE},
    };

    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        static const uint8_t content[600];
        s.length = 0;
        add_begin(&s, 1, WIRE_RESPONDER, 0);
        if (table[i].after_params) {
            add_record(&s, WIRE_PARAMS, 1, NULL, 0, 0);
        }
        add_record(&s, table[i].type, 1, content, (size_t)table[i].length, 0);
        ck_assert_msg(error_of(&s, WIRE_SERVER, 500) == table[i].error, "row %zu: %s", i,
                      wire_error_text(error_of(&s, WIRE_SERVER, 500)));
    }
    s.length = 0;
    add_begin(&s, 1, WIRE_RESPONDER, 0);
    s.data[0] = 2;
    ck_assert_int_eq(error_of(&s, WIRE_SERVER, 500), WIRE_ERROR_VERSION);
}
END_TEST

START_TEST(the_limit_counts_all_params_records_of_a_request_and_starts_anew)
{
    static bytes s;

    add_request(&s, 1, 1, 50, "");
    add_request(&s, 1, 1, 50, "");
    ck_assert_int_eq(error_of(&s, WIRE_SERVER, 400), WIRE_OK);
    ck_assert_int_eq(error_of(&s, WIRE_SERVER, 300), WIRE_ERROR_TOO_LARGE);
}
END_TEST

START_TEST(padding_belongs_to_the_request_before_a_clean_point)
{
    static bytes s;
    wire_decoder decoder;
    static transcript out;

    add_begin(&s, 1, WIRE_RESPONDER, 0);
    add_record(&s, WIRE_PARAMS, 1, NULL, 0, 0);
    add_record(&s, WIRE_STDIN, 1, NULL, 0, 4);
    wire_decoder_init(&decoder, WIRE_SERVER, 100);
    for (size_t i = 0; i < s.length; i++) {
        ck_assert_int_eq(wire_decoder_is_clean(&decoder), i == 0);
        ck_assert(feed(&decoder, s.data + i, s.data + i + 1, &out));
    }
    ck_assert(wire_decoder_is_clean(&decoder));
}
END_TEST

/* ---- client side -------------------------------------------------------------------------- */

START_TEST(answers_decode_in_every_cut)
{
    static bytes s;

    add_record(&s, WIRE_STDERR, 1, NULL, 0, 0);
    add_record(&s, WIRE_STDOUT, 1, "Status: 404\r\n\r\n", 15, 1);
    add_record(&s, WIRE_STDERR, 1, "oops", 4, 4);
    add_record(&s, WIRE_STDOUT, 1, "more", 4, 0);
    add_record(&s, WIRE_STDOUT, 1, NULL, 0, 0);
    s.length = (size_t)(wire_end_write(s.data + s.length, 1, 0x01020304, WIRE_OVERLOADED) - s.data);
    expect_same_in_every_cut(s.data, s.length, WIRE_CLIENT);
    ck_assert_int_eq(error_of(&s, WIRE_CLIENT, 100), WIRE_OK);
}
END_TEST

START_TEST(end_request_carries_both_statuses_and_closes_the_id)
{
    static bytes s;
    wire_decoder decoder;
    wire_event event;
    const uint8_t *cursor = s.data;

    s.length = (size_t)(wire_end_write(s.data, 1, 0x01020304, WIRE_CANT_MPX_CONN) - s.data);
    ck_assert_uint_eq(s.data[13] | s.data[14] | s.data[15], 0); /* reserved bytes leak nothing */
    wire_decoder_init(&decoder, WIRE_CLIENT, 100);
    wire_decoder_open(&decoder, 1);
    ck_assert_int_eq(decode_one(&decoder, &s, &cursor, &event), WIRE_EVENT_END);
    ck_assert_uint_eq(event.app_status, 0x01020304);
    ck_assert_uint_eq(event.protocol_status, WIRE_CANT_MPX_CONN);
    ck_assert(wire_decoder_is_clean(&decoder));
}
END_TEST

START_TEST(answers_of_another_request_or_kind_are_errors)
{
    static bytes s;

    add_record(&s, WIRE_STDOUT, 2, "x", 1, 0);
    ck_assert_int_eq(error_of(&s, WIRE_CLIENT, 100), WIRE_ERROR_ID);
    s.length = 0;
    add_record(&s, WIRE_STDIN, 1, "x", 1, 0);
    ck_assert_int_eq(error_of(&s, WIRE_CLIENT, 100), WIRE_ERROR_UNEXPECTED);
    s.length = 0;
    add_record(&s, WIRE_END_REQUEST, 1, "1234567", 7, 0);
    ck_assert_int_eq(error_of(&s, WIRE_CLIENT, 100), WIRE_ERROR_LENGTH);
    s.length = 0; /* behind END nothing more of that id is expected */
    s.length = (size_t)(wire_end_write(s.data, 1, 0, 0) - s.data);
    add_record(&s, WIRE_STDOUT, 1, "x", 1, 0);
    ck_assert_int_eq(error_of(&s, WIRE_CLIENT, 100), WIRE_ERROR_ID);
}
END_TEST

/* ---- peek and management ------------------------------------------------------------------ */

START_TEST(peek_needs_sixteen_bytes_of_begin_and_no_more)
{
    static bytes s;
    static wire_peek peek;

    add_begin(&s, 513, WIRE_AUTHORIZER, WIRE_KEEP_CONN);
    for (size_t i = 0; i < WIRE_BEGIN_SIZE; i++) {
        wire_peek_head(&peek, s.data, i, 10, 10);
        ck_assert_int_eq(peek.kind, WIRE_PEEK_MORE);
        ck_assert_uint_eq(peek.consume, 0);
    }
    wire_peek_head(&peek, s.data, WIRE_BEGIN_SIZE, 10, 10);
    ck_assert_int_eq(peek.kind, WIRE_PEEK_BEGIN);
    ck_assert_uint_eq(peek.request_id, 513);
    ck_assert_uint_eq(peek.role, WIRE_AUTHORIZER);
    ck_assert_uint_eq(peek.flags, WIRE_KEEP_CONN);
}
END_TEST

START_TEST(get_values_is_answered_with_what_was_asked)
{
    static bytes s;
    static wire_peek peek;
    uint8_t asked[256];
    uint8_t *end = wire_pair_write(asked, "FCGI_MPXS_CONNS", 15, "", 0);
    const uint8_t *cursor;
    wire_pair pair;

    end = wire_pair_write(end, "FCGI_MAX_REQS", 13, "", 0);
    end = wire_pair_write(end, "OTHER", 5, "", 0);
    end = wire_pair_write(end, "FCGI_MAX_REQS", 13, "", 0); /* asked twice, answered once */
    add_record(&s, WIRE_GET_VALUES, 0, asked, (size_t)(end - asked), 3);
    wire_peek_head(&peek, s.data, s.length - 1, 40, 50);
    ck_assert_int_eq(peek.kind, WIRE_PEEK_MORE);
    wire_peek_head(&peek, s.data, s.length, 40, 50);
    ck_assert_int_eq(peek.kind, WIRE_PEEK_ANSWER);
    ck_assert_uint_eq(peek.consume, s.length);
    ck_assert_uint_eq(peek.reply[1], WIRE_GET_VALUES_RESULT);
    cursor = peek.reply + WIRE_HEADER_SIZE;
    ck_assert_int_eq(wire_pair_next(&cursor, peek.reply + peek.reply_length, &pair), 1);
    ck_assert_mem_eq(pair.name, "FCGI_MPXS_CONNS", 15);
    ck_assert_mem_eq(pair.value, "0", 1);
    ck_assert_int_eq(wire_pair_next(&cursor, peek.reply + peek.reply_length, &pair), 1);
    ck_assert_mem_eq(pair.name, "FCGI_MAX_REQS", 13);
    ck_assert_mem_eq(pair.value, "50", 2);
    ck_assert_int_eq(wire_pair_next(&cursor, peek.reply + peek.reply_length, &pair), 0);
}
END_TEST

START_TEST(peek_answers_unknown_management_and_refuses_the_rest)
{
    static bytes s;
    static wire_peek peek;

    add_record(&s, 88, 0, "abc", 3, 0);
    wire_peek_head(&peek, s.data, s.length, 1, 1);
    ck_assert_int_eq(peek.kind, WIRE_PEEK_ANSWER);
    ck_assert_uint_eq(peek.reply[1], WIRE_UNKNOWN_TYPE);
    ck_assert_uint_eq(peek.reply[8], 88);
    s.length = 0;
    add_record(&s, WIRE_STDIN, 1, NULL, 0, 2);
    wire_peek_head(&peek, s.data, s.length, 1, 1);
    ck_assert_int_eq(peek.kind, WIRE_PEEK_SKIP);
    ck_assert_uint_eq(peek.consume, 10);
    s.length = 0;
    add_record(&s, WIRE_STDIN, 1, "left over", 9, 0);
    wire_peek_head(&peek, s.data, s.length, 1, 1);
    ck_assert_int_eq(peek.kind, WIRE_PEEK_ERROR); /* never parsed as a new request */
    wire_peek_head(&peek, (const uint8_t *)"GET / HTTP/1.1\r\n", 1, 1, 1);
    ck_assert_int_eq(peek.kind, WIRE_PEEK_ERROR);
    ck_assert_int_eq(peek.error, WIRE_ERROR_VERSION);
}
END_TEST

/* ---- facts -------------------------------------------------------------------------------- */

START_TEST(facts_come_out_as_they_went_in_and_clients_skip_them)
{
    static bytes s;
    wire_facts told = {.worker = 4194304,
                       .queue = 0,
                       .memory = 999999999999999999,
                       .cpu = 12,
                       .failure = WIRE_FAILURE_DIED};
    wire_facts heard;
    wire_decoder decoder;
    wire_event event;
    const uint8_t *cursor = s.data;

    s.length = (size_t)(wire_facts_write(s.data, &told) - s.data);
    ck_assert_uint_le(s.length, WIRE_FACTS_MAX);
    ck_assert_uint_eq(s.length % 8, 0);
    (void)wire_end_write(s.data + s.length, 1, 255, WIRE_REQUEST_COMPLETE);
    s.length += WIRE_END_SIZE;
    expect_same_in_every_cut(s.data, s.length, WIRE_CLIENT);
    wire_decoder_init(&decoder, WIRE_CLIENT, 1000);
    wire_decoder_open(&decoder, 1);
    ck_assert_int_eq(wire_decode(&decoder, &cursor, s.data + s.length, &event), WIRE_EVENT_VALUES);
    wire_facts_init(&heard);
    wire_facts_read(&heard, event.data, event.length);
    ck_assert_int_eq(heard.worker, told.worker);
    ck_assert_int_eq(heard.queue, told.queue);
    ck_assert_int_eq(heard.memory, told.memory);
    ck_assert_int_eq(heard.cpu, told.cpu);
    ck_assert_int_eq(heard.failure, WIRE_FAILURE_DIED);
    ck_assert_int_eq(wire_decode(&decoder, &cursor, s.data + s.length, &event),
                     WIRE_EVENT_VALUES_END);
    ck_assert_int_eq(wire_decode(&decoder, &cursor, s.data + s.length, &event), WIRE_EVENT_END);
}
END_TEST

START_TEST(facts_that_are_none_are_skipped)
{
    static const struct {
        const char *name;
        const char *value;
    } none[] = {
        {"FPMPOOL_WORKER", ""},    {"FPMPOOL_WORKER", "-1"}, {"FPMPOOL_QUEUE", "1x"},
        {"FPMPOOL_MEMORY", "1e9"}, {"FPMPOOL_CPU", " 1"},    {"FPMPOOL_FAILURE", "?"},
        {"FPMPOOL_OTHER", "5"},    {"FCGI_MAX_CONNS", "5"},  {"FPMPOOL_CPU", "1234567890123456789"},
        {"FPMPOOL_FAILURE", ""}};
    uint8_t content[256];
    wire_facts facts;

    for (size_t i = 0; i < sizeof(none) / sizeof(none[0]); i++) {
        uint8_t *end = wire_pair_write(content, none[i].name, strlen(none[i].name), none[i].value,
                                       strlen(none[i].value));
        wire_facts_init(&facts);
        wire_facts_read(&facts, content, (size_t)(end - content));
        ck_assert_int_eq(facts.worker & facts.queue & facts.memory & facts.cpu, -1);
        ck_assert_int_eq(facts.failure, WIRE_FAILURE_NONE);
        wire_facts_read(&facts, content, (size_t)(end - content) - 1); /* cut inside the pair */
    }
}
END_TEST

/* ---- the corpus --------------------------------------------------------------------------- */

START_TEST(every_file_of_the_corpus_gives_the_same_events_in_every_cut)
{
    static bytes s;
    DIR *corpus = opendir("t/corpus/wire");
    struct dirent *entry;
    int count = 0;

    ck_assert_msg(corpus != NULL, "run from the top of the tree: t/corpus/wire is missing");
    while ((entry = readdir(corpus)) != NULL) {
        char path[512];
        FILE *file;
        if (entry->d_name[0] == '.') {
            continue;
        }
        snprintf(path, sizeof(path), "t/corpus/wire/%s", entry->d_name);
        file = fopen(path, "rb");
        ck_assert_ptr_nonnull(file);
        s.length = fread(s.data, 1, STREAM_MAX, file);
        fclose(file);
        if (s.length > 1) { /* the first byte chooses the side, as in the fuzz target */
            expect_same_in_every_cut(s.data + 1, s.length - 1,
                                     (s.data[0] & 1) != 0 ? WIRE_CLIENT : WIRE_SERVER);
        }
        count++;
    }
    closedir(corpus);
    ck_assert_int_ge(count, 20);
}
END_TEST

START_TEST(every_error_has_a_text)
{
    for (int i = WIRE_OK; i <= WIRE_ERROR_TOO_LARGE; i++) {
        ck_assert_str_ne(wire_error_text((wire_error)i), "unknown error");
    }
}
END_TEST

static Suite *wire_suite(void)
{
    Suite *suite = suite_create("wire");
    TCase *pairs = tcase_create("pairs");
    TCase *server = tcase_create("server");
    TCase *client = tcase_create("client");
    TCase *peek = tcase_create("peek");
    TCase *facts = tcase_create("facts");
    TCase *corpus = tcase_create("corpus");

    tcase_add_test(pairs, pair_lengths_change_their_form_at_128);
    tcase_add_test(pairs, a_pair_cut_anywhere_is_an_error_and_moves_nothing);
    tcase_add_test(pairs, a_pair_length_near_the_limit_does_not_overflow);
    tcase_add_test(pairs, four_byte_form_of_a_small_length_is_accepted);
    tcase_add_test(server, params_split_at_every_size_join_to_the_same_bytes);
    tcase_add_test(server, every_kind_of_stream_gives_the_same_events_in_every_cut);
    tcase_add_test(server, a_second_begin_is_told_and_its_records_are_skipped);
    tcase_add_test(server, bad_streams_are_named_errors);
    tcase_add_test(server, bad_records_inside_a_request_are_named_errors);
    tcase_add_test(server, the_limit_counts_all_params_records_of_a_request_and_starts_anew);
    tcase_add_test(server, padding_belongs_to_the_request_before_a_clean_point);
    tcase_add_test(client, answers_decode_in_every_cut);
    tcase_add_test(client, end_request_carries_both_statuses_and_closes_the_id);
    tcase_add_test(client, answers_of_another_request_or_kind_are_errors);
    tcase_add_test(peek, peek_needs_sixteen_bytes_of_begin_and_no_more);
    tcase_add_test(peek, get_values_is_answered_with_what_was_asked);
    tcase_add_test(peek, peek_answers_unknown_management_and_refuses_the_rest);
    tcase_add_test(facts, facts_come_out_as_they_went_in_and_clients_skip_them);
    tcase_add_test(facts, facts_that_are_none_are_skipped);
    tcase_add_test(corpus, every_file_of_the_corpus_gives_the_same_events_in_every_cut);
    tcase_add_test(corpus, every_error_has_a_text);
    tcase_set_timeout(server, 60);
    tcase_set_timeout(corpus, 120);
    suite_add_tcase(suite, pairs);
    suite_add_tcase(suite, server);
    suite_add_tcase(suite, client);
    suite_add_tcase(suite, peek);
    suite_add_tcase(suite, facts);
    suite_add_tcase(suite, corpus);
    return suite;
}

UNIT_MAIN(wire_suite)

/* wire_decode.c - the incremental record decoder of both sides.
 *
 * Three phases repeat: header (kept in partial[] when it arrives in pieces), content, padding. What
 * a record means is decided once, when its header is whole; content is then handed on in the pieces
 * in which it arrives. Fixed bodies (8 bytes) are collected in partial[] first.
 */
#include "wire/wire.h"

#include <string.h>

enum phase { PHASE_HEADER, PHASE_FIXED, PHASE_STREAM, PHASE_SKIP, PHASE_STREAM_END, PHASE_PADDING };

/* What the open request has sent so far (server side). */
enum stage { STAGE_NONE, STAGE_PARAMS, STAGE_STDIN, STAGE_DATA };

void wire_decoder_init(wire_decoder *decoder, wire_side side, uint32_t limit)
{
    memset(decoder, 0, sizeof(*decoder));
    decoder->side = side;
    decoder->limit = limit;
}

void wire_decoder_open(wire_decoder *decoder, uint16_t request_id)
{
    decoder->open_id = request_id;
}

int wire_decoder_is_clean(const wire_decoder *decoder)
{
    return decoder->error == WIRE_OK && decoder->phase == PHASE_HEADER &&
           decoder->partial_length == 0 && decoder->open_id == 0;
}

static wire_event_kind fail(wire_decoder *decoder, wire_event *event, wire_error error)
{
    decoder->error = error;
    event->error = error;
    event->kind = WIRE_EVENT_ERROR;
    return WIRE_EVENT_ERROR;
}

static wire_event_kind say(wire_event *event, wire_event_kind kind)
{
    event->kind = kind;
    return kind;
}

/* Moves up to `want` bytes into partial[]; returns 1 when it holds that many. */
static int collect(wire_decoder *decoder, const uint8_t **cursor, const uint8_t *end, uint8_t want)
{
    size_t missing = (size_t)(want - decoder->partial_length);
    size_t there = (size_t)(end - *cursor);
    size_t take = there < missing ? there : missing;

    memcpy(decoder->partial + decoder->partial_length, *cursor, take);
    decoder->partial_length = (uint8_t)(decoder->partial_length + take);
    *cursor += take;
    return decoder->partial_length == want;
}

static wire_error enter_fixed(wire_decoder *decoder)
{
    if (decoder->content_left != 8) {
        return WIRE_ERROR_LENGTH;
    }
    decoder->partial_length = 0;
    decoder->phase = PHASE_FIXED;
    return WIRE_OK;
}

/* A stream record with content, or its empty end. */
static wire_error enter_stream(wire_decoder *decoder)
{
    decoder->phase = decoder->content_left > 0 ? PHASE_STREAM : PHASE_STREAM_END;
    return WIRE_OK;
}

static wire_error enter_skip(wire_decoder *decoder)
{
    decoder->phase = PHASE_SKIP;
    return WIRE_OK;
}

static wire_error count_limited(wire_decoder *decoder)
{
    decoder->stream_total += decoder->content_left;
    return decoder->stream_total > decoder->limit ? WIRE_ERROR_TOO_LARGE : WIRE_OK;
}

static wire_error enter_management(wire_decoder *decoder)
{
    int values = decoder->side == WIRE_SERVER ? WIRE_GET_VALUES : WIRE_GET_VALUES_RESULT;

    if (decoder->header.type == values) {
        decoder->stream_total = 0;
        decoder->phase = PHASE_STREAM;
        return count_limited(decoder);
    }
    if (decoder->side == WIRE_CLIENT && decoder->header.type == WIRE_UNKNOWN_TYPE) {
        return enter_fixed(decoder);
    }
    if (decoder->header.type <= WIRE_UNKNOWN_TYPE && decoder->header.type != 0) {
        /* a known type that never comes with id 0, or only from the other side */
        return decoder->header.type < WIRE_GET_VALUES ? WIRE_ERROR_ID : WIRE_ERROR_UNEXPECTED;
    }
    return enter_skip(decoder);
}

static wire_error enter_params(wire_decoder *decoder)
{
    if (decoder->stage != STAGE_PARAMS) {
        return WIRE_ERROR_UNEXPECTED;
    }
    return count_limited(decoder) == WIRE_OK ? enter_stream(decoder) : WIRE_ERROR_TOO_LARGE;
}

static wire_error enter_server_record(wire_decoder *decoder)
{
    const wire_header *header = &decoder->header;

    if (header->type == WIRE_BEGIN_REQUEST) {
        if (decoder->open_id != 0 && header->request_id == decoder->open_id) {
            return WIRE_ERROR_UNEXPECTED;
        }
        return enter_fixed(decoder);
    }
    if (header->type == WIRE_GET_VALUES) {
        return WIRE_ERROR_ID;
    }
    if (header->request_id != decoder->open_id) {
        return enter_skip(decoder); /* of no open request: specification 3.3 */
    }
    switch (header->type) {
    case WIRE_ABORT_REQUEST:
        return decoder->content_left == 0 ? enter_stream(decoder) : WIRE_ERROR_LENGTH;
    case WIRE_PARAMS:
        return enter_params(decoder);
    case WIRE_STDIN:
        return decoder->stage == STAGE_STDIN ? enter_stream(decoder) : WIRE_ERROR_UNEXPECTED;
    case WIRE_DATA:
        return decoder->stage == STAGE_DATA ? enter_stream(decoder) : WIRE_ERROR_UNEXPECTED;
    default:
        return WIRE_ERROR_UNEXPECTED;
    }
}

static wire_error enter_client_record(wire_decoder *decoder)
{
    const wire_header *header = &decoder->header;

    if (header->type == WIRE_GET_VALUES_RESULT || header->type == WIRE_UNKNOWN_TYPE ||
        decoder->open_id == 0 || header->request_id != decoder->open_id) {
        return WIRE_ERROR_ID;
    }
    switch (header->type) {
    case WIRE_STDOUT:
    case WIRE_STDERR:
        return enter_stream(decoder);
    case WIRE_END_REQUEST:
        return enter_fixed(decoder);
    default:
        return WIRE_ERROR_UNEXPECTED;
    }
}

/* The header is whole: checks it and chooses the phase of the content. */
static wire_error enter_record(wire_decoder *decoder)
{
    wire_header_read(&decoder->header, decoder->partial);
    decoder->partial_length = 0;
    decoder->content_left = decoder->header.content_length;
    decoder->padding_left = decoder->header.padding_length;
    if (decoder->header.version != WIRE_VERSION) {
        return WIRE_ERROR_VERSION;
    }
    if (decoder->header.request_id == 0) {
        return enter_management(decoder);
    }
    return decoder->side == WIRE_SERVER ? enter_server_record(decoder)
                                        : enter_client_record(decoder);
}

/* ---- events ------------------------------------------------------------------------------- */

static void enter_padding(wire_decoder *decoder)
{
    decoder->phase = decoder->padding_left > 0 ? PHASE_PADDING : PHASE_HEADER;
}

static wire_event_kind begin(wire_decoder *decoder, wire_event *event)
{
    event->role = (uint16_t)(decoder->partial[0] << 8 | decoder->partial[1]);
    event->flags = decoder->partial[2];
    if (decoder->open_id != 0) {
        return say(event, WIRE_EVENT_SECOND_BEGIN);
    }
    decoder->open_id = decoder->header.request_id;
    decoder->stage = STAGE_PARAMS;
    decoder->stream_total = 0;
    /* kept for the end of STDIN: FILTER has a DATA stream behind it */
    decoder->is_filter = event->role == WIRE_FILTER;
    return say(event, WIRE_EVENT_BEGIN);
}

static wire_event_kind fixed(wire_decoder *decoder, wire_event *event)
{
    const uint8_t *body = decoder->partial;

    decoder->partial_length = 0;
    enter_padding(decoder);
    switch (decoder->header.type) {
    case WIRE_BEGIN_REQUEST:
        return begin(decoder, event);
    case WIRE_END_REQUEST:
        event->app_status =
            (uint32_t)body[0] << 24 | (uint32_t)body[1] << 16 | (uint32_t)body[2] << 8 | body[3];
        event->protocol_status = body[4];
        decoder->open_id = 0;
        return say(event, WIRE_EVENT_END);
    default: /* WIRE_UNKNOWN_TYPE */
        event->unknown_type = body[0];
        return say(event, WIRE_EVENT_UNKNOWN);
    }
}

static void close_request(wire_decoder *decoder)
{
    decoder->open_id = 0;
    decoder->stage = STAGE_NONE;
}

static wire_event_kind stream_end(wire_decoder *decoder, wire_event *event)
{
    enter_padding(decoder);
    switch (decoder->header.type) {
    case WIRE_ABORT_REQUEST:
        return say(event, WIRE_EVENT_ABORT);
    case WIRE_PARAMS:
        decoder->stage = STAGE_STDIN;
        return say(event, WIRE_EVENT_PARAMS_END);
    case WIRE_STDIN:
        if (decoder->is_filter) {
            decoder->stage = STAGE_DATA;
        } else {
            close_request(decoder);
        }
        return say(event, WIRE_EVENT_STDIN_END);
    case WIRE_DATA:
        close_request(decoder);
        return say(event, WIRE_EVENT_DATA_END);
    case WIRE_STDOUT:
        return say(event, WIRE_EVENT_STDOUT_END);
    case WIRE_STDERR:
        return say(event, WIRE_EVENT_STDERR_END);
    default:
        return say(event, WIRE_EVENT_VALUES_END);
    }
}

static wire_event_kind stream_kind(int type)
{
    switch (type) {
    case WIRE_PARAMS:
        return WIRE_EVENT_PARAMS;
    case WIRE_STDIN:
        return WIRE_EVENT_STDIN;
    case WIRE_DATA:
        return WIRE_EVENT_DATA;
    case WIRE_STDOUT:
        return WIRE_EVENT_STDOUT;
    case WIRE_STDERR:
        return WIRE_EVENT_STDERR;
    default:
        return WIRE_EVENT_VALUES;
    }
}

static int is_values_record(const wire_decoder *decoder)
{
    return decoder->header.type == WIRE_GET_VALUES ||
           decoder->header.type == WIRE_GET_VALUES_RESULT;
}

/* Hands on the piece of content that is there. A values record ends with its content; streams of a
 * request end with an empty record. */
static wire_event_kind stream(wire_decoder *decoder, const uint8_t **cursor, const uint8_t *end,
                              wire_event *event)
{
    size_t there = (size_t)(end - *cursor);
    size_t take = there < decoder->content_left ? there : decoder->content_left;

    event->data = *cursor;
    event->length = take;
    *cursor += take;
    decoder->content_left -= (uint32_t)take;
    if (decoder->content_left == 0) {
        if (is_values_record(decoder)) {
            decoder->phase = PHASE_STREAM_END;
        } else {
            enter_padding(decoder);
        }
    }
    return say(event, stream_kind(decoder->header.type));
}

static void skip(uint32_t *left, const uint8_t **cursor, const uint8_t *end)
{
    size_t there = (size_t)(end - *cursor);
    size_t take = there < *left ? there : *left;

    *cursor += take;
    *left -= (uint32_t)take;
}

static void skip_padding(wire_decoder *decoder, const uint8_t **cursor, const uint8_t *end)
{
    uint32_t left = decoder->padding_left;

    skip(&left, cursor, end);
    decoder->padding_left = (uint16_t)left;
    if (left == 0) {
        decoder->phase = PHASE_HEADER;
    }
}

/* Content nobody wants; a management record of unknown type is reported behind it. */
static int skip_content(wire_decoder *decoder, const uint8_t **cursor, const uint8_t *end,
                        wire_event *event)
{
    skip(&decoder->content_left, cursor, end);
    if (decoder->content_left > 0) {
        return 0;
    }
    enter_padding(decoder);
    if (decoder->header.request_id != 0) {
        return 0;
    }
    event->unknown_type = decoder->header.type;
    (void)say(event, WIRE_EVENT_UNKNOWN);
    return 1;
}

wire_event_kind wire_decode(wire_decoder *decoder, const uint8_t **cursor, const uint8_t *end,
                            wire_event *event)
{
    wire_error error;

    memset(event, 0, sizeof(*event));
    if (decoder->error != WIRE_OK) {
        return fail(decoder, event, decoder->error);
    }
    for (;;) {
        event->request_id = decoder->header.request_id;
        switch (decoder->phase) {
        case PHASE_STREAM_END:
            return stream_end(decoder, event);
        case PHASE_PADDING:
            skip_padding(decoder, cursor, end);
            if (decoder->phase != PHASE_HEADER) {
                return say(event, WIRE_EVENT_MORE);
            }
            break;
        case PHASE_SKIP:
            if (skip_content(decoder, cursor, end, event)) {
                return event->kind;
            }
            if (decoder->phase == PHASE_SKIP) {
                return say(event, WIRE_EVENT_MORE);
            }
            break;
        case PHASE_STREAM:
            if (decoder->content_left == 0) { /* an empty values record */
                decoder->phase = PHASE_STREAM_END;
                break;
            }
            if (*cursor == end) {
                return say(event, WIRE_EVENT_MORE);
            }
            return stream(decoder, cursor, end, event);
        case PHASE_FIXED:
            if (!collect(decoder, cursor, end, 8)) {
                return say(event, WIRE_EVENT_MORE);
            }
            return fixed(decoder, event);
        default:
            if (!collect(decoder, cursor, end, WIRE_HEADER_SIZE)) {
                return say(event, WIRE_EVENT_MORE);
            }
            error = enter_record(decoder);
            if (error != WIRE_OK) {
                return fail(decoder, event, error);
            }
        }
    }
}

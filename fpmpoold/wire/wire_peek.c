/* wire_peek.c - what stands at the start of a connection at a clean point (dispatch.md 2).
 *
 * The pool process and the workers ask it before a request is taken up. It never needs more than
 * one whole record and answers management records on the spot.
 */
#include "wire/wire.h"

#include <string.h>

static void fail(wire_peek *peek, wire_error error)
{
    peek->kind = WIRE_PEEK_ERROR;
    peek->error = error;
}

static void peek_begin(wire_peek *peek, const wire_header *header, const uint8_t *bytes,
                       size_t length)
{
    if (header->content_length != 8) {
        fail(peek, WIRE_ERROR_LENGTH);
        return;
    }
    if (length < WIRE_BEGIN_SIZE) {
        return;
    }
    peek->kind = WIRE_PEEK_BEGIN;
    peek->role = (uint16_t)(bytes[8] << 8 | bytes[9]);
    peek->flags = bytes[10];
}

static void peek_management(wire_peek *peek, const wire_header *header, const uint8_t *bytes,
                            size_t length, uint32_t max_conns, uint32_t max_reqs)
{
    size_t whole = (size_t)WIRE_HEADER_SIZE + header->content_length + header->padding_length;

    if (header->type != WIRE_GET_VALUES && header->type != 0 && header->type <= WIRE_UNKNOWN_TYPE) {
        fail(peek, header->type < WIRE_GET_VALUES ? WIRE_ERROR_ID : WIRE_ERROR_UNEXPECTED);
        return;
    }
    if (length < whole) {
        return;
    }
    if (header->type == WIRE_GET_VALUES) {
        peek->reply_length = wire_values_answer(peek->reply, bytes + WIRE_HEADER_SIZE,
                                                header->content_length, max_conns, max_reqs);
        if (peek->reply_length == 0) {
            fail(peek, WIRE_ERROR_PAIR);
            return;
        }
    } else {
        peek->reply_length = (size_t)(wire_unknown_write(peek->reply, header->type) - peek->reply);
    }
    peek->kind = WIRE_PEEK_ANSWER;
    peek->consume = whole;
}

void wire_peek_head(wire_peek *peek, const uint8_t *bytes, size_t length, uint32_t max_conns,
                    uint32_t max_reqs)
{
    wire_header header;

    memset(peek, 0, offsetof(wire_peek, reply));
    if (length > 0 && bytes[0] != WIRE_VERSION) {
        fail(peek, WIRE_ERROR_VERSION);
        return;
    }
    if (length < WIRE_HEADER_SIZE) {
        return;
    }
    wire_header_read(&header, bytes);
    peek->request_id = header.request_id;
    if (header.request_id == 0) {
        peek_management(peek, &header, bytes, length, max_conns, max_reqs);
    } else if (header.type == WIRE_BEGIN_REQUEST) {
        peek_begin(peek, &header, bytes, length);
    } else if (header.type == WIRE_GET_VALUES) {
        fail(peek, WIRE_ERROR_ID);
    } else if ((header.type == WIRE_STDIN || header.type == WIRE_DATA ||
                header.type == WIRE_PARAMS || header.type == WIRE_ABORT_REQUEST) &&
               header.content_length == 0) {
        size_t whole = (size_t)WIRE_HEADER_SIZE + header.padding_length;
        if (length >= whole) { /* the end of a stream whose request is already answered */
            peek->kind = WIRE_PEEK_SKIP;
            peek->consume = whole;
        }
    } else {
        fail(peek, WIRE_ERROR_UNEXPECTED);
    }
}

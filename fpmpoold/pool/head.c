/* head.c - a request as far as it has arrived, read with the wire decoder.
 *
 * Pure; runs in the pool process. It must not take bytes from a socket.
 */
#include "pool/head.h"

#include <string.h>

#include "wire/wire.h"

static int is_named(const wire_pair *pair, const char *name)
{
    return pair->name_length == strlen(name) && memcmp(pair->name, name, pair->name_length) == 0;
}

static fpd_head_text text_of(const wire_pair *pair)
{
    return (fpd_head_text){.bytes = pair->value, .length = pair->value_length};
}

int fpd_head_equals(const fpd_head_text *text, const char *string)
{
    return string != NULL && text->bytes != NULL && text->length == strlen(string) &&
           memcmp(text->bytes, string, text->length) == 0;
}

static int read_params(fpd_head *head, const uint8_t *params, size_t length)
{
    const uint8_t *cursor = params;
    wire_pair pair;
    int more;

    while ((more = wire_pair_next(&cursor, params + length, &pair)) == 1) {
        if (is_named(&pair, "SCRIPT_NAME")) {
            head->script_name = text_of(&pair);
        } else if (is_named(&pair, "QUERY_STRING")) {
            head->query_string = text_of(&pair);
        } else if (is_named(&pair, "REQUEST_METHOD")) {
            head->method = text_of(&pair);
        } else if (is_named(&pair, "SCRIPT_FILENAME") || is_named(&pair, "PATH_TRANSLATED")) {
            head->has_file = 1;
        } else if (is_named(&pair, WIRE_PARAM_PEER)) {
            head->is_peer = pair.value_length == 1 && pair.value[0] == '1';
        }
    }
    return more == 0;
}

static fpd_head_progress broken(fpd_head *head)
{
    head->progress = FPD_HEAD_BROKEN;
    return FPD_HEAD_BROKEN;
}

fpd_head_progress fpd_head_read(fpd_head *head, const uint8_t *bytes, size_t length,
                                uint8_t *params, size_t params_size)
{
    const uint8_t *cursor = bytes;
    size_t params_length = 0;
    wire_decoder decoder;
    wire_event event;

    memset(head, 0, sizeof(*head));
    wire_decoder_init(&decoder, WIRE_SERVER, (uint32_t)params_size);
    while (wire_decode(&decoder, &cursor, bytes + length, &event) != WIRE_EVENT_MORE) {
        switch (event.kind) {
        case WIRE_EVENT_BEGIN:
            head->progress = FPD_HEAD_BEGUN;
            head->request_id = event.request_id;
            head->role = event.role;
            head->keep = (event.flags & WIRE_KEEP_CONN) != 0;
            break;
        case WIRE_EVENT_PARAMS:
            if (event.length > params_size - params_length) {
                return broken(head);
            }
            memcpy(params + params_length, event.data, event.length);
            params_length += event.length;
            break;
        case WIRE_EVENT_PARAMS_END:
            if (!read_params(head, params, params_length)) {
                return broken(head);
            }
            head->progress = FPD_HEAD_WHOLE;
            break;
        case WIRE_EVENT_STDIN_END:
            if (head->role == WIRE_FILTER) {
                break;
            }
            /* fall through */
        case WIRE_EVENT_DATA_END:
            /* padding of this last record belongs to it too: the decoder takes it up to the next
             * event or the end */
            head->progress = FPD_HEAD_REQUEST;
            break;
        case WIRE_EVENT_ERROR:
            return broken(head);
        default:
            break; /* body, abort, management records: of no interest here */
        }
        if (head->progress == FPD_HEAD_REQUEST) {
            break;
        }
    }
    if (head->progress == FPD_HEAD_REQUEST) {
        head->consumed = (size_t)(cursor - bytes);
        if (!wire_decoder_is_clean(&decoder)) {
            head->consumed +=
                decoder.padding_left; /* checked by the caller against what is there */
        }
    }
    return head->progress;
}

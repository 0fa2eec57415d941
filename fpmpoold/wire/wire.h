/* wire.h - the FastCGI 1.0 codec, both sides (FastCGI specification, sections 3 to 8).
 *
 * Memory in, memory out: no sockets, no logging, no allocation, no knowledge of httpd, APR or PHP.
 * Both programs compile it. Nothing here keeps a pointer to the caller's bytes after a call
 * returns, except where a struct says so.
 *
 * Decoding is incremental: a wire_decoder holds the state between calls, the caller keeps the
 * bytes. The same bytes given whole or one at a time lead to the same events (stream data may be
 * cut differently; joined, it is equal).
 */
#ifndef FPD_WIRE_H
#define FPD_WIRE_H

#include <stddef.h>
#include <stdint.h>

#define WIRE_VERSION     1
#define WIRE_HEADER_SIZE 8
#define WIRE_BEGIN_SIZE  16 /* header and body of BEGIN_REQUEST */
#define WIRE_END_SIZE    16 /* header and body of END_REQUEST */
#define WIRE_CONTENT_MAX 65535
#define WIRE_PADDING_MAX 255
#define WIRE_RECORD_MAX  (WIRE_HEADER_SIZE + WIRE_CONTENT_MAX + WIRE_PADDING_MAX)
#define WIRE_NAME_MAX    0x7fffffff

enum wire_type {
    WIRE_BEGIN_REQUEST = 1,
    WIRE_ABORT_REQUEST = 2,
    WIRE_END_REQUEST = 3,
    WIRE_PARAMS = 4,
    WIRE_STDIN = 5,
    WIRE_STDOUT = 6,
    WIRE_STDERR = 7,
    WIRE_DATA = 8,
    WIRE_GET_VALUES = 9,
    WIRE_GET_VALUES_RESULT = 10,
    WIRE_UNKNOWN_TYPE = 11
};

enum wire_role { WIRE_RESPONDER = 1, WIRE_AUTHORIZER = 2, WIRE_FILTER = 3 };

enum wire_flag { WIRE_KEEP_CONN = 1 };

/* protocolStatus of END_REQUEST (specification 5.5). */
enum wire_protocol_status {
    WIRE_REQUEST_COMPLETE = 0,
    WIRE_CANT_MPX_CONN = 1,
    WIRE_OVERLOADED = 2,
    WIRE_UNKNOWN_ROLE = 3
};

/* Parameters that our module may send to our daemon (design, dispatch.md 5). The daemon takes them
 * out of $_SERVER; the module drops any that came from the environment of a request. */
#define WIRE_PARAM_PEER "FPMPOOL_PEER" /* "1": failure is a bare END_REQUEST OVERLOADED */
#define WIRE_PARAM_ACK  "FPMPOOL_ACK"  /* "1": an empty STDERR record before PHP runs */
#define WIRE_PARAM_BODY "FPMPOOL_BODY" /* "stream": body ends with the empty STDIN record */
#define WIRE_PARAM_INI  "FPMPOOL_INI"  /* PHP settings: lines of a wire_ini_level, NAME=VALUE */
#define WIRE_PARAM_SELF                                                                            \
    "FPMPOOL_SELF" /* PHP_SELF, where SCRIPT_NAME and PATH_INFO do not make it */

/* Who wrote a setting of WIRE_PARAM_INI: what it may change (specification: apache.md 3). */
enum wire_ini_level {
    WIRE_INI_ADMIN = 'a',   /* php_admin_value: anything, and the script cannot change it */
    WIRE_INI_SERVER = 's',  /* php_value of httpd's files: what PHP allows per directory */
    WIRE_INI_HTACCESS = 'h' /* the same of an .htaccess file */
};

/* Header lines of our daemon's answers to our module, which takes them out: what a script told with
 * apache_note() and apache_setenv(), NAME=VALUE, both URL-encoded. */
#define WIRE_HEADER_NOTE "Fpmpool-Note"
#define WIRE_HEADER_ENV  "Fpmpool-Env"

/* ---- what our daemon tells our module (only if WIRE_PARAM_PEER was sent) --------------------
 *
 * GET_VALUES_RESULT records that nobody asked for: every FastCGI client skips them, no script can
 * write one, and they need no write of their own. The first goes before the first byte of a
 * response (worker, queue), the last in one write with END_REQUEST (memory, cpu), because only then
 * they are known; the response is never held back for them. An answer for a worker that died or
 * took too long carries `failure` in front of its STDOUT.
 *
 * END_REQUEST to our module carries PHP's exit status (255 after a fatal error) in appStatus; other
 * clients get 0 there, as from php-fpm. */
typedef enum wire_failure {
    WIRE_FAILURE_NONE = 0,
    WIRE_FAILURE_DIED,   /* the worker ended in the middle: the request may have had effects */
    WIRE_FAILURE_TIMEOUT /* request_terminate_timeout ended it */
} wire_failure;

typedef struct wire_facts {
    int64_t worker; /* pid; -1 here and below: not told */
    int64_t queue;  /* microseconds from the request's first bytes to its worker */
    int64_t memory; /* bytes: PHP's peak as memory_get_peak_usage(true) says it */
    int64_t cpu;    /* microseconds of the worker's process, user and system, from the end of
                       its response before this one to the end of this one */
    wire_failure failure;
} wire_facts;

#define WIRE_FACTS_MAX 208 /* largest record, all facts */

/* Nothing is told. */
void wire_facts_init(wire_facts *facts);
/* Writes one record with the facts that are told (WIRE_FACTS_MAX bytes); returns the byte behind.
 */
uint8_t *wire_facts_write(uint8_t *to, const wire_facts *facts);
/* Takes the facts out of a record's content; what it does not name stays as it was, unknown names
 * and values that are none are skipped. */
void wire_facts_read(wire_facts *facts, const uint8_t *content, size_t length);

/* Why a byte stream is not FastCGI. wire_error_text() names each in words for a log line. */
typedef enum wire_error {
    WIRE_OK = 0,
    WIRE_ERROR_VERSION,    /* version byte is not 1 */
    WIRE_ERROR_ID,         /* request id 0 in an application record, not 0 in a management
                              record, or not the id of the open request */
    WIRE_ERROR_LENGTH,     /* fixed-size body (BEGIN, END, UNKNOWN_TYPE) of another length */
    WIRE_ERROR_UNEXPECTED, /* a record that this side or this moment does not allow */
    WIRE_ERROR_PAIR,       /* name-value pairs end inside a pair, or a length above the limit */
    WIRE_ERROR_TOO_LARGE   /* PARAMS or GET_VALUES content above the caller's limit */
} wire_error;

const char *wire_error_text(wire_error error);

typedef struct wire_header {
    uint8_t version;
    uint8_t type; /* enum wire_type, or unknown */
    uint16_t request_id;
    uint16_t content_length;
    uint8_t padding_length;
} wire_header;

/* Reads 8 bytes; never fails (checks are the decoder's). */
void wire_header_read(wire_header *header, const uint8_t bytes[WIRE_HEADER_SIZE]);
/* Writes 8 bytes. */
void wire_header_write(uint8_t bytes[WIRE_HEADER_SIZE], int type, uint16_t request_id,
                       uint16_t content_length, uint8_t padding_length);

/* ---- name-value pairs (specification 3.4) ------------------------------------------------- */

/* One pair; points into the bytes that were decoded, neither part ends with NUL. */
typedef struct wire_pair {
    const char *name;
    const char *value;
    uint32_t name_length;
    uint32_t value_length;
} wire_pair;

/* Takes the next pair at *cursor (end: first byte behind the content). Returns 1 and moves *cursor;
 * 0 when *cursor == end; -1 when the content stops inside a pair (*cursor unchanged). */
int wire_pair_next(const uint8_t **cursor, const uint8_t *end, wire_pair *pair);

/* Bytes that the encoded pair takes. */
static inline size_t wire_pair_size(size_t name_length, size_t value_length)
{
    return (size_t)(name_length < 128 ? 1 : 4) + (size_t)(value_length < 128 ? 1 : 4) +
           name_length + value_length;
}
/* Encodes one pair to `to` (wire_pair_size bytes); returns the first byte behind it. */
uint8_t *wire_pair_write(uint8_t *to, const char *name, size_t name_length, const char *value,
                         size_t value_length);

/* ---- decoder ------------------------------------------------------------------------------ */

typedef enum wire_side {
    WIRE_SERVER, /* reads what a web server sends: BEGIN, ABORT, PARAMS, STDIN, DATA, GET_VALUES */
    WIRE_CLIENT  /* reads what an application sends: STDOUT, STDERR, END_REQUEST, ..._RESULT */
} wire_side;

typedef enum wire_event_kind {
    WIRE_EVENT_MORE = 0, /* all bytes used; give more */
    WIRE_EVENT_BEGIN,    /* role, flags, request_id. An unknown role is reported here as it is */
    WIRE_EVENT_ABORT,
    WIRE_EVENT_PARAMS, /* data: a piece of the PARAMS stream (never empty) */
    WIRE_EVENT_PARAMS_END,
    WIRE_EVENT_STDIN, /* data */
    WIRE_EVENT_STDIN_END,
    WIRE_EVENT_DATA, /* data */
    WIRE_EVENT_DATA_END,
    WIRE_EVENT_STDOUT, /* data */
    WIRE_EVENT_STDOUT_END,
    WIRE_EVENT_STDERR,     /* data */
    WIRE_EVENT_STDERR_END, /* also an acknowledgement when WIRE_PARAM_ACK was sent */
    WIRE_EVENT_END,        /* app_status, protocol_status */
    WIRE_EVENT_VALUES,     /* data: a piece of GET_VALUES or GET_VALUES_RESULT content */
    WIRE_EVENT_VALUES_END,
    WIRE_EVENT_UNKNOWN,      /* unknown_type: management record of unknown type, its content is
                                skipped (server side: answer UNKNOWN_TYPE); client side: an
                                UNKNOWN_TYPE answer that was received */
    WIRE_EVENT_SECOND_BEGIN, /* BEGIN for another id while one is open: answer CANT_MPX_CONN for
                                request_id; the records of that id are skipped */
    WIRE_EVENT_ERROR         /* error; the decoder stays in this state */
} wire_event_kind;

typedef struct wire_event {
    wire_event_kind kind;
    uint16_t request_id;
    uint16_t role;
    uint8_t flags;
    uint8_t unknown_type;
    uint8_t protocol_status;
    uint32_t app_status;
    wire_error error;
    const uint8_t *data; /* into the caller's bytes; valid as long as those are */
    size_t length;
} wire_event;

/* All state between calls. Plain data: copy or zero it freely; wire_decoder_init makes it ready. */
typedef struct wire_decoder {
    wire_side side;
    uint8_t phase;          /* private */
    uint8_t stage;          /* private: what the open request has sent so far */
    uint8_t is_filter;      /* private: a DATA stream follows STDIN */
    uint8_t partial_length; /* private: bytes of header or fixed body kept in partial[] */
    uint8_t partial[WIRE_HEADER_SIZE];
    wire_header header;
    uint32_t content_left;
    uint16_t padding_left;
    uint16_t open_id;      /* id of the open request, 0: none */
    uint32_t stream_total; /* bytes of PARAMS or VALUES seen, against limit */
    uint32_t limit;
    wire_error error;
} wire_decoder;

/* limit: largest sum of PARAMS (or VALUES) content accepted, in bytes. */
void wire_decoder_init(wire_decoder *decoder, wire_side side, uint32_t limit);

/* For a client: opens request_id so that answers for it are accepted. */
void wire_decoder_open(wire_decoder *decoder, uint16_t request_id);

/* Is the decoder between requests and between records (a clean point, dispatch.md 3)?
 * Server side: STDIN (and for FILTER: DATA) ended, or nothing begun, and no byte of a next record
 * or of padding is outstanding. */
int wire_decoder_is_clean(const wire_decoder *decoder);

/* Reads at *cursor up to end; fills *event and moves *cursor behind what was used. Returns
 * event->kind. Call until WIRE_EVENT_MORE or WIRE_EVENT_ERROR. After the stream ends of a request
 * on the server side (STDIN_END, for FILTER DATA_END) the decoder accepts the next BEGIN.
 * Server side: STDIN may come before PARAMS_END only as an error; empty STDIN records before BEGIN
 * are skipped (php-fpm's rule). An application record of an unknown id without BEGIN is skipped
 * (specification 3.3). */
wire_event_kind wire_decode(wire_decoder *decoder, const uint8_t **cursor, const uint8_t *end,
                            wire_event *event);

/* ---- what stands at the start of a connection (dispatch.md 2) ----------------------------- */

typedef enum wire_peek_kind {
    WIRE_PEEK_MORE,   /* fewer bytes than needed to tell; consume 0 */
    WIRE_PEEK_BEGIN,  /* BEGIN_REQUEST: request_id, role, flags; consume 0 */
    WIRE_PEEK_ANSWER, /* a whole management record: consume `consume` bytes, send `reply` */
    WIRE_PEEK_SKIP,   /* an empty STDIN record (or stray records of no request): consume it */
    WIRE_PEEK_ERROR   /* not FastCGI: error; close */
} wire_peek_kind;

#define WIRE_REPLY_MAX 256

typedef struct wire_peek {
    wire_peek_kind kind;
    uint16_t request_id;
    uint16_t role;
    uint8_t flags;
    wire_error error;
    size_t consume;
    size_t reply_length;
    uint8_t reply[WIRE_REPLY_MAX]; /* GET_VALUES_RESULT or UNKNOWN_TYPE, whole record(s) */
} wire_peek;

/* Looks at the first `length` bytes of a connection at a clean point. max_conns and max_reqs answer
 * GET_VALUES (MPXS_CONNS is always 0). A management record is answered only when it is whole
 * (at most WIRE_RECORD_MAX bytes). Needs WIRE_BEGIN_SIZE bytes for BEGIN. */
void wire_peek_head(wire_peek *peek, const uint8_t *bytes, size_t length, uint32_t max_conns,
                    uint32_t max_reqs);

/* ---- encoding ----------------------------------------------------------------------------- */

/* Writes BEGIN_REQUEST, WIRE_BEGIN_SIZE bytes; returns the byte behind. */
uint8_t *wire_begin_write(uint8_t *to, uint16_t request_id, int role, int flags);
/* Writes END_REQUEST, WIRE_END_SIZE bytes, reserved bytes zero; returns the byte behind. */
uint8_t *wire_end_write(uint8_t *to, uint16_t request_id, uint32_t app_status, int protocol_status);
/* Writes UNKNOWN_TYPE, 16 bytes. */
uint8_t *wire_unknown_write(uint8_t *to, int unknown_type);
/* Answers the content of a GET_VALUES record: writes one GET_VALUES_RESULT record with those of the
 * three known names that were asked, to `to` (WIRE_REPLY_MAX bytes); returns its length, or 0 when
 * the content is malformed. */
size_t wire_values_answer(uint8_t *to, const uint8_t *content, size_t length, uint32_t max_conns,
                          uint32_t max_reqs);
/* Padding that brings a record of content_length to a multiple of 8 bytes. */
uint8_t wire_padding(size_t content_length);

#endif

/* exchange.c - one request and its response.
 *
 * Runs in workers. Moves the slot RUNNING -> SENDING -> DONE (dispatch.md 1), answers ping and
 * status, gives the rest to PHP. Never decides about the connection's future beyond saying whether
 * it is at a clean point.
 */
#include "worker/exchange.h"

#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include "apr_strings.h"
#include "base/log.h"
#include "base/loop.h"
#include "worker/announce.h"
#include "worker/facts.h"
#include "worker/status_format.h"
#include "worker/timeout.h"

#define WRITE_TIMEOUT ((int64_t)300 * 1000000) /* without a byte taken by the client */
#define READ_TIMEOUT  ((int64_t)60 * 1000000)  /* when request_head_timeout is not set */

/* ---- the slot ---------------------------------------------------------------------------- */

static void move(fpd_exchange *exchange, fpd_slot_state state)
{
    /* Nobody else moves a slot out of these states; a changed word is a tenant's own doing. */
    if (!fpd_slot_move(exchange->slot, &exchange->word, state)) {
        fpd_slot_move(exchange->slot, &exchange->word, state);
    }
}

static void move_to_sending(void *context)
{
    move(context, FPD_SLOT_SENDING);
}

static void set_stage(void *context, fpd_slot_stage stage)
{
    fpd_exchange *exchange = context;

    atomic_store_explicit(&exchange->slot->stage, stage, memory_order_relaxed);
}

static void begin_slot(fpd_exchange *exchange)
{
    struct timespec wall = {0, 0};

    clock_gettime(CLOCK_REALTIME, &wall);
    exchange->started_wall = (int64_t)wall.tv_sec * 1000000 + wall.tv_nsec / 1000;
    exchange->started = fpd_monotonic_now();
    fpd_sapi_watch(exchange->started, exchange->request.fd); /* before anybody sees it */
    fpd_announce_begin(exchange->slot, exchange->started);
}

/* Only the cheap part of PHP's own time: what the request is, for whoever looks. */
static void describe(fpd_exchange *exchange)
{
    fpd_slot *slot = exchange->slot;

    atomic_store_explicit(&slot->request_id, exchange->request.id, memory_order_relaxed);
    atomic_store_explicit(&slot->keep, exchange->request.keep, memory_order_relaxed);
    atomic_store_explicit(&slot->peer, exchange->request.is_peer, memory_order_relaxed);
    fpd_announce_request(slot, &exchange->sapi);
}

/* ---- callbacks --------------------------------------------------------------------------- */

static int write_output(void *context, const char *data, size_t length)
{
    fpd_exchange *exchange = context;
    int had_begun = exchange->response.has_begun;

    if (!fpd_response_write(&exchange->response, WIRE_STDOUT, data, length)) {
        return 0;
    }
    /* Worth a system call only when output streams. */
    return !had_begun || length < FPD_RESPONSE_RECORD ||
           !fpd_request_was_aborted(&exchange->request);
}

static int flush(void *context)
{
    fpd_exchange *exchange = context;

    return fpd_response_flush(&exchange->response) && !fpd_request_was_aborted(&exchange->request);
}

static size_t read_body(void *context, char *buffer, size_t size)
{
    fpd_exchange *exchange = context;
    size_t length = 0;

    if (!exchange->is_released) {
        length = fpd_request_read_body(&exchange->request, buffer, size);
        exchange->sapi.is_body_cut = exchange->request.is_aborted;
    }
    return length;
}

static void write_error(void *context, const char *text, size_t length)
{
    fpd_exchange *exchange = context;

    fpd_response_write(&exchange->response, WIRE_STDERR, text, length);
}

/* php-fpm's workers write their messages to stderr without a time; the master takes it from there.
 * A message below log_level loses its level's name only: what PHP has to say is not lost. */
static void write_log(void *context, fpd_log_level level, const char *text)
{
    fpd_exchange *exchange = context;
    const char *name = fpd_log_level_name(level);
    int is_named = level >= (fpd_log_level)exchange->setup->plan->log_level;
    struct iovec parts[] = {{(char *)(size_t)name, is_named ? strlen(name) : 0},
                            {": ", is_named ? 2 : 0},
                            {(char *)(size_t)text, strlen(text)},
                            {"\n", 1}};

    if (exchange->setup->errors >= 0 && writev(STDERR_FILENO, parts, 4) < 0) {
        return; /* nobody reads: nothing to be done about it */
    }
}

static int end_response(fpd_exchange *exchange, int protocol_status)
{
    uint32_t app_status = exchange->request.is_peer ? (uint32_t)exchange->sapi.exit_status : 0;
    int is_sent = fpd_response_end(&exchange->response, app_status, protocol_status);

    move(exchange, FPD_SLOT_DONE);
    return is_sent;
}

static fpd_return_kind settle(fpd_exchange *exchange)
{
    if (fpd_request_settle(&exchange->request) && !exchange->response.is_broken) {
        return FPD_RETURN_KEEP;
    }
    return exchange->response.is_broken || exchange->request.is_at_eof ? FPD_RETURN_CLOSE
                                                                       : FPD_RETURN_LINGER;
}

/* The end of the response. If the script goes on after it, the connection goes at once. */
int fpd_exchange_finish(void *context)
{
    fpd_exchange *exchange = context;
    const uint8_t *bytes;
    int is_sent;

    fpd_facts_tell_cost(exchange);
    is_sent = end_response(exchange, WIRE_REQUEST_COMPLETE);
    if (exchange->sapi.is_finished_early && !exchange->is_released) {
        fpd_return_kind kind = settle(exchange);
        if (kind != FPD_RETURN_KEEP || fpd_request_leftover(&exchange->request, &bytes) <
                                           FPD_CHANNEL_BODY_MAX - sizeof(fpd_message_return)) {
            exchange->is_released = 1;
            fpd_sapi_watch(exchange->started, -1);
            exchange->release(exchange->context, kind);
        }
    }
    return is_sent;
}

static void set_stage_and_user(void *context, fpd_slot_stage stage)
{
    fpd_exchange *exchange = context;

    if (stage == FPD_STAGE_RUNNING) {
        fpd_announce_user(exchange->slot, &exchange->sapi);
    }
    set_stage(exchange, stage);
}

/* Records of another matter, in the middle of ours. */
static void reply(void *context, const uint8_t *records, size_t length, int is_waiting)
{
    fpd_exchange *exchange = context;

    if (length > 0) {
        fpd_response_add_records(&exchange->response, records, length);
    }
    if (is_waiting) {
        fpd_response_flush(&exchange->response);
    }
}

static const fpd_sapi_io callbacks = {
    .write_output = write_output,
    .flush = flush,
    .read_body = read_body,
    .finish = fpd_exchange_finish,
    .drop_response = fpd_timeout_drop,
    .time_out = fpd_timeout_end,
    .write_error = write_error,
    .write_log = write_log,
    .set_stage = set_stage_and_user,
};

/* ---- answers without PHP ----------------------------------------------------------------- */

static void write_text(fpd_exchange *exchange, const char *text)
{
    fpd_response_write(&exchange->response, WIRE_STDOUT, text, strlen(text));
}

/* ping and status: their header block. */
static void write_header(fpd_exchange *exchange, const char *name, const char *type, int is_ping)
{
    static const char caching[] =
        "Expires: Thu, 01 Jan 1970 00:00:00 GMT\r\n"
        "Cache-Control: no-cache, no-store, must-revalidate, max-age=0\r\n";
    const char *powered_by = fpd_sapi_powered_by();
    char block[512];
    int length = snprintf(block, sizeof(block), "%s%s%s%s: %s\r\n%s\r\n",
                          powered_by != NULL ? powered_by : "", powered_by != NULL ? "\r\n" : "",
                          is_ping ? "" : caching, name, type, is_ping ? caching : "");

    exchange->sapi.status = 200;
    if (exchange->headers_kept != NULL) {
        memcpy(exchange->headers_kept, block, (size_t)length);
        exchange->sapi.headers_kept_length = (size_t)length;
    }
    fpd_response_write(&exchange->response, WIRE_STDOUT, block, (size_t)length);
}

static int is_head(const fpd_exchange *exchange)
{
    return strcmp(exchange->sapi.method, "HEAD") == 0;
}

/* The user of HTTP authentication, for the status page and the access log. */
static void show_user(fpd_exchange *exchange)
{
    fpd_sapi_read_user(&exchange->sapi);
    fpd_announce_user(exchange->slot, &exchange->sapi);
}

static void answer_ping(fpd_exchange *exchange)
{
    const char *text = exchange->setup->plan->ping_response;

    write_header(exchange, "Content-type", "text/plain;charset=UTF-8", 1);
    if (!is_head(exchange)) {
        write_text(exchange, text != NULL ? text : "pong");
    }
}

static void answer_status(fpd_exchange *exchange)
{
    const fpd_worker_setup *setup = exchange->setup;
    size_t size = fpd_status_format_size(setup->board, exchange->sapi.query);
    apr_pool_t *pool;
    const char *type;
    size_t length;
    char *page;

    set_stage(exchange, FPD_STAGE_RUNNING);
    if (is_head(exchange)) {
        write_header(exchange, "Content-type", "text/html; charset=UTF-8", 0);
        return;
    }
    if (apr_pool_create(&pool, setup->pool) != APR_SUCCESS) {
        return;
    }
    page = apr_palloc(pool, size);
    length =
        fpd_status_format_write(page, size, setup->board, setup->plan, exchange->sapi.query, &type);
    write_header(exchange, fpd_status_format_header_name(type), type, 0);
    fpd_response_write(&exchange->response, WIRE_STDOUT, page, length);
    apr_pool_destroy(pool);
}

static int is_path(const char *path, const char *uri)
{
    return path != NULL && uri != NULL && strcmp(path, uri) == 0;
}

/* Returns 1 when the request was for ping or status. */
static int answer_known_path(fpd_exchange *exchange)
{
    const fpd_plan_pool *plan = exchange->setup->plan;
    const fpd_sapi_request *sapi = &exchange->sapi;

    if (!sapi->is_script_named || sapi->method == NULL) {
        return 0;
    }
    if (is_path(plan->ping_path, sapi->request_uri)) {
        show_user(exchange);
        answer_ping(exchange);
    } else if (is_path(plan->status_path, sapi->request_uri)) {
        show_user(exchange);
        answer_status(exchange);
    } else {
        return 0;
    }
    end_response(exchange, WIRE_REQUEST_COMPLETE);
    return 1;
}

/* A request that was cut off before PHP began: it may be sent again, here or elsewhere. */
static fpd_return_kind answer_cut(fpd_exchange *exchange)
{
    if (!exchange->request.is_peer && exchange->request.params.count > 0) {
        write_text(exchange, "Status: 503 Service Unavailable\r\nRetry-After: 1\r\n"
                             "Content-Type: text/plain\r\n\r\nService unavailable\n");
    }
    end_response(exchange, WIRE_OVERLOADED);
    return FPD_RETURN_CLOSE;
}

/* ---- the end ----------------------------------------------------------------------------- */

static void read_cpu(int64_t *user, int64_t *system)
{
    struct rusage own;
    struct rusage children;

    *user = 0;
    *system = 0;
    if (getrusage(RUSAGE_SELF, &own) == 0 && getrusage(RUSAGE_CHILDREN, &children) == 0) {
        *user = (int64_t)(own.ru_utime.tv_sec + children.ru_utime.tv_sec) * 1000000 +
                own.ru_utime.tv_usec + children.ru_utime.tv_usec;
        *system = (int64_t)(own.ru_stime.tv_sec + children.ru_stime.tv_sec) * 1000000 +
                  own.ru_stime.tv_usec + children.ru_stime.tv_usec;
    }
}

/* "10.0.0.1", v4-mapped addresses as v4; NULL for unix sockets. */
static const char *remote_of(int fd, char *text, size_t size)
{
    static const char mapped[] = "::ffff:";
    struct sockaddr_storage address;
    socklen_t length = sizeof(address);

    if (fd < 0 || getpeername(fd, (struct sockaddr *)&address, &length) != 0 ||
        address.ss_family == AF_UNIX ||
        getnameinfo((struct sockaddr *)&address, length, text, (socklen_t)size, NULL, 0,
                    NI_NUMERICHOST) != 0) {
        return NULL;
    }
    return strncmp(text, mapped, sizeof(mapped) - 1) == 0 ? text + sizeof(mapped) - 1 : text;
}

static void write_access_line(fpd_exchange *exchange, const char *remote, int64_t duration)
{
    const fpd_sapi_request *sapi = &exchange->sapi;
    char line[FPD_ACCESS_LOG_LINE];
    struct timespec wall = {0, 0};
    int64_t user = 0;
    int64_t system = 0;
    fpd_access_entry entry;
    size_t length;
    int is_cut;
    int fd;

    if (fpd_access_log_wants_cpu(exchange->log)) {
        read_cpu(&user, &system);
    }
    clock_gettime(CLOCK_REALTIME, &wall);
    entry = (fpd_access_entry){
        .params = sapi->params,
        .headers = exchange->headers_kept,
        .headers_length = sapi->headers_kept_length,
        .method = sapi->method,
        .uri = sapi->request_uri,
        .query = sapi->query,
        .script = sapi->script,
        .user = sapi->user,
        .remote = remote,
        .content_length = sapi->content_length > 0 ? sapi->content_length : 0,
        .status = sapi->status,
        .started_wall = exchange->started_wall,
        .ended_wall = (int64_t)wall.tv_sec * 1000000 + wall.tv_nsec / 1000,
        .duration = duration,
        .cpu_user = user - exchange->cpu_user,
        .cpu_system = system - exchange->cpu_system,
        .memory = sapi->memory_peak,
        .pid = exchange->pid,
    };
    if (fpd_access_log_is_suppressed(exchange->log, &entry)) {
        return;
    }
    fd = exchange->access_log(exchange->context);
    if (fd < 0) {
        return;
    }
    length = fpd_access_log_format(exchange->log, &entry, line, sizeof(line), &is_cut);
    if (is_cut) {
        fpd_log(FPD_LOG_NOTICE,
                "the log buffer is full (%d). The access log request has been truncated.",
                FPD_ACCESS_LOG_LINE);
    }
    fpd_access_file_write(&exchange->log_file, fd, exchange->setup->plan->access_log, line, length);
}

static void run_php(fpd_exchange *exchange)
{
    fpd_sapi_request *sapi = &exchange->sapi;

    if (answer_known_path(exchange)) {
        return;
    }
    if (fpd_sapi_run(sapi) != 0) {
        exchange->must_end = 1;
        fpd_log(FPD_LOG_ERROR, "PHP could not start a request for '%s'; this worker ends",
                sapi->request_uri != NULL ? sapi->request_uri : "");
    }
}

/* The head is whole. */
static fpd_return_kind serve(fpd_exchange *exchange)
{
    fpd_request *request = &exchange->request;
    fpd_sapi_request *sapi = &exchange->sapi;
    int64_t cpu_before = fpd_sapi_cpu_used();
    const char *remote = NULL;
    char address[128];
    int64_t duration;

    memset(sapi, 0, sizeof(*sapi));
    sapi->params = &request->params;
    sapi->io = &callbacks;
    sapi->io_context = exchange;
    sapi->is_own_module = request->is_peer;
    sapi->is_body_streamed = request->is_body_streamed;
    sapi->settings = request->settings;
    sapi->self = request->self;
    sapi->headers_kept = exchange->headers_kept;
    fpd_sapi_prepare(sapi);
    describe(exchange);
    if (fpd_request_is_cut(request, request->is_body_streamed ? -1 : sapi->content_length)) {
        return answer_cut(exchange);
    }
    if (exchange->log != NULL) {
        if (fpd_access_log_wants_remote(exchange->log)) {
            remote = remote_of(request->fd, address, sizeof(address));
        }
        if (fpd_access_log_wants_cpu(exchange->log)) {
            read_cpu(&exchange->cpu_user, &exchange->cpu_system);
        }
    }
    if (request->is_ack_wanted) {
        fpd_response_acknowledge(&exchange->response);
    }
    fpd_facts_tell_worker(exchange);
    run_php(exchange);
    duration = fpd_monotonic_now() - exchange->started;
    if (exchange->log != NULL) {
        write_access_line(exchange, remote, duration);
    }
    fpd_announce_end(exchange->slot, &exchange->sapi, duration, fpd_sapi_cpu_used() - cpu_before);
    return exchange->is_released ? FPD_RETURN_KEEP : settle(exchange);
}

/* The head is not: nothing runs. */
static fpd_return_kind refuse(fpd_exchange *exchange, fpd_request_head head)
{
    fpd_return_kind kind = FPD_RETURN_CLOSE;

    switch (head) {
    case FPD_HEAD_NONE:
        if (fpd_response_flush(&exchange->response)) {
            kind = FPD_RETURN_KEEP;
        }
        break;
    case FPD_HEAD_CUT:
        if (exchange->request.has_begun) {
            kind = answer_cut(exchange);
        }
        break;
    case FPD_HEAD_ABORTED:
        end_response(exchange, WIRE_REQUEST_COMPLETE);
        kind = FPD_RETURN_LINGER;
        break;
    case FPD_HEAD_ROLE:
        end_response(exchange, WIRE_UNKNOWN_ROLE);
        kind = settle(exchange);
        break;
    case FPD_HEAD_BAD:
        fpd_log(FPD_LOG_NOTICE, "closed a connection: %s",
                wire_error_text(exchange->request.error));
        break;
    case FPD_HEAD_LATE:
        fpd_log(FPD_LOG_NOTICE, "closed a connection: its request head was not whole in time");
        break;
    case FPD_HEAD_NO_MEMORY:
        fpd_log(FPD_LOG_ERROR, "closed a connection: no memory for its request head");
        break;
    default:
        break;
    }
    if (FPD_SLOT_STATE(exchange->word) != FPD_SLOT_DONE) {
        move(exchange, FPD_SLOT_DONE);
    }
    atomic_store_explicit(&exchange->slot->stage, FPD_STAGE_IDLE, memory_order_relaxed);
    return kind;
}

fpd_return_kind fpd_exchange_run(fpd_exchange *exchange, int is_lane)
{
    fpd_request_head head;

    exchange->is_released = 0;
    begin_slot(exchange);
    fpd_response_open(&exchange->response, exchange->request.fd, 0);
    head = fpd_request_read_head(&exchange->request);
    exchange->response.id = exchange->request.id;
    atomic_store_explicit(&exchange->slot->request_id, exchange->request.id, memory_order_relaxed);
    if (head != FPD_HEAD_READY) {
        return refuse(exchange, head);
    }
    if (is_lane) {
        atomic_fetch_add_explicit(&exchange->slot->lane_hits, 1, memory_order_relaxed);
    }
    return serve(exchange);
}

void fpd_exchange_create(fpd_exchange *exchange, const fpd_worker_setup *setup,
                         fpd_exchange_release_fn *release, fpd_exchange_log_fn *access_log,
                         void *context)
{
    int seconds = setup->plan->request_head_timeout;

    memset(exchange, 0, sizeof(*exchange));
    exchange->setup = setup;
    exchange->slot = &setup->board->slots[setup->slot];
    exchange->release = release;
    exchange->access_log = access_log;
    exchange->context = context;
    exchange->pid = (int32_t)getpid();
    fpd_request_create(&exchange->request, seconds > 0 ? (int64_t)seconds * 1000000 : READ_TIMEOUT,
                       setup->board->slot_count, reply, exchange, setup->pool);
    fpd_response_create(&exchange->response, WRITE_TIMEOUT, move_to_sending, exchange, setup->pool);
    exchange->request.end_flag = fpd_sapi_end_flag();
    exchange->response.end_flag = fpd_sapi_end_flag();
    if (setup->access_log >= 0) {
        exchange->log = fpd_access_log_create(setup->plan, setup->pool);
        if (fpd_access_log_wants_headers(exchange->log)) {
            exchange->headers_kept = apr_palloc(setup->pool, FPD_SAPI_HEADERS_KEPT);
        }
    }
}

/* storm.c - many FastCGI clients at once that behave badly in every legal way.
 *
 * usage: storm SOCKET SCRIPT CLIENTS SECONDS SEED [deaths|reloads]     SOCKET: PATH or IPV4:PORT
 * Every request carries an id that SCRIPT must echo. An answer to another request, a torn answer, a
 * second answer, or no answer within HANG_LIMIT is a defect: it is printed and the exit code is 1.
 * So is the end of a kept connection that rests. With "deaths" (workers are being killed) a 502, a
 * 503 and a close are counted, not defects. With "reloads" (of the daemon, meanwhile) nothing is
 * excused, which is the default too. Prints one line of counts at the end.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "wire/wire.h"

#define CLIENTS_MAX  512
#define REQUEST_SIZE 4096
#define ANSWER_SIZE  4096
#define HANG_LIMIT   20.0 /* seconds without an answer to a whole request */

typedef enum habit {
    HABIT_KEEP,      /* whole request, kept connection */
    HABIT_CLOSE,     /* whole request, connection per request */
    HABIT_SLOW_HEAD, /* the head in two parts, cut anywhere */
    HABIT_PAIR,      /* two pipelined requests */
    HABIT_VANISH,    /* closes in the middle of the head */
    HABIT_DESERT,    /* sends a whole request and closes without reading */
    HABIT_COUNT
} habit;

typedef struct client {
    int fd; /* -1: not connected */
    habit doing;
    unsigned number;
    uint8_t request[2 * REQUEST_SIZE];
    size_t request_length;
    size_t sent;
    size_t stop_at; /* send no further before `resume` */
    int ends_late;  /* only the end of STDIN comes after the pause: the answer may come before it */
    double resume;
    double rest_until; /* 0: does not rest */
    double deadline;
    unsigned long ids[2];
    int id_count;
    int answered;
    wire_decoder decoder;
    char answer[ANSWER_SIZE];
    size_t answer_length;
    int is_kept;
} client;

typedef struct totals {
    unsigned long requests, answers, refused, lost, rests, deserted, connects, defects;
} totals;

typedef struct storm {
    struct sockaddr_storage address;
    socklen_t address_size;
    const char *script;
    int sees_deaths;
    unsigned long next_id;
    double now, end;
    totals count;
    int client_count;
    client clients[CLIENTS_MAX];
} storm;

static double seconds_now(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static void defect(storm *all, const client *who, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static void defect(storm *all, const client *who, const char *format, ...)
{
    va_list arguments;

    all->count.defects++;
    fprintf(stderr, "# client %u habit %d request %lu: ", who->number, who->doing, who->ids[0]);
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fprintf(stderr, "\n");
}

static uint8_t *add_pair(uint8_t *to, const char *name, const char *value)
{
    return wire_pair_write(to, name, strlen(name), value, strlen(value));
}

/* Appends one whole request that asks SCRIPT to echo id. */
static void add_request(const storm *all, client *who, unsigned long id)
{
    uint8_t pairs[1024];
    char query[64];
    uint8_t *end = pairs;
    uint8_t *to = who->request + who->request_length;
    uint8_t *content;

    snprintf(query, sizeof(query), "id=%lu", id);
    end = add_pair(end, "SCRIPT_FILENAME", all->script);
    end = add_pair(end, "SCRIPT_NAME", "/echo.php");
    end = add_pair(end, "REQUEST_METHOD", "GET");
    end = add_pair(end, "REQUEST_URI", "/echo.php");
    end = add_pair(end, "QUERY_STRING", query);
    end = add_pair(end, "SERVER_PROTOCOL", "HTTP/1.1");
    to = wire_begin_write(to, 1, WIRE_RESPONDER, who->is_kept ? WIRE_KEEP_CONN : 0);
    content = to + WIRE_HEADER_SIZE;
    wire_header_write(to, WIRE_PARAMS, 1, (uint16_t)(end - pairs), 0);
    memcpy(content, pairs, (size_t)(end - pairs));
    to = content + (end - pairs);
    wire_header_write(to, WIRE_PARAMS, 1, 0, 0);
    wire_header_write(to + WIRE_HEADER_SIZE, WIRE_STDIN, 1, 0, 0);
    who->request_length = (size_t)(to + 2 * WIRE_HEADER_SIZE - who->request);
    who->ids[who->id_count++] = id;
}

static void start_request(storm *all, client *who)
{
    who->doing = (habit)(rand() % HABIT_COUNT);
    who->is_kept = who->doing != HABIT_CLOSE;
    who->request_length = who->sent = who->answer_length = 0;
    who->id_count = who->answered = 0;
    who->rest_until = 0;
    add_request(all, who, all->next_id++);
    if (who->doing == HABIT_PAIR) {
        add_request(all, who, all->next_id++);
    }
    all->count.requests += (unsigned long)who->id_count;
    who->stop_at = who->request_length;
    if (who->doing == HABIT_SLOW_HEAD || who->doing == HABIT_VANISH) {
        who->stop_at = 1 + (size_t)rand() % (who->request_length - 1);
    }
    who->ends_late = who->stop_at < who->request_length &&
                     who->stop_at + WIRE_HEADER_SIZE >= who->request_length;
    who->resume = all->now + (rand() % 20) / 1000.0;
    who->deadline = all->now + HANG_LIMIT;
    wire_decoder_init(&who->decoder, WIRE_CLIENT, 65535);
    wire_decoder_open(&who->decoder, 1);
}

static void disconnect(client *who)
{
    if (who->fd >= 0) {
        close(who->fd);
        who->fd = -1;
    }
}

static int read_address(storm *all, const char *text)
{
    struct sockaddr_un *path = (struct sockaddr_un *)&all->address;
    struct sockaddr_in *inet = (struct sockaddr_in *)&all->address;
    const char *colon = strrchr(text, ':');
    char host[64];

    if (text[0] == '/') {
        path->sun_family = AF_UNIX;
        snprintf(path->sun_path, sizeof(path->sun_path), "%s", text);
        all->address_size = sizeof(*path);
        return 1;
    }
    if (colon == NULL || colon - text >= (ptrdiff_t)sizeof(host)) {
        return 0;
    }
    snprintf(host, sizeof(host), "%.*s", (int)(colon - text), text);
    inet->sin_family = AF_INET;
    inet->sin_port = htons((uint16_t)atoi(colon + 1));
    all->address_size = sizeof(*inet);
    return inet_pton(AF_INET, host, &inet->sin_addr) == 1;
}

static void connect_client(storm *all, client *who)
{
    who->fd = socket(all->address.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (who->fd < 0) {
        perror("socket");
        exit(2);
    }
    if (connect(who->fd, (struct sockaddr *)&all->address, all->address_size) != 0 &&
        errno != EINPROGRESS) {
        disconnect(who); /* full backlog: the next round tries again */
        return;
    }
    all->count.connects++;
    start_request(all, who);
}

/* The connection ended although answers are due. */
static void lose(storm *all, client *who, const char *why)
{
    if (all->sees_deaths) {
        all->count.lost += (unsigned long)(who->id_count - who->answered);
    } else {
        defect(all, who, "%s with %d of %d answers", why, who->answered, who->id_count);
    }
    disconnect(who);
}

static void check_answer(storm *all, client *who)
{
    char wanted[64];

    who->answer[who->answer_length] = '\0';
    snprintf(wanted, sizeof(wanted), "\r\n\r\nid=%lu.", who->ids[who->answered]);
    if (strstr(who->answer, wanted) != NULL) {
        all->count.answers++;
    } else if (all->sees_deaths && strncmp(who->answer, "Status: 50", 10) == 0) {
        all->count.refused++;
    } else {
        defect(all, who, "wanted '%s', got '%s'", wanted + 4, who->answer);
    }
    who->answered++;
    who->answer_length = 0;
}

static void take_output(storm *all, client *who, const wire_event *event)
{
    if (who->answer_length + event->length >= sizeof(who->answer)) {
        defect(all, who, "answer is too long");
        return;
    }
    memcpy(who->answer + who->answer_length, event->data, event->length);
    who->answer_length += event->length;
}

/* Decodes what came; returns 0 when the connection is of no more use. */
static int take_bytes(storm *all, client *who, const uint8_t *bytes, size_t length)
{
    const uint8_t *cursor = bytes;
    wire_event event;

    for (;;) {
        switch (wire_decode(&who->decoder, &cursor, bytes + length, &event)) {
        case WIRE_EVENT_MORE:
            return 1;
        case WIRE_EVENT_STDOUT:
            take_output(all, who, &event);
            break;
        case WIRE_EVENT_END:
            if (who->answered == who->id_count) {
                defect(all, who, "an answer nobody asked for");
                return 0;
            }
            check_answer(all, who);
            wire_decoder_open(&who->decoder, 1);
            break;
        case WIRE_EVENT_ERROR:
            defect(all, who, "not FastCGI: %s", wire_error_text(event.error));
            return 0;
        default:
            break;
        }
    }
}

static void receive(storm *all, client *who)
{
    uint8_t bytes[16384];

    for (;;) {
        ssize_t got = recv(who->fd, bytes, sizeof(bytes), 0);
        if (got < 0 && errno == EAGAIN) {
            break;
        }
        if (got <= 0) {
            if (who->answered < who->id_count) {
                lose(all, who, got == 0 ? "closed" : strerror(errno));
            } else if (who->rest_until > 0 && !all->sees_deaths) {
                defect(all, who, "a kept connection that rests ended: %s",
                       got == 0 ? "closed" : strerror(errno));
            }
            disconnect(who);
            return;
        }
        if (!take_bytes(all, who, bytes, (size_t)got)) {
            disconnect(who);
            return;
        }
    }
    if (who->answered == who->id_count && who->rest_until == 0) {
        if (who->ends_late || who->sent < who->request_length) {
            disconnect(who); /* answered before STDIN ended: such a connection is not kept */
        } else if (who->is_kept && all->now < all->end && rand() % 4 == 0) {
            who->rest_until = all->now + (rand() % 300) / 1000.0;
            all->count.rests++;
        } else if (who->is_kept && all->now < all->end && rand() % 8 != 0) {
            start_request(all, who);
        } else if (who->is_kept) {
            disconnect(who);
        }
    }
}

static void send_more(storm *all, client *who)
{
    size_t limit = who->stop_at;

    if (who->sent == who->stop_at && all->now >= who->resume) {
        if (who->doing == HABIT_VANISH) {
            all->count.deserted++;
            disconnect(who);
            return;
        }
        limit = who->stop_at = who->request_length;
    }
    if (who->sent < limit) {
        ssize_t sent = send(who->fd, who->request + who->sent, limit - who->sent, MSG_NOSIGNAL);
        if (sent < 0 && errno != EAGAIN) {
            lose(all, who, strerror(errno));
            return;
        }
        who->sent += sent > 0 ? (size_t)sent : 0;
        if (who->sent == who->stop_at && who->doing == HABIT_DESERT) {
            all->count.deserted++;
            disconnect(who);
        }
    }
}

static void step(storm *all, int wait_milliseconds)
{
    struct pollfd polled[CLIENTS_MAX];

    for (int i = 0; i < all->client_count; i++) {
        polled[i] = (struct pollfd){.fd = all->clients[i].fd, .events = POLLIN};
    }
    (void)poll(polled, (nfds_t)all->client_count, wait_milliseconds);
    all->now = seconds_now();
    for (int i = 0; i < all->client_count; i++) {
        client *who = &all->clients[i];
        if (who->fd >= 0 && polled[i].revents != 0) {
            receive(all, who);
        }
        if (who->fd >= 0 && who->rest_until > 0 && all->now >= who->rest_until) {
            start_request(all, who);
        }
        if (who->fd >= 0) {
            send_more(all, who);
        } else if (all->now < all->end) {
            connect_client(all, who);
        }
        if (who->fd >= 0 && who->answered < who->id_count && all->now > who->deadline) {
            defect(all, who, "no answer within %.0f s (%zu of %zu bytes sent)", HANG_LIMIT,
                   who->sent, who->request_length);
            disconnect(who);
        }
    }
}

/* After the end no new request starts on a connection whose answers are complete. */
static int are_clients_busy(storm *all)
{
    int busy = 0;

    for (int i = 0; i < all->client_count; i++) {
        client *who = &all->clients[i];
        if (who->fd >= 0 && (who->answered == who->id_count || who->sent == 0)) {
            disconnect(who);
        }
        busy += who->fd >= 0;
    }
    return busy > 0;
}

int main(int argc, char **argv)
{
    static storm all;

    if (argc < 6) {
        fprintf(stderr, "usage: storm SOCKET SCRIPT CLIENTS SECONDS SEED [deaths|reloads]\n");
        return 2;
    }
    if (!read_address(&all, argv[1])) {
        fprintf(stderr, "storm: SOCKET must be an absolute path or IPV4:PORT\n");
        return 2;
    }
    all.script = argv[2];
    all.client_count = atoi(argv[3]);
    if (all.client_count < 1 || all.client_count > CLIENTS_MAX) {
        fprintf(stderr, "storm: CLIENTS must be 1 to %d\n", CLIENTS_MAX);
        return 2;
    }
    srand((unsigned)atoi(argv[5]));
    all.sees_deaths = argc > 6 && strcmp(argv[6], "deaths") == 0;
    all.next_id = 1;
    all.now = seconds_now();
    all.end = all.now + atof(argv[4]);
    for (int i = 0; i < all.client_count; i++) {
        all.clients[i].fd = -1;
        all.clients[i].number = (unsigned)i;
    }
    while (all.now < all.end) {
        step(&all, 2);
    }
    while (are_clients_busy(&all)) {
        step(&all, 2);
    }
    printf("requests=%lu answers=%lu refused=%lu lost=%lu rests=%lu deserted=%lu connects=%lu "
           "defects=%lu\n",
           all.count.requests, all.count.answers, all.count.refused, all.count.lost,
           all.count.rests, all.count.deserted, all.count.connects, all.count.defects);
    return all.count.defects == 0 && all.count.answers > 0 ? 0 : 1;
}

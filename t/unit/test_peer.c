/* test_peer.c - which clients on other hosts count as vanished. */
#include "unit.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/peer.h"

START_TEST(only_silence_counts)
{
    static const struct {
        uint32_t unacknowledged, repeated, asked;
        int is_silent;
    } table[] = {
        {0, 0, 0, 0},                              /* idle */
        {9, 0, 0, 0},                              /* on the way */
        {9, 6, 0, 0},                              /* a bad line */
        {9, 7, 0, 1}, {1, 30, 0, 1}, {0, 7, 0, 0}, /* nothing is on the way */
        {0, 0, 6, 0},                              /* it reads slowly */
        {0, 0, 7, 1},                              /* it was, when it vanished */
    };

    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        ck_assert_int_eq(
            fpd_peer_is_silent(table[i].unacknowledged, table[i].repeated, table[i].asked),
            table[i].is_silent);
    }
}
END_TEST

static int option(int fd, int level, int name)
{
    int value = -1;
    socklen_t size = sizeof(value);

    ck_assert_int_eq(getsockopt(fd, level, name, &value, &size), 0);
    return value;
}

START_TEST(accepted_connections_are_watched)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof(address);
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int client = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int server;

    ck_assert_int_eq(bind(listener, (struct sockaddr *)&address, size), 0);
    ck_assert_int_eq(listen(listener, 1), 0);
    ck_assert_int_eq(getsockname(listener, (struct sockaddr *)&address, &size), 0);
    fpd_peer_watch(listener);
    ck_assert_int_eq(connect(client, (struct sockaddr *)&address, size), 0);
    server = accept(listener, NULL, NULL);
    ck_assert_int_eq(option(server, SOL_SOCKET, SO_KEEPALIVE), 1);
    ck_assert_int_eq(option(server, IPPROTO_TCP, TCP_KEEPIDLE) +
                         option(server, IPPROTO_TCP, TCP_KEEPINTVL) *
                             option(server, IPPROTO_TCP, TCP_KEEPCNT),
                     FPD_PEER_SILENCE);
    ck_assert_int_eq(fpd_peer_has_vanished(server), 0);
    close(server);
    close(client);
    close(listener);
}
END_TEST

START_TEST(unix_sockets_never_vanish)
{
    int pair[2];

    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
    fpd_peer_watch(pair[0]);
    ck_assert_int_eq(fpd_peer_has_vanished(pair[0]), 0);
    close(pair[0]);
    close(pair[1]);
}
END_TEST

static Suite *peer_suite(void)
{
    Suite *suite = suite_create("peer");
    TCase *cases = tcase_create("peer");

    tcase_add_test(cases, only_silence_counts);
    tcase_add_test(cases, accepted_connections_are_watched);
    tcase_add_test(cases, unix_sockets_never_vanish);
    suite_add_tcase(suite, cases);
    return suite;
}

UNIT_MAIN(peer_suite)

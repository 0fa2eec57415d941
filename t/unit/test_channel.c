/* test_channel.c - messages arrive whole with their descriptors, or are refused without a leak. */
#include "unit.h"

#include <dirent.h>
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/channel.h"

static fpd_message_buffer buffer;

static int count_descriptors(void)
{
    DIR *open_files = opendir("/proc/self/fd");
    int count = 0;

    ck_assert_ptr_nonnull(open_files);
    while (readdir(open_files) != NULL) {
        count++;
    }
    closedir(open_files);
    return count;
}

START_TEST(carries_two_part_bodies_and_descriptors)
{
    int pair[2];
    int sent[2];
    fpd_message message;
    struct stat left, right;

    ck_assert_int_eq(fpd_channel_pair(pair), APR_SUCCESS);
    ck_assert_int_eq(pipe(sent), 0);
    ck_assert_int_eq(fpd_channel_send(pair[0], FPD_MESSAGE_ASSIGN, "abc", 3, "defg", 4, sent, 2, 0),
                     APR_SUCCESS);
    ck_assert_int_eq(fpd_channel_receive(pair[1], &message, &buffer, MSG_DONTWAIT), APR_SUCCESS);
    ck_assert_uint_eq(message.type, FPD_MESSAGE_ASSIGN);
    ck_assert_uint_eq(message.length, 7);
    ck_assert_mem_eq(message.body, "abcdefg", 7);
    ck_assert_int_eq(message.fd_count, 2);
    ck_assert_int_eq(fstat(sent[1], &left), 0);
    ck_assert_int_eq(fstat(message.fds[1], &right), 0);
    ck_assert_uint_eq(left.st_ino, right.st_ino);
}
END_TEST

START_TEST(largest_body_fits_and_one_more_byte_is_refused)
{
    static char body[FPD_CHANNEL_BODY_MAX + 1];
    int pair[2];
    fpd_message message;

    memset(body, 'x', sizeof(body));
    ck_assert_int_eq(fpd_channel_pair(pair), APR_SUCCESS);
    ck_assert_int_eq(fpd_channel_send(pair[0], FPD_MESSAGE_RETURN, body, FPD_CHANNEL_BODY_MAX, NULL,
                                      0, NULL, 0, MSG_DONTWAIT),
                     APR_SUCCESS);
    ck_assert_int_eq(fpd_channel_receive(pair[1], &message, &buffer, 0), APR_SUCCESS);
    ck_assert_uint_eq(message.length, FPD_CHANNEL_BODY_MAX);
    ck_assert_int_eq(
        fpd_channel_send(pair[0], FPD_MESSAGE_RETURN, body, sizeof(body), NULL, 0, NULL, 0, 0),
        APR_EINVAL);
}
END_TEST

START_TEST(malformed_packets_are_refused_and_leak_nothing)
{
    int pair[2];
    fpd_message message;
    fpd_message_header header = {FPD_MESSAGE_READY, 99}; /* says more than it brings */
    int before;

    ck_assert_int_eq(fpd_channel_pair(pair), APR_SUCCESS);
    before = count_descriptors();
    ck_assert_int_eq(send(pair[0], "x", 1, 0), 1);
    ck_assert_int_eq(fpd_channel_receive(pair[1], &message, &buffer, 0), APR_EGENERAL);
    ck_assert_int_eq(send(pair[0], &header, sizeof(header), 0), sizeof(header));
    ck_assert_int_eq(fpd_channel_receive(pair[1], &message, &buffer, 0), APR_EGENERAL);
    ck_assert_int_eq(count_descriptors(), before);
}
END_TEST

START_TEST(tells_empty_from_closed)
{
    int pair[2];
    fpd_message message;

    ck_assert_int_eq(fpd_channel_pair(pair), APR_SUCCESS);
    ck_assert(APR_STATUS_IS_EAGAIN(fpd_channel_receive(pair[1], &message, &buffer, MSG_DONTWAIT)));
    close(pair[0]);
    ck_assert_int_eq(fpd_channel_receive(pair[1], &message, &buffer, 0), APR_EOF);
    ck_assert_int_eq(fpd_channel_send(pair[1], FPD_MESSAGE_READY, NULL, 0, NULL, 0, NULL, 0, 0),
                     EPIPE);
}
END_TEST

/* The kernel says ECONNRESET first when the dead side had not read everything. */
START_TEST(what_a_dead_side_had_sent_is_received_before_its_end)
{
    int pair[2];
    fpd_message message;

    ck_assert_int_eq(fpd_channel_pair(pair), APR_SUCCESS);
    ck_assert_int_eq(fpd_channel_send(pair[0], FPD_MESSAGE_DRAIN, NULL, 0, NULL, 0, NULL, 0, 0),
                     APR_SUCCESS);
    for (int i = 0; i < 2; i++) {
        ck_assert_int_eq(fpd_channel_send(pair[1], FPD_MESSAGE_READY, NULL, 0, NULL, 0, NULL, 0, 0),
                         APR_SUCCESS);
    }
    close(pair[1]);
    for (int i = 0; i < 2; i++) {
        ck_assert_int_eq(fpd_channel_receive(pair[0], &message, &buffer, MSG_DONTWAIT),
                         APR_SUCCESS);
        ck_assert_uint_eq(message.type, FPD_MESSAGE_READY);
    }
    ck_assert_int_eq(fpd_channel_receive(pair[0], &message, &buffer, MSG_DONTWAIT), APR_EOF);
}
END_TEST

static Suite *channel_suite(void)
{
    Suite *suite = suite_create("channel");
    TCase *cases = tcase_create("messages");

    tcase_add_test(cases, carries_two_part_bodies_and_descriptors);
    tcase_add_test(cases, largest_body_fits_and_one_more_byte_is_refused);
    tcase_add_test(cases, malformed_packets_are_refused_and_leak_nothing);
    tcase_add_test(cases, tells_empty_from_closed);
    tcase_add_test(cases, what_a_dead_side_had_sent_is_received_before_its_end);
    suite_add_tcase(suite, cases);
    return suite;
}

UNIT_MAIN(channel_suite)

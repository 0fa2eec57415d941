/* test_board.c - the board is sealed, slots move by compare-and-swap, hostile values are cut. */
#include "unit.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "apr_general.h"
#include "base/board.h"

static apr_pool_t *pool;

static void set_up(void)
{
    ck_assert_int_eq(apr_initialize(), APR_SUCCESS);
    ck_assert_int_eq(apr_pool_create(&pool, NULL), APR_SUCCESS);
}

static void tear_down(void)
{
    apr_pool_destroy(pool);
}

static fpd_board *make_board(uint32_t slots, int *fd)
{
    fpd_board *board;

    ck_assert_int_eq(fpd_board_create(fd, "www", slots), APR_SUCCESS);
    ck_assert_int_eq(fpd_board_map(&board, *fd, 1, pool), APR_SUCCESS);
    return board;
}

START_TEST(cannot_be_resized_or_unsealed)
{
    int fd;

    make_board(2, &fd);
    ck_assert_int_ne(ftruncate(fd, 0), 0);
    ck_assert_int_eq(errno, EPERM);
    ck_assert_int_ne(ftruncate(fd, 1 << 20), 0);
    ck_assert_int_ne(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE), 0);
}
END_TEST

START_TEST(refuses_a_map_that_is_not_a_sealed_board)
{
    fpd_board *board;
    int fd = memfd_create("other", MFD_ALLOW_SEALING);

    ck_assert_int_eq(ftruncate(fd, 65536), 0);
    ck_assert_int_ne(fpd_board_map(&board, fd, 0, pool), APR_SUCCESS);
    ck_assert_int_eq(fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL), 0);
    ck_assert_int_eq(fpd_board_map(&board, fd, 0, pool), APR_EGENERAL); /* no magic */
}
END_TEST

START_TEST(counts_outside_the_allowed_range_are_refused)
{
    int fd;

    ck_assert_int_eq(fpd_board_create(&fd, "www", 0), APR_EINVAL);
    ck_assert_int_eq(fpd_board_create(&fd, "www", 1000000), APR_EINVAL);
}
END_TEST

START_TEST(a_slot_moves_only_from_the_word_that_was_seen)
{
    int fd;
    fpd_slot *slot = &make_board(1, &fd)->slots[0];
    uint64_t seen = atomic_load(&slot->word);
    uint64_t stale = seen;

    ck_assert_int_eq(fpd_slot_move(slot, &seen, FPD_SLOT_IDLE), 1);
    ck_assert_int_eq(FPD_SLOT_STATE(seen), FPD_SLOT_IDLE);
    ck_assert_int_eq(fpd_slot_move(slot, &stale, FPD_SLOT_RUNNING), 0);
    ck_assert_uint_eq(stale, seen); /* tells what is there now */
    ck_assert_int_eq(fpd_slot_move(slot, &seen, FPD_SLOT_CLAIMED), 1);
    ck_assert_int_eq(fpd_slot_move(slot, &seen, FPD_SLOT_CLAIMED), 1);
    ck_assert_uint_ne(seen, stale); /* same state, other sequence */
}
END_TEST

START_TEST(hostile_values_are_cut_to_range)
{
    int fd;
    fpd_board *board = make_board(1, &fd);
    fpd_slot_view view;

    memset(board->slots[0].uri, 'u', sizeof(board->slots[0].uri)); /* no NUL anywhere */
    atomic_store(&board->slots[0].word, 0xee);
    atomic_store(&board->slots[0].stage, 4711);
    atomic_store(&board->slots[0].last_duration, -5);
    atomic_store(&board->slots[0].text_sequence, 1); /* a writer that died in the middle */
    fpd_board_read_slot(board, 0, &view);
    ck_assert_uint_eq(strlen(view.uri), FPD_SLOT_URI_SIZE - 1);
    ck_assert_int_eq(view.state, FPD_SLOT_FREE);
    ck_assert_int_eq(view.stage, FPD_STAGE_IDLE);
    ck_assert_int_eq(view.last_duration, 0);
}
END_TEST

START_TEST(sums_count_states_and_requests)
{
    int fd;
    fpd_board *board = make_board(4, &fd);
    fpd_board_view view;

    atomic_store(&board->slots[0].word, FPD_SLOT_IDLE);
    atomic_store(&board->slots[1].word, FPD_SLOT_RUNNING);
    atomic_store(&board->slots[2].word, FPD_SLOT_DONE);
    atomic_store(&board->slots[1].requests, 7);
    atomic_store(&board->retired_requests, 5);
    atomic_store(&board->answered, 2);
    fpd_board_read(board, &view);
    ck_assert_uint_eq(view.idle, 1);
    ck_assert_uint_eq(view.active, 2);
    ck_assert_uint_eq(view.total, 3);
    ck_assert_uint_eq(view.requests, 14);
}
END_TEST

/* The pages behind the mapping belong to somebody else, or to nobody. */
START_TEST(a_count_that_a_tenant_raised_does_not_lead_beyond_the_mapping)
{
    int fd;
    fpd_board *board = make_board(2, &fd);
    fpd_board_view view;

    atomic_store(&board->slots[0].word, FPD_SLOT_RUNNING);
    board->slot_count = 60000;
    fpd_board_read_within(board, 2, &view);
    ck_assert_uint_eq(view.active, 1);
    ck_assert_uint_eq(view.total, 1);
}
END_TEST

static Suite *board_suite(void)
{
    Suite *suite = suite_create("board");
    TCase *cases = tcase_create("memory");

    tcase_add_checked_fixture(cases, set_up, tear_down);
    tcase_add_test(cases, cannot_be_resized_or_unsealed);
    tcase_add_test(cases, refuses_a_map_that_is_not_a_sealed_board);
    tcase_add_test(cases, counts_outside_the_allowed_range_are_refused);
    tcase_add_test(cases, a_slot_moves_only_from_the_word_that_was_seen);
    tcase_add_test(cases, hostile_values_are_cut_to_range);
    tcase_add_test(cases, sums_count_states_and_requests);
    tcase_add_test(cases, a_count_that_a_tenant_raised_does_not_lead_beyond_the_mapping);
    suite_add_tcase(suite, cases);
    return suite;
}

UNIT_MAIN(board_suite)

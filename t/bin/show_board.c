/* show_board.c - prints one pool's board for tests and the benchmark.
 *
 * usage: show_board FILE, where FILE is a descriptor of the board in /proc/PID/fd. First line: the
 * pool, then one line "slot N key value ..." each. Exit 1: not a board (its version differs, or it
 * is cut). Reads only; a test that compiles it against base/board.h always knows the layout.
 */
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/board.h"

static const char *state_name(fpd_slot_state state)
{
    static const char *const names[] = {"FREE",    "STARTING", "IDLE",    "IDLE_NO_LANE",
                                        "CLAIMED", "RUNNING",  "SENDING", "DONE"};

    return (unsigned)state < sizeof(names) / sizeof(names[0]) ? names[state] : "?";
}

static void print_slot(const fpd_board *board, uint32_t index)
{
    const fpd_slot *slot = &board->slots[index];

    printf("slot %" PRIu32 " state %s pid %" PRId32 " requests %" PRIu64 " lane_hits %" PRIu64
           " has_lane %" PRIu32 " lane_index %" PRIu32 " stage %" PRIu32 "\n",
           index, state_name(FPD_SLOT_STATE(atomic_load(&slot->word))), atomic_load(&slot->pid),
           atomic_load(&slot->requests), atomic_load(&slot->lane_hits),
           atomic_load(&slot->has_lane), atomic_load(&slot->lane_index), atomic_load(&slot->stage));
}

static void print_board(const fpd_board *board)
{
    printf("pool %.64s queue_length %" PRIu32 " connections %" PRIu32 " accepted %" PRIu64
           " answered %" PRIu64 " refused %" PRIu64 " retired_requests %" PRIu64
           " retired_lane_hits %" PRIu64 "\n",
           board->pool_name, atomic_load(&board->queue_length), atomic_load(&board->connections),
           atomic_load(&board->accepted), atomic_load(&board->answered),
           atomic_load(&board->refused), atomic_load(&board->retired_requests),
           atomic_load(&board->retired_lane_hits));
    for (uint32_t i = 0; i < board->slot_count; i++) {
        print_slot(board, i);
    }
}

int main(int argc, char **argv)
{
    struct stat file;
    const fpd_board *board;
    int fd;

    if (argc != 2) {
        fprintf(stderr, "usage: show_board FILE\n");
        return 64;
    }
    fd = open(argv[1], O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &file) != 0 || (size_t)file.st_size < sizeof(fpd_board)) {
        fprintf(stderr, "show_board: %s is not a board\n", argv[1]);
        return 1;
    }
    board = mmap(NULL, (size_t)file.st_size, PROT_READ, MAP_SHARED, fd, 0);
    if (board == MAP_FAILED) {
        perror("show_board: mmap");
        return 1;
    }
    if (board->magic != FPD_BOARD_MAGIC || board->version != FPD_BOARD_VERSION ||
        board->slot_size != sizeof(fpd_slot) ||
        (uint64_t)file.st_size <
            sizeof(fpd_board) + (uint64_t)board->slot_count * sizeof(fpd_slot)) {
        fprintf(stderr, "show_board: %s is not a board of this version\n", argv[1]);
        return 1;
    }
    print_board(board);
    return 0;
}

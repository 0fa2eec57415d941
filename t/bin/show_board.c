/* show_board.c - prints one pool's board for tests and the benchmark.
 *
 * usage: show_board PID ADDRESS SIZE, a mapping of the board in a process (hexadecimal, as in
 * /proc/PID/maps). First line: the pool, then one line "slot N key value ..." each. Exit 1: not a
 * board (its version differs, or it is cut). Reads only; since it is compiled against base/board.h
 * it always knows the layout.
 */
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/board.h"

#define SIZE_MAX_READ ((size_t)64 * 1024 * 1024)

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

static int is_board(const fpd_board *board, size_t size)
{
    return size >= sizeof(*board) && board->magic == FPD_BOARD_MAGIC &&
           board->version == FPD_BOARD_VERSION && board->slot_size == sizeof(fpd_slot) &&
           size - sizeof(*board) >= (size_t)board->slot_count * sizeof(fpd_slot);
}

/* The bytes of a process's memory; NULL when they cannot be read. */
static void *read_memory(const char *pid, off_t address, size_t size)
{
    char path[64];
    void *bytes;
    int fd;

    snprintf(path, sizeof(path), "/proc/%s/mem", pid);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        perror(path);
        return NULL;
    }
    bytes = aligned_alloc(128, (size + 127) & ~(size_t)127);
    if (bytes != NULL && pread(fd, bytes, size, address) != (ssize_t)size) {
        perror(path);
        free(bytes);
        bytes = NULL;
    }
    close(fd);
    return bytes;
}

int main(int argc, char **argv)
{
    size_t size;
    fpd_board *board;

    if (argc != 4) {
        fprintf(stderr, "usage: show_board PID ADDRESS SIZE\n");
        return 64;
    }
    size = strtoul(argv[3], NULL, 16);
    if (size == 0 || size > SIZE_MAX_READ) {
        fprintf(stderr, "show_board: size %s\n", argv[3]);
        return 64;
    }
    board = read_memory(argv[1], (off_t)strtoull(argv[2], NULL, 16), size);
    if (board == NULL) {
        return 1;
    }
    if (!is_board(board, size)) {
        fprintf(stderr, "show_board: not a board of this version\n");
        free(board);
        return 1;
    }
    print_board(board);
    free(board);
    return 0;
}

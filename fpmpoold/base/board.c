/* board.c - making, sealing, mapping and reading the board.
 *
 * The master makes it and reads it; a pool's family writes it. Readers here never trust a byte: a
 * tenant can write all of it at any time.
 */
#include "base/board.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define BOARD_SEALS (F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL)
#define SLOTS_MAX   65536
#define READ_TRIES  8

size_t fpd_board_size(uint32_t slot_count)
{
    return sizeof(fpd_board) + (size_t)slot_count * sizeof(fpd_slot);
}

static apr_status_t fill(int fd, const char *pool_name, uint32_t slot_count)
{
    size_t size = fpd_board_size(slot_count);
    fpd_board *board;

    if (ftruncate(fd, (off_t)size) != 0) {
        return errno;
    }
    board = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (board == MAP_FAILED) {
        return errno;
    }
    board->magic = FPD_BOARD_MAGIC;
    board->version = FPD_BOARD_VERSION;
    board->slot_count = slot_count;
    board->slot_size = sizeof(fpd_slot);
    board->started_at = (int64_t)time(NULL);
    strncpy(board->pool_name, pool_name, sizeof(board->pool_name) - 1);
    if (munmap(board, size) != 0 || fcntl(fd, F_ADD_SEALS, BOARD_SEALS) != 0) {
        return errno;
    }
    return APR_SUCCESS;
}

apr_status_t fpd_board_create(int *created, const char *pool_name, uint32_t slot_count)
{
    apr_status_t status;
    int fd;

    if (slot_count == 0 || slot_count > SLOTS_MAX) {
        return APR_EINVAL;
    }
    fd = memfd_create("fpmpool-board", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fd < 0) {
        return errno;
    }
    status = fill(fd, pool_name, slot_count);
    if (status != APR_SUCCESS) {
        close(fd);
        return status;
    }
    *created = fd;
    return APR_SUCCESS;
}

typedef struct mapping {
    void *address;
    size_t size;
} mapping;

static apr_status_t unmap(void *data)
{
    mapping *mapped = data;

    return munmap(mapped->address, mapped->size) == 0 ? APR_SUCCESS : errno;
}

/* A mapping whose size cannot change any more. */
static apr_status_t map_sealed(fpd_board **mapped_board, size_t *size, int fd, int writable,
                               apr_pool_t *pool)
{
    struct stat about;
    mapping *mapped;
    fpd_board *board;
    int seals = fcntl(fd, F_GET_SEALS);

    if (seals < 0 || fstat(fd, &about) != 0) {
        return errno;
    }
    if ((seals & BOARD_SEALS) != BOARD_SEALS || (size_t)about.st_size < sizeof(fpd_board)) {
        return APR_EGENERAL;
    }
    board = mmap(NULL, (size_t)about.st_size, writable ? PROT_READ | PROT_WRITE : PROT_READ,
                 MAP_SHARED, fd, 0);
    if (board == MAP_FAILED) {
        return errno;
    }
    mapped = apr_palloc(pool, sizeof(*mapped));
    mapped->address = board;
    mapped->size = (size_t)about.st_size;
    apr_pool_cleanup_register(pool, mapped, unmap, apr_pool_cleanup_null);
    *mapped_board = board;
    *size = mapped->size;
    return APR_SUCCESS;
}

apr_status_t fpd_board_map(fpd_board **mapped_board, int fd, int writable, apr_pool_t *pool)
{
    fpd_board *board;
    size_t size;
    apr_status_t status = map_sealed(&board, &size, fd, writable, pool);

    if (status != APR_SUCCESS) {
        return status;
    }
    if (board->magic != FPD_BOARD_MAGIC || board->version != FPD_BOARD_VERSION ||
        board->slot_size != sizeof(fpd_slot) || board->slot_count > SLOTS_MAX ||
        fpd_board_size(board->slot_count) != size) {
        return APR_EGENERAL;
    }
    *mapped_board = board;
    return APR_SUCCESS;
}

apr_status_t fpd_board_map_known(const fpd_board **mapped_board, int fd, uint32_t slot_count,
                                 apr_pool_t *pool)
{
    fpd_board *board;
    size_t size;
    apr_status_t status = map_sealed(&board, &size, fd, 0, pool);

    if (status == APR_SUCCESS && (slot_count > SLOTS_MAX || fpd_board_size(slot_count) != size)) {
        status = APR_EGENERAL;
    }
    if (status == APR_SUCCESS) {
        *mapped_board = board;
    }
    return status;
}

int fpd_slot_move(fpd_slot *slot, uint64_t *expected, fpd_slot_state state)
{
    uint64_t wanted = FPD_SLOT_WORD(*expected, state);

    if (!atomic_compare_exchange_strong(&slot->word, expected, wanted)) {
        return 0;
    }
    *expected = wanted;
    return 1;
}

static void copy_text(char *to, const char *from, size_t size)
{
    memcpy(to, from, size);
    to[size - 1] = '\0';
}

static void copy_texts(const fpd_slot *slot, fpd_slot_view *view)
{
    copy_text(view->method, slot->method, sizeof(view->method));
    copy_text(view->uri, slot->uri, sizeof(view->uri));
    copy_text(view->query, slot->query, sizeof(view->query));
    copy_text(view->user, slot->user, sizeof(view->user));
    copy_text(view->script, slot->script, sizeof(view->script));
}

static int64_t not_negative(int64_t value)
{
    return value < 0 ? 0 : value;
}

/* The slot table's bound comes from the mapping that was checked, not from the board, which a
 * tenant may have changed since: the caller passes an index below the count it learned then. */
void fpd_board_read_slot(const fpd_board *board, uint32_t index, fpd_slot_view *view)
{
    const fpd_slot *slot = &board->slots[index];

    memset(view, 0, sizeof(*view));
    for (int i = 0; i < READ_TRIES; i++) {
        uint32_t before = atomic_load(&slot->text_sequence);
        copy_texts(slot, view);
        atomic_thread_fence(memory_order_seq_cst);
        if ((before & 1) == 0 && atomic_load(&slot->text_sequence) == before) {
            break;
        }
    }
    view->state = FPD_SLOT_STATE(atomic_load(&slot->word));
    if (view->state > FPD_SLOT_DONE) {
        view->state = FPD_SLOT_FREE;
    }
    view->stage = atomic_load(&slot->stage);
    if (view->stage > FPD_STAGE_FINISHING) {
        view->stage = FPD_STAGE_IDLE;
    }
    view->pid = atomic_load(&slot->pid);
    view->started_at = not_negative(atomic_load(&slot->started_at));
    view->request_started = not_negative(atomic_load(&slot->request_started));
    view->last_duration = not_negative(atomic_load(&slot->last_duration));
    view->requests = atomic_load(&slot->requests);
    view->lane_hits = atomic_load(&slot->lane_hits);
    view->content_length = not_negative(atomic_load(&slot->content_length));
    view->last_cpu_centi = atomic_load(&slot->last_cpu_centi);
    view->last_memory = atomic_load(&slot->last_memory);
}

static void make_printable(char *text, size_t size)
{
    text[size - 1] = '\0';
    for (; *text != '\0'; text++) {
        *text = *text < 0x20 || *text > 0x7e ? '.' : *text;
    }
}

void fpd_board_make_printable(fpd_slot_view *view)
{
    make_printable(view->method, sizeof(view->method));
    make_printable(view->uri, sizeof(view->uri));
    make_printable(view->query, sizeof(view->query));
    make_printable(view->user, sizeof(view->user));
    make_printable(view->script, sizeof(view->script));
}

const char *fpd_board_stage_text(fpd_slot_stage stage)
{
    switch (stage) {
    case FPD_STAGE_READING_HEADERS:
        return "Reading headers";
    case FPD_STAGE_INFO:
        return "Getting request information";
    case FPD_STAGE_RUNNING:
        return "Running";
    case FPD_STAGE_ENDING:
        return "Ending";
    case FPD_STAGE_FINISHING:
        return "Finishing";
    case FPD_STAGE_IDLE:
        break;
    }
    return "Idle";
}

void fpd_board_read_within(const fpd_board *board, uint32_t slot_count, fpd_board_view *view)
{
    memset(view, 0, sizeof(*view));
    view->requests = atomic_load(&board->retired_requests) + atomic_load(&board->answered);
    view->lane_hits = atomic_load(&board->retired_lane_hits);
    for (uint32_t i = 0; i < slot_count && i < SLOTS_MAX; i++) {
        const fpd_slot *slot = &board->slots[i];
        switch (FPD_SLOT_STATE(atomic_load(&slot->word))) {
        case FPD_SLOT_FREE:
            continue;
        case FPD_SLOT_STARTING:
        case FPD_SLOT_IDLE:
        case FPD_SLOT_IDLE_NO_LANE:
            view->idle++;
            break;
        default:
            view->active++;
        }
        view->requests += atomic_load(&slot->requests);
        view->lane_hits += atomic_load(&slot->lane_hits);
    }
    view->total = view->idle + view->active;
    view->max_active = atomic_load(&board->max_active);
    view->max_children_reached = atomic_load(&board->max_children_reached);
    view->slow_requests = atomic_load(&board->slow_requests);
    view->queue_length = atomic_load(&board->queue_length);
    view->max_queue_length = atomic_load(&board->max_queue_length);
    view->queue_limit = atomic_load(&board->queue_limit);
    view->connections = atomic_load(&board->connections);
    view->refused = atomic_load(&board->refused);
    view->started_at = board->started_at;
}

void fpd_board_read(const fpd_board *board, fpd_board_view *view)
{
    fpd_board_read_within(board, board->slot_count, view);
}

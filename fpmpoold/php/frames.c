/* frames.c - walks PHP's chain of calls by copies of memory.
 *
 * Runs in the tracer, a thread of a worker, while the main thread runs PHP: every structure may
 * change or go away at any moment. Must not follow a pointer of PHP's, call PHP, allocate or lock.
 */
#include "php/frames.h"

#include <errno.h>
#include <string.h>
#include <sys/uio.h>

#include "SAPI.h"
#include "php.h"

#define STEPS_MAX 100000
#define PAGE      4096

/* ---- copies ------------------------------------------------------------------------------ */

static int copy(pid_t pid, void *to, uintptr_t from, size_t size)
{
    struct iovec here = {.iov_base = to, .iov_len = size};
    struct iovec there = {.iov_base = (void *)from, .iov_len = size};
    ssize_t got = process_vm_readv(pid, &here, 1, &there, 1, 0);

    if (got == (ssize_t)size) {
        return 0;
    }
    return got < 0 ? errno : EFAULT;
}

/* A zend_string, cut to size. */
static int copy_string(pid_t pid, char *to, size_t size, uintptr_t from)
{
    zend_string header;
    size_t length;
    int error = copy(pid, &header, from, offsetof(zend_string, val));

    to[0] = '\0';
    if (error != 0) {
        return error;
    }
    if ((header.gc.u.type_info & GC_TYPE_MASK) != IS_STRING) {
        return EINVAL;
    }
    length = header.len < size - 1 ? header.len : size - 1;
    error = length > 0 ? copy(pid, to, from + offsetof(zend_string, val), length) : 0;
    to[error == 0 ? length : 0] = '\0';
    return error;
}

/* ---- one frame --------------------------------------------------------------------------- */

/* The part that user and internal functions have in common; type 0 for the frames that PHP makes
 * for itself, which have no function. */
static int copy_function(pid_t pid, zend_function *function, const zend_execute_data *data)
{
    int error;

    memset(function, 0, sizeof(*function));
    if (data->func == NULL) {
        return 0;
    }
    error = copy(pid, &function->common, (uintptr_t)data->func, sizeof(function->common));
    if (error == 0 && function->type != ZEND_INTERNAL_FUNCTION &&
        function->type != ZEND_USER_FUNCTION && function->type != ZEND_EVAL_CODE) {
        error = EINVAL;
    }
    return error;
}

/* What PHP's own backtrace calls it. Returns -1 for the script itself. */
static int name_frame(pid_t pid, fpd_frame *frame, const zend_execute_data *data,
                      const zend_function *function)
{
    uint32_t kind = ZEND_CALL_KIND_EX(data->This.u1.type_info);
    const zend_class_entry *scope = function->common.scope;
    uintptr_t class_name = 0;
    int error;

    frame->class_name[0] = '\0';
    frame->is_static = Z_TYPE(data->This) != IS_OBJECT;
    if (function->common.function_name == NULL) {
        const char *name =
            function->type != 0 && kind == ZEND_CALL_NESTED_CODE ? "[INCLUDE_OR_EVAL]" : "???";
        memcpy(frame->function, name, strlen(name) + 1);
        return function->type != 0 && kind == ZEND_CALL_TOP_CODE ? -1 : 0;
    }
    error = copy_string(pid, frame->function, sizeof(frame->function),
                        (uintptr_t)function->common.function_name);
    if (error == 0 && scope != NULL) {
        error = copy(pid, &class_name, (uintptr_t)scope + offsetof(zend_class_entry, name),
                     sizeof(class_name));
    }
    if (error == 0 && class_name != 0) {
        error = copy_string(pid, frame->class_name, sizeof(frame->class_name), class_name);
    }
    return error;
}

static int is_of(const zend_op_array *code, uintptr_t at)
{
    uintptr_t start = (uintptr_t)code->opcodes;

    return at >= start && (at - start) / sizeof(zend_op) < code->last;
}

/* The line that PHP code is at. While an exception is on its way the frame points to no line of its
 * own, and PHP keeps the one where it was thrown elsewhere. */
static uint32_t line_of(pid_t pid, const zend_execute_data *data, const zend_op_array *code)
{
    uintptr_t at = (uintptr_t)data->opline;
    uint32_t line;

    if (!is_of(code, at) &&
        (copy(pid, &at, (uintptr_t)&EG(opline_before_exception), sizeof(at)) != 0 ||
         !is_of(code, at))) {
        return code->line_start;
    }
    return copy(pid, &line, at + offsetof(zend_op, lineno), sizeof(line)) == 0 ? line
                                                                               : code->line_start;
}

/* ---- the chain --------------------------------------------------------------------------- */

/* The frame at an address; refuses one that was met before. The mark is moved up at every power of
 * two, so that a loop of any length is found. */
static int copy_data(fpd_frames *frames, zend_execute_data *data, uintptr_t address)
{
    if (frames->steps++ >= STEPS_MAX || address == frames->mark) {
        return ELOOP;
    }
    if (frames->steps == frames->marked_at * 2) {
        frames->marked_at = frames->steps;
        frames->mark = address;
    }
    return copy(frames->pid, data, address, sizeof(*data));
}

/* The nearest PHP code outward of a frame, from where it was called. */
static int find_caller(const fpd_frames *frames, fpd_frame *frame, uintptr_t address)
{
    fpd_frames outward = *frames;
    zend_execute_data data;
    zend_function function;
    int error;

    memcpy(frame->file, "unknown", sizeof("unknown"));
    frame->line = 0;
    for (; address != 0; address = (uintptr_t)data.prev_execute_data) {
        error = copy_data(&outward, &data, address);
        if (error == 0) {
            error = copy_function(frames->pid, &function, &data);
        }
        if (error == 0 && ZEND_USER_CODE(function.type) && function.type != 0) {
            error = copy(frames->pid, &function, (uintptr_t)data.func, sizeof(zend_op_array));
            if (error == 0) {
                frame->line = line_of(frames->pid, &data, &function.op_array);
                error = copy_string(frames->pid, frame->file, sizeof(frame->file),
                                    (uintptr_t)function.op_array.filename);
            }
            return error;
        }
        if (error != 0) {
            return error;
        }
    }
    return 0;
}

static int fail(fpd_frames *frames, int error)
{
    frames->error = error;
    return -1;
}

void fpd_frames_begin(fpd_frames *frames, pid_t pid)
{
    memset(frames, 0, sizeof(*frames));
    frames->pid = pid;
    frames->marked_at = 1;
    frames->error =
        copy(pid, &frames->first, (uintptr_t)&EG(current_execute_data), sizeof(frames->first));
    frames->next = frames->first;
}

int fpd_frames_next(fpd_frames *frames, fpd_frame *frame)
{
    zend_execute_data data;
    zend_function function;
    int error = frames->error;

    if (error != 0) {
        return -1;
    }
    if (frames->next == 0) {
        return 0;
    }
    error = copy_data(frames, &data, frames->next);
    if (error == 0) {
        error = copy_function(frames->pid, &function, &data);
    }
    if (error == 0) {
        frame->address = frames->next;
        error = name_frame(frames->pid, frame, &data, &function);
    }
    if (error < 0) {
        frames->has_script = 1;
        frames->next = 0;
        return 0;
    }
    if (error == 0) {
        frames->next = (uintptr_t)data.prev_execute_data;
        error = find_caller(frames, frame, frames->next);
    }
    return error != 0 ? fail(frames, error) : 1;
}

int fpd_frames_are_current(const fpd_frames *frames)
{
    uintptr_t now;

    return copy(frames->pid, &now, (uintptr_t)&EG(current_execute_data), sizeof(now)) == 0 &&
           now == frames->first;
}

int fpd_frames_script(pid_t pid, char *to, size_t size)
{
    size_t used = 0;
    uintptr_t from;
    int error = copy(pid, &from, (uintptr_t)&SG(request_info).path_translated, sizeof(from));

    to[0] = '\0';
    if (error != 0 || from == 0) {
        return error;
    }
    /* Where it ends is not known: no copy goes over the end of a page. */
    while (used < size - 1) {
        size_t part = PAGE - (from + used) % PAGE;
        part = part < size - 1 - used ? part : size - 1 - used;
        error = copy(pid, to + used, from + used, part);
        if (error != 0 || memchr(to + used, '\0', part) != NULL) {
            break;
        }
        used += part;
        to[used] = '\0';
    }
    to[error == 0 ? size - 1 : used] = '\0';
    return error;
}

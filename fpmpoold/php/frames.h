/* frames.h - where PHP is at this moment, as seen by another thread of the same process.
 *
 * For the slow log (spec/php-fpm.md 3.6). Everything is copied with process_vm_readv from this very
 * process, which needs no right: a pointer that has become stale meanwhile is an error that is
 * returned, never a crash, and PHP is neither stopped nor told. No function here calls PHP,
 * allocates, locks or uses stdio. What is copied is believed in nothing: lengths, depth and loops
 * are bounded; texts may hold any byte.
 */
#ifndef FPD_FRAMES_H
#define FPD_FRAMES_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define FPD_FRAMES_NAME_SIZE 256
#define FPD_FRAMES_FILE_SIZE 4096

/* One call that has not returned. All texts end with NUL and are cut to size. */
typedef struct fpd_frame {
    uint64_t address;                      /* of PHP's own structure */
    char class_name[FPD_FRAMES_NAME_SIZE]; /* "": no method */
    int is_static;                         /* a method without an object */
    char function[FPD_FRAMES_NAME_SIZE];   /* "[INCLUDE_OR_EVAL]" or "???" where there is no name */
    char file[FPD_FRAMES_FILE_SIZE];       /* where it was called; "unknown": not by PHP code */
    uint32_t line;
} fpd_frame;

typedef struct fpd_frames {
    pid_t pid;
    uintptr_t first; /* the innermost frame when the walk began */
    uintptr_t next;
    uintptr_t mark; /* an address passed before: met again it is a loop */
    unsigned steps;
    unsigned marked_at;
    int has_script; /* the walk has come to the script's own frame */
    int error;
} fpd_frames;

/* Begins at the innermost call. pid: this process. */
void fpd_frames_begin(fpd_frames *frames, pid_t pid);

/* The next call outward. Returns 1; 0 at the script's own frame, which is not given, or where there
 * is none (a function that PHP calls after the script; or PHP has just made the call that the walk
 * came by, and it leads nowhere yet); -1 when it could not be read: frames->error is an errno
 * (EPERM, ENOSYS: the system call is refused; others: what was read made no sense, mostly because
 * PHP has gone on). */
int fpd_frames_next(fpd_frames *frames, fpd_frame *frame);

/* Is PHP still in the call in which the walk began? */
int fpd_frames_are_current(const fpd_frames *frames);

/* The path of the running script, cut to size; "" if there is none. Returns 0 or an errno. */
int fpd_frames_script(pid_t pid, char *to, size_t size);

#endif

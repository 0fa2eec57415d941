/* access_file.c - writes the lines of access.log.
 *
 * Runs in workers. A full disk or a sleeping reader must cost the line, never the request's time,
 * and one message, not one for each request.
 */
#include "worker/access_file.h"

#include "base/log.h"

void fpd_access_file_write(fpd_log_file *file, int fd, const char *path, const char *line,
                           size_t length)
{
    unsigned lost = file->lost;
    int error = fpd_log_file_write(file, fd, line, length, 0);

    if (error != 0 && lost == 0) {
        fpd_log_errno(FPD_LOG_WARNING, error,
                      "access.log '%s' cannot be written and loses lines; %s", path,
                      fpd_log_file_advice(error));
    } else if (error == 0 && lost > 0) {
        file->lost = 0;
        fpd_log(FPD_LOG_NOTICE, "access.log '%s' is written again, lines lost: %u", path, lost);
    }
}

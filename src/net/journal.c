#include "net/journal.h"

#include <stdio.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define JOURNAL_SOCKET "/run/systemd/journal/socket"
#define ENTRY_MAX      4096

bool journal_send(const char *ident, const char *text)
{
    const struct sockaddr_un address = {.sun_family = AF_UNIX, .sun_path = JOURNAL_SOCKET};
    char entry[ENTRY_MAX];
    int size =
        snprintf(entry, sizeof(entry),
                 "PRIORITY=6\nSYSLOG_FACILITY=10\nSYSLOG_IDENTIFIER=%s\nMESSAGE=%s\n", ident, text);

    if (size < 0 || (size_t)size >= sizeof(entry))
        return false;
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return false;
    bool is_taken = sendto(fd, entry, (size_t)size, MSG_NOSIGNAL, (const struct sockaddr *)&address,
                           sizeof(address)) == size;
    close(fd);
    return is_taken;
}

/*
 * A sick disk for a database: loaded into a server by LD_PRELOAD, it delays reads and writes of the files of the
 * database, or has them fail. The file that SICK_DISK names says how, by four numbers: milliseconds that a read takes,
 * errno of reads (0: none), milliseconds that a write takes, errno of writes.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <time.h>
#include <unistd.h>

static int is_of_database(int file)
{
    char link[64], path[512];
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length <= 0)
        return 0;
    path[length] = 0;
    return strstr(path, "/hashserv.db") != NULL;
}

/* Returns whether the call must fail, with errno set. */
static int is_sick(int file, int writes)
{
    const char *control = getenv("SICK_DISK");
    if (!control || !is_of_database(file))
        return 0;
    int settings = open(control, O_RDONLY | O_CLOEXEC);
    if (settings < 0)
        return 0;
    char text[128] = "";
    long length = syscall(SYS_read, settings, text, sizeof text - 1);
    close(settings);
    int delay[2] = {0, 0}, error[2] = {0, 0};
    if (length <= 0 || sscanf(text, "%d %d %d %d", &delay[0], &error[0], &delay[1], &error[1]) != 4)
        return 0;
    struct timespec pause = {delay[writes] / 1000, delay[writes] % 1000 * 1000000L};
    if (delay[writes])
        nanosleep(&pause, NULL);
    if (error[writes])
        errno = error[writes];
    return error[writes] != 0;
}

#define NEXT(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

ssize_t read(int file, void *to, size_t size)
{
    return is_sick(file, 0) ? -1 : NEXT(read)(file, to, size);
}

ssize_t pread64(int file, void *to, size_t size, off64_t at)
{
    return is_sick(file, 0) ? -1 : NEXT(pread64)(file, to, size, at);
}

ssize_t write(int file, const void *from, size_t size)
{
    return is_sick(file, 1) ? -1 : NEXT(write)(file, from, size);
}

ssize_t pwrite64(int file, const void *from, size_t size, off64_t at)
{
    return is_sick(file, 1) ? -1 : NEXT(pwrite64)(file, from, size, at);
}

int fsync(int file)
{
    return is_sick(file, 1) ? -1 : NEXT(fsync)(file);
}

int fdatasync(int file)
{
    return is_sick(file, 1) ? -1 : NEXT(fdatasync)(file);
}

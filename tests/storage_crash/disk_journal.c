/* Loaded into a child process (LD_PRELOAD) to write down, in order, whatever
 * it does to the files of one directory: DISK_JOURNAL_DIR, into the file
 * DISK_JOURNAL. The parent then plays the journal back to any point and cuts
 * the power there, keeping what was synced and as much of the rest as it
 * likes. Each call is made and noted under one lock, so that the journal's
 * order is the disk's.
 *
 * One entry: kind (1), length of name (1), name, offset (8), length (8), data.
 * Kinds: C created, W written, T cut to offset, S synced, U unlinked. The
 * directory's own name is empty. Native byte order.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <unistd.h>

static pthread_mutex_t order = PTHREAD_MUTEX_INITIALIZER;
static int journal = -1;
static char directory[4096];

__attribute__((constructor)) static void start(void) {
    const char *dir = getenv("DISK_JOURNAL_DIR"), *file = getenv("DISK_JOURNAL");
    if (!dir || !file) return;
    snprintf(directory, sizeof directory, "%s", dir);
    journal = syscall(SYS_openat, AT_FDCWD, file, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
}

static void put(const void *bytes, size_t length) {
    const char *at = bytes;
    while (length > 0) {
        ssize_t n = syscall(SYS_write, journal, at, length);
        if (n <= 0) abort();
        at += n, length -= n;
    }
}

/* The name inside the directory, or NULL for files elsewhere. */
static const char *name_of(const char *path) {
    size_t n = strlen(directory);
    if (journal < 0 || n == 0 || strncmp(path, directory, n) != 0) return NULL;
    if (path[n] == '\0') return "";
    return path[n] == '/' ? path + n + 1 : NULL;
}

static const char *name_of_fd(int fd, char *buffer, size_t size) {
    char link[64];
    if (journal < 0 || fd == journal) return NULL;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t n = readlink(link, buffer, size - 1);
    if (n < 0) return NULL;
    buffer[n] = '\0';
    return name_of(buffer);
}

static void note(char kind, const char *name, uint64_t offset, const void *data, uint64_t length) {
    uint8_t n = strlen(name);
    put(&kind, 1), put(&n, 1), put(name, n), put(&offset, 8), put(&length, 8), put(data, length);
}

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

static int noted_open(int (*real)(const char *, int, ...), const char *path, int flags, mode_t mode) {
    const char *name = flags & O_CREAT ? name_of(path) : NULL;
    if (!name) return real(path, flags, mode);
    struct stat found;
    pthread_mutex_lock(&order);
    int absent = lstat(path, &found) != 0;
    int fd = real(path, flags, mode);
    if (fd >= 0 && absent) note('C', name, 0, "", 0);
    pthread_mutex_unlock(&order);
    return fd;
}

#define OPEN(name)                                                        \
    int name(const char *path, int flags, ...) {                          \
        va_list more;                                                     \
        va_start(more, flags);                                            \
        mode_t mode = flags & O_CREAT ? va_arg(more, mode_t) : 0;         \
        va_end(more);                                                     \
        return noted_open(REAL(name), path, flags, mode);                 \
    }
OPEN(open)
OPEN(open64)

/* Makes the call; notes it if it worked and was on a file of ours. */
#define NOTED(type, call, kind, offset, data, length)                     \
    char buffer[4096];                                                    \
    const char *name = name_of_fd(fd, buffer, sizeof buffer);             \
    if (!name) return call;                                               \
    pthread_mutex_lock(&order);                                           \
    type result = call;                                                   \
    if (result >= 0) note(kind, name, offset, data, length);              \
    pthread_mutex_unlock(&order);                                         \
    return result;

ssize_t write(int fd, const void *data, size_t length) {
    NOTED(ssize_t, REAL(write)(fd, data, length), 'W', lseek(fd, 0, SEEK_CUR) - result, data, result)
}
ssize_t pwrite(int fd, const void *data, size_t length, off_t offset) {
    NOTED(ssize_t, REAL(pwrite)(fd, data, length, offset), 'W', offset, data, result)
}
ssize_t pwrite64(int fd, const void *data, size_t length, off64_t offset) {
    NOTED(ssize_t, REAL(pwrite64)(fd, data, length, offset), 'W', offset, data, result)
}
int ftruncate(int fd, off_t length) {
    NOTED(int, REAL(ftruncate)(fd, length), 'T', length, "", 0)
}
int ftruncate64(int fd, off64_t length) {
    NOTED(int, REAL(ftruncate64)(fd, length), 'T', length, "", 0)
}
int fsync(int fd) { NOTED(int, REAL(fsync)(fd), 'S', 0, "", 0) }
int fdatasync(int fd) { NOTED(int, REAL(fdatasync)(fd), 'S', 0, "", 0) }

int unlink(const char *path) {
    const char *name = name_of(path);
    if (!name) return REAL(unlink)(path);
    pthread_mutex_lock(&order);
    int result = REAL(unlink)(path);
    if (result == 0) note('U', name, 0, "", 0);
    pthread_mutex_unlock(&order);
    return result;
}

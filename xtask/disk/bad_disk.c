/* A bad disk for one process and its children: slow, small, or the death of who waits for it. Preloaded by
 * tests and measurements, see preload.rs beside it.
 *
 *   SEXTON_FSYNC_MS=2000            every fsync and fdatasync takes 2 s longer
 *   SEXTON_FSYNC_MS=/path/to/file   as many ms as the file says now; none while it is not there
 *   SEXTON_DISK=BYTES:/folder       files below the folder have so many bytes of space together: a write
 *                                   that makes one longer than that fails with ENOSPC, and statvfs says so
 *   SEXTON_KILL_AT_SYNC=3           the process is killed before its third fsync or fdatasync
 */
#include "preload.h"
#include <ftw.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>

/* ---- slow, or the last thing that is seen ---- */

static void before_a_sync(void) {
    static atomic_long syncs;
    const char *last = getenv("SEXTON_KILL_AT_SYNC");
    if (last != NULL && atomic_fetch_add(&syncs, 1) + 1 == atol(last)) kill(getpid(), SIGKILL);
    wait_for_the_disk();
}

int fsync(int fd) {
    before_a_sync();
    return (int)syscall(SYS_fsync, fd);
}

int fdatasync(int fd) {
    before_a_sync();
    return (int)syscall(SYS_fdatasync, fd);
}

/* ---- small ---- */

static __thread long long sum;

static int add(const char *path, const struct stat *found, int kind, struct FTW *walk) {
    (void)path, (void)walk;
    if (kind == FTW_F) sum += found->st_size;
    return 0;
}

/* The folder and its size; none if disks are as large as they are. */
static const char *folder(long long *size) {
    const char *disk = getenv("SEXTON_DISK");
    const char *path = disk == NULL ? NULL : strchr(disk, ':');
    if (path == NULL) return NULL;
    *size = atoll(disk);
    return path + 1;
}

static long long used(const char *path) {
    sum = 0;
    nftw(path, add, 16, FTW_PHYS);
    return sum;
}

/* Whether an open file may become this long. */
static int fits(int fd, long long length) {
    long long size;
    const char *path = folder(&size);
    struct stat now;
    char name[4096];
    if (path == NULL || fstat(fd, &now) != 0 || length <= now.st_size) return 1;
    if (!lies_below(path, fd, name, sizeof name)) return 1;
    if (used(path) + length - now.st_size <= size) return 1;
    errno = ENOSPC;
    return 0;
}

ssize_t write(int fd, const void *from, size_t count) {
    off_t at = lseek(fd, 0, SEEK_CUR);
    if (at >= 0 && !fits(fd, at + (long long)count)) return -1;
    return syscall(SYS_write, fd, from, count);
}

ssize_t pwrite64(int fd, const void *from, size_t count, off64_t at) {
    if (!fits(fd, at + (long long)count)) return -1;
    return ((ssize_t (*)(int, const void *, size_t, off64_t))next("pwrite64"))(fd, from, count, at);
}

ssize_t pwrite(int fd, const void *from, size_t count, off_t at) {
    return pwrite64(fd, from, count, at);
}

int ftruncate64(int fd, off64_t length) {
    if (!fits(fd, length)) return -1;
    return (int)syscall(SYS_ftruncate, fd, length);
}

int ftruncate(int fd, off_t length) {
    return ftruncate64(fd, length);
}

int posix_fallocate64(int fd, off64_t at, off64_t length) {
    if (!fits(fd, at + length)) return ENOSPC;
    return ((int (*)(int, off64_t, off64_t))next("posix_fallocate64"))(fd, at, length);
}

int posix_fallocate(int fd, off_t at, off_t length) {
    return posix_fallocate64(fd, at, length);
}

static void shrink(const char *path, unsigned long *fragment, fsblkcnt_t *blocks, fsblkcnt_t *available) {
    long long size;
    const char *disk = folder(&size);
    if (disk == NULL || strncmp(path, disk, strlen(disk)) != 0) return;
    long long left = size - used(disk);
    *fragment = 1;
    *blocks = (fsblkcnt_t)size;
    *available = left > 0 ? (fsblkcnt_t)left : 0;
}

int statvfs64(const char *path, struct statvfs64 *answer) {
    int done = ((int (*)(const char *, struct statvfs64 *))next("statvfs64"))(path, answer);
    if (done == 0) {
        fsblkcnt_t blocks = answer->f_blocks, available = answer->f_bavail;
        shrink(path, &answer->f_frsize, &blocks, &available);
        answer->f_blocks = blocks;
        answer->f_bfree = answer->f_bavail = available;
    }
    return done;
}

int statvfs(const char *path, struct statvfs *answer) {
    return statvfs64(path, (struct statvfs64 *)answer);
}

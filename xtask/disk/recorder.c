/* Writes down what one process and its children do to the files below a folder, while they do it.
 * Preloaded by `cargo xtask power`, see preload.rs beside it; xtask/src/power/trace.rs reads the trace.
 *
 *   SEXTON_TRACE=/path/to/trace:/folder     the trace, which is there already, and the folder
 *   SEXTON_FSYNC_MS=50                      every wait for the disk ends so much later
 *
 * A call and its record are one: both are made under a lock of the trace, for all threads and for all
 * processes. So the order of the records is the order of the calls, whoever marks something in between
 * knows what was before it, and a process that is killed by somebody who holds the lock leaves no call
 * without its record. Waiting for the disk is two records, its beginning and its end, with the lock free
 * between them: what was written before it began is on disk when it has ended, and no more than that.
 * Its end comes later than the disk's: whoever acknowledges something and does not wait for the end has
 * acknowledged it, and marked it, before.
 *
 * Files are known by their inodes, not by descriptors: that a descriptor is closed says nothing about the
 * disk and is not recorded. Calls that change a file and are not understood here are recorded as strange;
 * a trace with one of those is refused. Only SQLite's index of its log (-shm) may be mapped for writing:
 * it is rebuilt from the log by the first process that opens it, whatever is on disk.
 */
#include "preload.h"
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>

enum kind { ROOT = 1, CREATE, WRITE, LENGTH, GROW, RENAME, LINK, UNLINK, FOLDER, BEGIN, END, MARK, STRANGE };

struct header {
    uint32_t magic, kind;
    uint64_t inode, at;
    uint32_t name, data;
};

static int trace = -1;
static char folder[4096];
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static uint64_t syncs;

/* ---- records ---- */

static void die(const char *why) {
    fprintf(stderr, "recorder: %s\n", why);
    abort();
}

static void record(enum kind kind, uint64_t inode, uint64_t at, const char *name, const void *data, size_t length) {
    struct header header = {0x52545853, kind, inode, at, name == NULL ? 0 : (uint32_t)strlen(name), (uint32_t)length};
    struct iovec parts[] = {{&header, sizeof header}, {(void *)name, header.name}, {(void *)data, length}};
    size_t all = sizeof header + header.name + length;
    if (syscall(SYS_writev, trace, parts, 3) != (ssize_t)all) die("the trace cannot be written");
}

static void lock(void) {
    pthread_mutex_lock(&mutex);
    while (flock(trace, LOCK_EX) != 0) {
        if (errno != EINTR) die("the trace cannot be locked");
    }
}

static void unlock(void) {
    int error = errno;
    flock(trace, LOCK_UN);
    pthread_mutex_unlock(&mutex);
    errno = error;
}

static void strange(const char *call, const char *name) {
    lock();
    record(STRANGE, 0, 0, call, name, strlen(name));
    unlock();
}

__attribute__((constructor)) static void begin(void) {
    char *wish = getenv("SEXTON_TRACE"), *colon = wish == NULL ? NULL : strrchr(wish, ':');
    struct stat root;
    if (colon == NULL) return;
    snprintf(folder, sizeof folder, "%s", colon + 1);
    char path[4096];
    snprintf(path, sizeof path, "%.*s", (int)(colon - wish), wish);
    trace = (int)syscall(SYS_openat, AT_FDCWD, path, O_WRONLY | O_APPEND | O_CLOEXEC);
    if (trace < 0 || stat(folder, &root) != 0) die("SEXTON_TRACE names no trace and folder");
    lock();
    record(ROOT, root.st_ino, (uint64_t)getpid(), folder, NULL, 0);
    unlock();
}

/* ---- what is recorded ---- */

/* Whether an open file is recorded: a regular one or a folder, and where it should be. */
static int is_ours(int fd, struct stat *found, char *name) {
    if (trace < 0 || fstat(fd, found) != 0 || !(S_ISREG(found->st_mode) || S_ISDIR(found->st_mode))) return 0;
    return lies_below(folder, fd, name, 4096);
}

/* Whether a path is recorded; writes it down as an absolute one. */
static int is_our_path(int at, const char *path, char *name) {
    if (trace < 0 || path == NULL) return 0;
    if (path[0] == '/') {
        snprintf(name, 4096, "%s", path);
    } else {
        char base[4096] = "";
        if (at == AT_FDCWD) {
            if (getcwd(base, sizeof base) == NULL) return 0;
        } else {
            lies_below("", at, base, sizeof base);
        }
        if (strlen(base) + strlen(path) + 2 > 4096) return 0;
        memcpy(name, base, strlen(base));
        name[strlen(base)] = '/';
        strcpy(name + strlen(base) + 1, path);
    }
    if (strncmp(name, folder, strlen(folder)) != 0) return 0;
    if (strstr(name, "/../") != NULL || strstr(name, "/./") != NULL) strange("a path with dots", name);
    return 1;
}

static uint64_t inode_of(const char *name) {
    struct stat found;
    return lstat(name, &found) == 0 ? found.st_ino : 0;
}

/* ---- opening ---- */

static int opened(int at, const char *path, int flags, mode_t mode) {
    char name[4096];
    int writes = (flags & O_ACCMODE) != O_RDONLY;
    if (!(flags & (O_CREAT | O_TRUNC)) && !writes) return (int)syscall(SYS_openat, at, path, flags, mode);
    if (!is_our_path(at, path, name)) return (int)syscall(SYS_openat, at, path, flags, mode);
    if ((flags & O_TMPFILE) == O_TMPFILE || flags & (O_DSYNC | O_DIRECT)) strange("open with odd flags", name);
    lock();
    uint64_t before = inode_of(name);
    int fd = (int)syscall(SYS_openat, at, path, flags, mode);
    if (fd >= 0 && before == 0) record(CREATE, inode_of(name), 0, name, NULL, 0);
    if (fd >= 0 && before != 0 && flags & O_TRUNC) record(LENGTH, before, 0, NULL, NULL, 0);
    unlock();
    return fd;
}

#define MODE(flags)                            \
    mode_t mode = 0;                           \
    if ((flags) & (O_CREAT | O_TMPFILE)) {     \
        va_list list;                          \
        va_start(list, flags);                 \
        mode = (mode_t)va_arg(list, int);      \
        va_end(list);                          \
    }

int open(const char *path, int flags, ...) {
    MODE(flags)
    return opened(AT_FDCWD, path, flags, mode);
}

int open64(const char *path, int flags, ...) {
    MODE(flags)
    return opened(AT_FDCWD, path, flags | O_LARGEFILE, mode);
}

int openat(int at, const char *path, int flags, ...) {
    MODE(flags)
    return opened(at, path, flags, mode);
}

int openat64(int at, const char *path, int flags, ...) {
    MODE(flags)
    return opened(at, path, flags | O_LARGEFILE, mode);
}

int creat(const char *path, mode_t mode) {
    return opened(AT_FDCWD, path, O_CREAT | O_WRONLY | O_TRUNC, mode);
}

/* ---- contents ---- */

ssize_t write(int fd, const void *from, size_t count) {
    struct stat found;
    char name[4096];
    if (!is_ours(fd, &found, name)) return syscall(SYS_write, fd, from, count);
    lock();
    off_t at = lseek(fd, 0, SEEK_CUR);
    if (fcntl(fd, F_GETFL) & O_APPEND && fstat(fd, &found) == 0) at = found.st_size;
    ssize_t done = syscall(SYS_write, fd, from, count);
    if (done > 0) record(WRITE, found.st_ino, (uint64_t)at, NULL, from, (size_t)done);
    unlock();
    return done;
}

ssize_t pwrite64(int fd, const void *from, size_t count, off64_t at) {
    struct stat found;
    char name[4096];
    if (!is_ours(fd, &found, name)) return syscall(SYS_pwrite64, fd, from, count, at);
    lock();
    ssize_t done = syscall(SYS_pwrite64, fd, from, count, at);
    if (done > 0) record(WRITE, found.st_ino, (uint64_t)at, NULL, from, (size_t)done);
    unlock();
    return done;
}

ssize_t pwrite(int fd, const void *from, size_t count, off_t at) {
    return pwrite64(fd, from, count, at);
}

int ftruncate64(int fd, off64_t length) {
    struct stat found;
    char name[4096];
    if (!is_ours(fd, &found, name)) return (int)syscall(SYS_ftruncate, fd, length);
    lock();
    int done = (int)syscall(SYS_ftruncate, fd, length);
    if (done == 0) record(LENGTH, found.st_ino, (uint64_t)length, NULL, NULL, 0);
    unlock();
    return done;
}

int ftruncate(int fd, off_t length) {
    return ftruncate64(fd, length);
}

int fallocate64(int fd, int mode, off64_t at, off64_t length) {
    struct stat found;
    char name[4096];
    if (!is_ours(fd, &found, name)) return (int)syscall(SYS_fallocate, fd, mode, at, length);
    if (mode != 0) strange("fallocate with a mode", name);
    lock();
    int done = (int)syscall(SYS_fallocate, fd, mode, at, length);
    if (done == 0) record(GROW, found.st_ino, (uint64_t)(at + length), NULL, NULL, 0);
    unlock();
    return done;
}

int fallocate(int fd, int mode, off_t at, off_t length) {
    return fallocate64(fd, mode, at, length);
}

int posix_fallocate64(int fd, off64_t at, off64_t length) {
    int error = errno, done = fallocate64(fd, 0, at, length) == 0 ? 0 : errno;
    errno = error;
    return done;
}

int posix_fallocate(int fd, off_t at, off_t length) {
    return posix_fallocate64(fd, at, length);
}

/* ---- names ---- */

static int renamed(int from_at, const char *from, int to_at, const char *to, unsigned flags) {
    char old[4096], new[4096];
    int ours = is_our_path(from_at, from, old), too = is_our_path(to_at, to, new);
    if (!ours && !too) return (int)syscall(SYS_renameat2, from_at, from, to_at, to, flags);
    if (!ours || !too || flags != 0) strange("rename", ours ? old : new);
    lock();
    uint64_t inode = inode_of(old);
    int done = (int)syscall(SYS_renameat2, from_at, from, to_at, to, flags);
    if (done == 0) record(RENAME, inode, 0, old, new, strlen(new));
    unlock();
    return done;
}

int rename(const char *from, const char *to) {
    return renamed(AT_FDCWD, from, AT_FDCWD, to, 0);
}

int renameat(int from_at, const char *from, int to_at, const char *to) {
    return renamed(from_at, from, to_at, to, 0);
}

int renameat2(int from_at, const char *from, int to_at, const char *to, unsigned flags) {
    return renamed(from_at, from, to_at, to, flags);
}

int linkat(int from_at, const char *from, int to_at, const char *to, int flags) {
    char name[4096];
    if (!is_our_path(to_at, to, name)) return (int)syscall(SYS_linkat, from_at, from, to_at, to, flags);
    lock();
    int done = (int)syscall(SYS_linkat, from_at, from, to_at, to, flags);
    if (done == 0) record(LINK, inode_of(name), 0, name, NULL, 0);
    unlock();
    return done;
}

int link(const char *from, const char *to) {
    return linkat(AT_FDCWD, from, AT_FDCWD, to, 0);
}

int unlinkat(int at, const char *path, int flags) {
    char name[4096];
    if (!is_our_path(at, path, name)) return (int)syscall(SYS_unlinkat, at, path, flags);
    lock();
    uint64_t inode = inode_of(name);
    int done = (int)syscall(SYS_unlinkat, at, path, flags);
    if (done == 0) record(UNLINK, inode, 0, name, NULL, 0);
    unlock();
    return done;
}

int unlink(const char *path) {
    return unlinkat(AT_FDCWD, path, 0);
}

int rmdir(const char *path) {
    return unlinkat(AT_FDCWD, path, AT_REMOVEDIR);
}

int mkdirat(int at, const char *path, mode_t mode) {
    char name[4096];
    if (!is_our_path(at, path, name)) return (int)syscall(SYS_mkdirat, at, path, mode);
    lock();
    int done = (int)syscall(SYS_mkdirat, at, path, mode);
    if (done == 0) record(FOLDER, inode_of(name), 0, name, NULL, 0);
    unlock();
    return done;
}

int mkdir(const char *path, mode_t mode) {
    return mkdirat(AT_FDCWD, path, mode);
}

/* ---- waiting for the disk ---- */

static int synced(int fd, long call) {
    struct stat found;
    char name[4096];
    if (!is_ours(fd, &found, name)) return (int)syscall(call, fd);
    lock();
    uint64_t id = (uint64_t)getpid() << 32 | ++syncs;
    record(BEGIN, found.st_ino, id, name, NULL, 0);
    unlock();
    int done = (int)syscall(call, fd);
    if (done == 0) wait_for_the_disk();
    lock();
    if (done == 0) record(END, found.st_ino, id, NULL, NULL, 0);
    unlock();
    return done;
}

int fsync(int fd) {
    return synced(fd, SYS_fsync);
}

int fdatasync(int fd) {
    return synced(fd, SYS_fdatasync);
}

/* ---- what is not understood ---- */

static void refuse(int fd, const char *call) {
    struct stat found;
    char name[4096];
    int error = errno;
    if (is_ours(fd, &found, name)) strange(call, name);
    errno = error;
}

void *mmap64(void *where, size_t length, int access, int flags, int fd, off64_t at) {
    struct stat found;
    char name[4096];
    if (fd >= 0 && flags & MAP_SHARED && access & PROT_WRITE && is_ours(fd, &found, name)) {
        size_t end = strlen(name);
        if (end < 4 || strcmp(name + end - 4, "-shm") != 0) strange("mmap", name);
    }
    return (void *)syscall(SYS_mmap, where, length, access, flags, fd, at);
}

void *mmap(void *where, size_t length, int access, int flags, int fd, off_t at) {
    return mmap64(where, length, access, flags, fd, at);
}

int sync_file_range(int fd, off64_t at, off64_t length, unsigned flags) {
    refuse(fd, "sync_file_range");
    return (int)syscall(SYS_sync_file_range, fd, at, length, flags);
}

ssize_t writev(int fd, const struct iovec *parts, int count) {
    refuse(fd, "writev");
    return syscall(SYS_writev, fd, parts, count);
}

ssize_t pwritev64(int fd, const struct iovec *parts, int count, off64_t at) {
    refuse(fd, "pwritev");
    return ((ssize_t (*)(int, const struct iovec *, int, off64_t))next("pwritev64"))(fd, parts, count, at);
}

ssize_t pwritev(int fd, const struct iovec *parts, int count, off_t at) {
    return pwritev64(fd, parts, count, at);
}

ssize_t pwritev64v2(int fd, const struct iovec *parts, int count, off64_t at, int flags) {
    refuse(fd, "pwritev2");
    return ((ssize_t (*)(int, const struct iovec *, int, off64_t, int))next("pwritev64v2"))(fd, parts, count, at, flags);
}

ssize_t pwritev2(int fd, const struct iovec *parts, int count, off_t at, int flags) {
    return pwritev64v2(fd, parts, count, at, flags);
}

ssize_t copy_file_range(int from, off64_t *from_at, int to, off64_t *to_at, size_t length, unsigned flags) {
    refuse(to, "copy_file_range");
    return syscall(SYS_copy_file_range, from, from_at, to, to_at, length, flags);
}

ssize_t sendfile64(int to, int from, off64_t *at, size_t count) {
    refuse(to, "sendfile");
    return syscall(SYS_sendfile, to, from, at, count);
}

ssize_t sendfile(int to, int from, off_t *at, size_t count) {
    return sendfile64(to, from, at, count);
}

ssize_t splice(int from, off64_t *from_at, int to, off64_t *to_at, size_t length, unsigned flags) {
    refuse(to, "splice");
    return syscall(SYS_splice, from, from_at, to, to_at, length, flags);
}

int truncate64(const char *path, off64_t length) {
    char name[4096];
    if (is_our_path(AT_FDCWD, path, name)) strange("truncate", name);
    return (int)syscall(SYS_truncate, path, length);
}

int truncate(const char *path, off_t length) {
    return truncate64(path, length);
}

int symlink(const char *target, const char *path) {
    char name[4096];
    if (is_our_path(AT_FDCWD, path, name)) strange("symlink", name);
    return (int)syscall(SYS_symlinkat, target, AT_FDCWD, path);
}

int syncfs(int fd) {
    refuse(fd, "syncfs");
    return (int)syscall(SYS_syncfs, fd);
}

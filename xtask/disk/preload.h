/* What the preloaded libraries share: the calls behind theirs, and the names of open files. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

/* The call that this library's own hides. */
static void *next(const char *name) {
    return dlsym(RTLD_NEXT, name);
}

/* Whether an open file lies below a folder; writes down its name. */
static int lies_below(const char *folder, int fd, char *name, size_t size) {
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t got = readlink(link, name, size - 1);
    if (got < 0) return 0;
    name[got] = 0;
    return strncmp(name, folder, strlen(folder)) == 0;
}

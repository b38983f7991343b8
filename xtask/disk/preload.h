/* What the preloaded libraries share: the calls behind theirs, the names of open files, and a slow disk. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <time.h>
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

/* As long as SEXTON_FSYNC_MS says: so many ms, or as many as the file says that it names. */
static void wait_for_the_disk(void) {
    const char *ms = getenv("SEXTON_FSYNC_MS");
    char text[32] = {0};
    if (ms == NULL) return;
    if (ms[0] == '/') {
        FILE *file = fopen(ms, "r");
        if (file == NULL) return;
        ms = fgets(text, sizeof text, file) == NULL ? "0" : text;
        fclose(file);
    }
    long count = atol(ms);
    struct timespec pause = {count / 1000, (count % 1000) * 1000000L};
    while (count > 0 && nanosleep(&pause, &pause) != 0 && errno == EINTR) {}
}

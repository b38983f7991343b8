/* A disk whose syncs take their time: preloaded, it delays every fsync and fdatasync by SLOW_DISK_MS as
   long as the file SLOW_DISK_WHILE exists. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

static int slowly(const char *name, int fd) {
    const char *while_there = getenv("SLOW_DISK_WHILE"), *ms = getenv("SLOW_DISK_MS");
    int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, name);
    if (while_there && ms && access(while_there, F_OK) == 0) {
        long long wait = atoll(ms);
        struct timespec left = {wait / 1000, wait % 1000 * 1000000};
        while (nanosleep(&left, &left) != 0) {}
    }
    return real(fd);
}

int fsync(int fd) { return slowly("fsync", fd); }
int fdatasync(int fd) { return slowly("fdatasync", fd); }

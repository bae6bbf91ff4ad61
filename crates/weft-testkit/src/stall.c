/* A disk that stalls: loaded into a process before its own library, it lets nothing be made durable while the file named by
   WEFT_STALL exists. Reads and writes go on into the page cache, as on a disk whose write queue hangs. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <unistd.h>

static void wait_while_stalled(void) {
    const char *stall = getenv("WEFT_STALL");
    while (stall && access(stall, F_OK) == 0)
        usleep(5000);
}

int fsync(int file) {
    wait_while_stalled();
    return ((int (*)(int))dlsym(RTLD_NEXT, "fsync"))(file);
}

int fdatasync(int file) {
    wait_while_stalled();
    return ((int (*)(int))dlsym(RTLD_NEXT, "fdatasync"))(file);
}

/* Loaded before the C library (LD_PRELOAD), it lets calls that write to a folder fail while an order file
 * says so: "wso name" refuses to Write (EROFS), to Sync (EIO), to Open for writing (EROFS) whatever has
 * `name` in its path. A real file system does that when its disk fails, but not on a test's demand. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#define REAL(type, name, ...) ((type(*)(__VA_ARGS__))dlsym(RTLD_NEXT, name))

static int ordered(char call, const char *path) {
    const char *order = getenv("REFUSE_ORDER"), *under = getenv("REFUSE_UNDER");
    if (!order || !under || strncmp(path, under, strlen(under)) != 0) return 0;
    int file = REAL(int, "open", const char *, int, ...)(order, O_RDONLY);
    if (file < 0) return 0;
    char text[256];
    ssize_t size = read(file, text, sizeof text - 1);
    close(file);
    if (size <= 0) return 0;
    text[size] = 0;
    char *name = strchr(text, ' ');
    if (!name) return 0;
    *name++ = 0;
    return strchr(text, call) && strstr(path, name);
}

static int refused(char call, int file) {
    char link[64], path[4096];
    int before = errno;
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    ssize_t size = readlink(link, path, sizeof path - 1);
    errno = before;
    if (size <= 0) return 0;
    path[size] = 0;
    return ordered(call, path);
}

static int fail(int error) {
    errno = error;
    return -1;
}

ssize_t write(int file, const void *data, size_t size) {
    return refused('w', file) ? fail(EROFS) : REAL(ssize_t, "write", int, const void *, size_t)(file, data, size);
}

ssize_t pwrite(int file, const void *data, size_t size, off_t at) {
    if (refused('w', file)) return fail(EROFS);
    return REAL(ssize_t, "pwrite", int, const void *, size_t, off_t)(file, data, size, at);
}

ssize_t pwrite64(int file, const void *data, size_t size, off_t at) { return pwrite(file, data, size, at); }

int ftruncate(int file, off_t size) {
    return refused('w', file) ? fail(EROFS) : REAL(int, "ftruncate", int, off_t)(file, size);
}

int ftruncate64(int file, off_t size) { return ftruncate(file, size); }

int posix_fallocate(int file, off_t at, off_t size) {
    return refused('w', file) ? EROFS : REAL(int, "posix_fallocate", int, off_t, off_t)(file, at, size);
}

int posix_fallocate64(int file, off_t at, off_t size) { return posix_fallocate(file, at, size); }

int fsync(int file) { return refused('s', file) ? fail(EIO) : REAL(int, "fsync", int)(file); }

int fdatasync(int file) { return refused('s', file) ? fail(EIO) : REAL(int, "fdatasync", int)(file); }

static int opened(const char *name, const char *path, int flags, va_list rest) {
    int mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(rest, int) : 0;
    if ((flags & O_ACCMODE) != O_RDONLY && ordered('o', path)) return fail(EROFS);
    return REAL(int, name, const char *, int, ...)(path, flags, mode);
}

int open(const char *path, int flags, ...) {
    va_list rest;
    va_start(rest, flags);
    int file = opened("open", path, flags, rest);
    va_end(rest);
    return file;
}

int open64(const char *path, int flags, ...) {
    va_list rest;
    va_start(rest, flags);
    int file = opened("open64", path, flags, rest);
    va_end(rest);
    return file;
}

/* A disk that loses what is written and says so at the next sync, for the files below one folder and as long as a file
 * exists. Loaded before the C library (LD_PRELOAD), of which it takes the place of two functions. As on Linux, what was
 * lost is told once: a later sync of the same file succeeds, without it. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define FILES 65536
static unsigned char lost[FILES];

static int concerns(int fd) {
  const char *folder = getenv("FAILING_SYNCS_OF");
  char link[64], path[PATH_MAX];
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  ssize_t length = readlink(link, path, sizeof path - 1);
  if (!folder || length < 0 || fd < 0 || fd >= FILES) return 0;
  path[length] = 0;
  return strncmp(path, folder, strlen(folder)) == 0;
}

static int fails_now(void) {
  const char *file = getenv("FAILING_SYNCS_WHILE");
  return file && access(file, F_OK) == 0;
}

ssize_t pwrite64(int fd, const void *bytes, size_t count, off64_t at) {
  static ssize_t (*real)(int, const void *, size_t, off64_t);
  if (concerns(fd) && fails_now()) {
    lost[fd] = 1;
    return (ssize_t)count;
  }
  if (!real) real = (ssize_t(*)(int, const void *, size_t, off64_t))dlsym(RTLD_NEXT, "pwrite64");
  return real(fd, bytes, count, at);
}

int fdatasync(int fd) {
  static int (*real)(int);
  if (concerns(fd) && (lost[fd] || fails_now())) {
    lost[fd] = 0;
    errno = EIO;
    return -1;
  }
  if (!real) real = (int (*)(int))dlsym(RTLD_NEXT, "fdatasync");
  return real(fd);
}

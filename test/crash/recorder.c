// Records, in one global order, every call of a process that changes files under a prefix, with the data, for power-loss replay (LD_PRELOAD).
//
// Environment: REC_PREFIX (real path of the recorded folder), REC_LOG (the log, outside the prefix), REC_ACK (a file outside
// the prefix: every write to it becomes an ACK record). One mutex is held around the real call and its record, so the order of
// the log is the order of execution; a record is written only after the call succeeded, with the true length. Only calls
// on regular files and folders under the prefix take the mutex, so pipes, sockets and signal handlers never wait.
// Names ending in -shm are ignored: SQLite rebuilds them after a crash. Something that cannot be replayed writes an
// UNSUPPORTED record, which the reader turns into an error: the recorder never lies by silence.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#ifndef FICLONE
#define FICLONE 0x40049409UL
#define FICLONERANGE 0x4020940dUL
#endif
#ifndef O_TMPFILE
#define O_TMPFILE 020200000
#endif

enum {
  CREATE = 1, WRITE, TRUNCATE, FSYNC, RENAME, UNLINK, MKDIR, RMDIR, LINK, SYMLINK, ACK, SYNC, UNSUPPORTED
};
struct header { uint32_t type, flags; uint64_t inode, offset, length; uint32_t first, second; };
enum { OUTSIDE = 0, INSIDE = 1, ACKS = 2, UNKNOWN = 3 };
struct seen { dev_t device; ino_t inode; int where; };

#define FDS 65536
static struct seen seen[FDS];
static pthread_mutex_t order = PTHREAD_MUTEX_INITIALIZER;
static const char *prefix, *ack_path;
static size_t prefix_length;
static int log_fd = -1;
static int ready;

#define REAL(ret, name, ...) static ret (*real_##name)(__VA_ARGS__)
REAL(int, open64, const char *, int, ...);
REAL(int, openat64, int, const char *, int, ...);
REAL(ssize_t, write, int, const void *, size_t);
REAL(ssize_t, pwrite64, int, const void *, size_t, off64_t);
REAL(ssize_t, writev, int, const struct iovec *, int);
REAL(ssize_t, pwritev64, int, const struct iovec *, int, off64_t);
REAL(int, ftruncate64, int, off64_t);
REAL(int, truncate64, const char *, off64_t);
REAL(int, fsync, int);
REAL(int, fdatasync, int);
REAL(void, sync, void);
REAL(int, syncfs, int);
REAL(int, renameat2, int, const char *, int, const char *, unsigned);
REAL(int, unlinkat, int, const char *, int);
REAL(int, mkdirat, int, const char *, mode_t);
REAL(int, linkat, int, const char *, int, const char *, int);
REAL(int, symlinkat, const char *, int, const char *);
REAL(int, fallocate64, int, int, off64_t, off64_t);
REAL(int, posix_fallocate64, int, off64_t, off64_t);
REAL(ssize_t, sendfile64, int, int, off64_t *, size_t);
REAL(ssize_t, copy_file_range, int, off64_t *, int, off64_t *, size_t, unsigned);
REAL(int, ioctl, int, unsigned long, ...);
REAL(void *, mmap64, void *, size_t, int, int, int, off64_t);
REAL(char *, mkdtemp, char *);
REAL(int, mkostemps64, char *, int, int);
REAL(long, syscall, long, ...);

static void die(const char *what) {
  char line[256];
  int n = snprintf(line, sizeof line, "recorder: %s: errno %d\n", what, errno);
  if (real_write) (void)!real_write(2, line, (size_t)n);
  abort();
}

static void init(void) {
  static int started;
  if (started) return;
  started = 1;
#define FIND(name) if (!(real_##name = (__typeof__(real_##name))dlsym(RTLD_NEXT, #name))) die("no " #name)
  FIND(write); FIND(open64); FIND(openat64); FIND(pwrite64); FIND(writev); FIND(pwritev64); FIND(ftruncate64);
  FIND(truncate64); FIND(fsync); FIND(fdatasync); FIND(sync); FIND(syncfs); FIND(renameat2); FIND(unlinkat);
  FIND(mkdirat); FIND(linkat); FIND(symlinkat); FIND(fallocate64); FIND(posix_fallocate64); FIND(sendfile64);
  FIND(copy_file_range); FIND(ioctl); FIND(mmap64); FIND(mkdtemp); FIND(mkostemps64); FIND(syscall);
  prefix = getenv("REC_PREFIX");
  ack_path = getenv("REC_ACK");
  const char *log_path = getenv("REC_LOG");
  if (!prefix || !log_path) { ready = 1; prefix = NULL; return; }
  prefix_length = strlen(prefix);
  for (int i = 0; i < FDS; i++) seen[i].where = UNKNOWN;
  log_fd = real_open64(log_path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
  if (log_fd < 0) die("cannot open the log");
  // Far away from the numbers the program uses and may close by accident.
  int high = fcntl(log_fd, F_DUPFD_CLOEXEC, 900);
  if (high >= 0) { close(log_fd); log_fd = high; }
  ready = 1;
}
__attribute__((constructor)) static void at_load(void) { init(); }
#define READY() do { if (!ready) init(); } while (0)

static void lock(void) { pthread_mutex_lock(&order); }
static void unlock(void) { int e = errno; pthread_mutex_unlock(&order); errno = e; }

static void put_all(const void *data, size_t n) {
  const char *p = data;
  while (n) {
    ssize_t r = real_write(log_fd, p, n);
    if (r < 0) { if (errno == EINTR) continue; die("cannot write the log"); }
    p += r; n -= (size_t)r;
  }
}

static void record(struct header h, const void *first, const void *second) {
  int e = errno;
  struct iovec parts[3] = {{&h, sizeof h}, {(void *)first, h.first}, {(void *)second, h.second}};
  ssize_t want = (ssize_t)(sizeof h + h.first + h.second);
  ssize_t r = real_writev(log_fd, parts, 3);
  if (r != want) {  // finish a short write part by part
    if (r < 0) die("cannot write the log");
    size_t skip = (size_t)r;
    for (int i = 0; i < 3; i++) {
      size_t k = skip < parts[i].iov_len ? skip : parts[i].iov_len;
      put_all((char *)parts[i].iov_base + k, parts[i].iov_len - k);
      skip -= k;
    }
  }
  errno = e;
}

static void record_paths(uint32_t type, uint32_t flags, uint64_t inode, const char *a, const char *b) {
  struct header h = {.type = type, .flags = flags, .inode = inode, .first = a ? (uint32_t)strlen(a) : 0, .second = b ? (uint32_t)strlen(b) : 0};
  record(h, a, b);
}
static void unsupported(const char *what) { record_paths(UNSUPPORTED, 0, 0, what, NULL); }
static void record_inode(uint32_t type, uint64_t inode, uint64_t offset) {
  struct header h = {.type = type, .inode = inode, .offset = offset};
  record(h, NULL, NULL);
}
static void record_write(uint64_t inode, uint64_t offset, const void *data, size_t n) {
  const char *p = data;
  while (n) {
    size_t k = n > (1u << 30) ? (1u << 30) : n;
    struct header h = {.type = WRITE, .inode = inode, .offset = offset, .length = k, .second = (uint32_t)k};
    record(h, NULL, p);
    p += k; n -= k; offset += k;
  }
}

// The absolute path without dots and doubled slashes; false when it does not fit.
static int absolute(int at, const char *path, char out[PATH_MAX]) {
  char joined[2 * PATH_MAX];
  joined[0] = 0;
  if (path[0] != '/') {
    if (at == AT_FDCWD) {
      if (!getcwd(joined, PATH_MAX)) return 0;
    } else {
      char link[64];
      snprintf(link, sizeof link, "/proc/self/fd/%d", at);
      ssize_t n = readlink(link, joined, PATH_MAX - 1);
      if (n < 0) return 0;
      joined[n] = 0;
    }
    strcat(joined, "/");
  } else if (!strncmp(path, "/proc/self/fd/", 14)) {
    char link[64];
    const char *rest = strchr(path + 14, '/');
    size_t k = rest ? (size_t)(rest - path) : strlen(path);
    if (k >= sizeof link) return 0;
    memcpy(link, path, k);
    link[k] = 0;
    ssize_t n = readlink(link, joined, PATH_MAX - 1);
    if (n < 0) return 0;
    joined[n] = 0;
    path = rest ? rest : "";
  }
  if (strlen(joined) + strlen(path) >= sizeof joined) return 0;
  strcat(joined, path);
  size_t o = 0;
  for (const char *p = joined; *p;) {
    while (*p == '/') p++;
    const char *e = p;
    while (*e && *e != '/') e++;
    size_t k = (size_t)(e - p);
    if (k == 0) break;
    if (k == 1 && p[0] == '.') { p = e; continue; }
    if (k == 2 && p[0] == '.' && p[1] == '.') {
      while (o && out[o - 1] != '/') o--;
      if (o) o--;
      p = e;
      continue;
    }
    if (o + k + 2 >= PATH_MAX) return 0;
    out[o++] = '/';
    memcpy(out + o, p, k);
    o += k;
    p = e;
  }
  if (!o) out[o++] = '/';
  out[o] = 0;
  return 1;
}

static int volatile_name(const char *path) {
  size_t n = strlen(path);
  return n >= 4 && !strcmp(path + n - 4, "-shm");
}
static int where_is(const char *path) {
  if (!prefix) return OUTSIDE;
  if (ack_path && !strcmp(path, ack_path)) return ACKS;
  if (strncmp(path, prefix, prefix_length) || (path[prefix_length] != '/' && path[prefix_length])) return OUTSIDE;
  return volatile_name(path) ? OUTSIDE : INSIDE;
}
static const char *inner(const char *path) { return path[prefix_length] ? path + prefix_length + 1 : ""; }

// Where a path given to a call lies; fills the absolute path.
static int locate(int at, const char *path, char out[PATH_MAX]) {
  int e = errno;
  int w = prefix && path && absolute(at, path, out) ? where_is(out) : OUTSIDE;
  errno = e;
  return w;
}

// Where an open descriptor lies. Call without the mutex; true with the mutex HELD when it is recorded.
static int claim(int fd, struct stat *s) {
  if (!prefix || fd < 0 || fd == log_fd) return OUTSIDE;
  int e = errno;
  if (fstat(fd, s) || !(S_ISREG(s->st_mode) || S_ISDIR(s->st_mode))) { errno = e; return OUTSIDE; }
  lock();
  struct seen fresh = {0, 0, UNKNOWN}, *c = fd < FDS ? &seen[fd] : &fresh;
  if (c->where == UNKNOWN || c->device != s->st_dev || c->inode != s->st_ino) {
    char link[64], path[PATH_MAX];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t n = readlink(link, path, PATH_MAX - 1);
    path[n < 0 ? 0 : n] = 0;
    size_t k = strlen(path);
    if (k > 10 && !strcmp(path + k - 10, " (deleted)")) path[k - 10] = 0;
    *c = (struct seen){s->st_dev, s->st_ino, n < 0 ? OUTSIDE : where_is(path)};
  }
  int w = c->where;
  if (w == OUTSIDE) unlock();
  errno = e;
  return w;
}

static void remember(int fd, int where) {
  if (fd < 0 || fd >= FDS) return;
  struct stat s;
  int e = errno;
  if (where != OUTSIDE && !fstat(fd, &s)) seen[fd] = (struct seen){s.st_dev, s.st_ino, where};
  else seen[fd].where = UNKNOWN;
  errno = e;
}

static int open_at(int at, const char *path, int flags, mode_t mode) {
  READY();
  char full[PATH_MAX];
  int w = locate(at, path, full);
  if (w != INSIDE) {
    int fd = real_openat64(at, path, flags, mode);
    if (prefix && fd >= 0) { lock(); remember(fd, w); unlock(); }
    return fd;
  }
  lock();
  struct stat before, s;
  int had = !fstatat(AT_FDCWD, full, &before, 0);
  int fd = real_openat64(at, path, flags, mode);
  if (fd >= 0) {
    remember(fd, INSIDE);
    if ((flags & O_TMPFILE) == O_TMPFILE) unsupported("O_TMPFILE");
    else if ((flags & O_CREAT) && !had) {
      if (!fstat(fd, &s)) record_paths(CREATE, 0, s.st_ino, inner(full), NULL);
    } else if ((flags & O_TRUNC) && had && before.st_size > 0) record_inode(TRUNCATE, before.st_ino, 0);
  }
  unlock();
  return fd;
}
static int takes_mode(int flags) { return (flags & O_CREAT) || (flags & O_TMPFILE) == O_TMPFILE; }
#define MODE(flags) mode_t mode = 0; if (takes_mode(flags)) { va_list v; va_start(v, flags); mode = (mode_t)va_arg(v, int); va_end(v); }
int open(const char *p, int flags, ...) { MODE(flags) return open_at(AT_FDCWD, p, flags, mode); }
int open64(const char *p, int flags, ...) { MODE(flags) return open_at(AT_FDCWD, p, flags | O_LARGEFILE, mode); }
int openat(int at, const char *p, int flags, ...) { MODE(flags) return open_at(at, p, flags, mode); }
int openat64(int at, const char *p, int flags, ...) { MODE(flags) return open_at(at, p, flags | O_LARGEFILE, mode); }
int __open_2(const char *p, int flags) { return open_at(AT_FDCWD, p, flags, 0); }
int __open64_2(const char *p, int flags) { return open_at(AT_FDCWD, p, flags, 0); }
int __openat_2(int at, const char *p, int flags) { return open_at(at, p, flags, 0); }
int __openat64_2(int at, const char *p, int flags) { return open_at(at, p, flags, 0); }
int creat(const char *p, mode_t mode) { return open_at(AT_FDCWD, p, O_CREAT | O_WRONLY | O_TRUNC, mode); }
int creat64(const char *p, mode_t mode) { return open_at(AT_FDCWD, p, O_CREAT | O_WRONLY | O_TRUNC, mode); }

// After a successful write: its record, and a sync record when the descriptor itself is synchronous.
static void wrote(int fd, int w, const struct stat *s, const void *data, size_t n, off64_t at) {
  if (w == ACKS) {
    struct header h = {.type = ACK, .second = (uint32_t)n};
    record(h, NULL, data);
    return;
  }
  int e = errno, flags = fcntl(fd, F_GETFL);
  struct stat after;
  if (at < 0) at = lseek64(fd, 0, SEEK_CUR) - (off64_t)n;
  else if ((flags & O_APPEND) && !fstat(fd, &after)) at = after.st_size - (off64_t)n;
  record_write(s->st_ino, (uint64_t)at, data, n);
  if (flags & O_DSYNC) record_inode(FSYNC, s->st_ino, 0);
  errno = e;
}
static void wrote_parts(int fd, int w, const struct stat *s, const struct iovec *v, int count, size_t n, off64_t at) {
  char *whole = malloc(n ? n : 1);
  if (!whole) die("no memory");
  size_t o = 0;
  for (int i = 0; i < count && o < n; i++) {
    size_t k = v[i].iov_len < n - o ? v[i].iov_len : n - o;
    memcpy(whole + o, v[i].iov_base, k);
    o += k;
  }
  wrote(fd, w, s, whole, n, at);
  free(whole);
}

ssize_t write(int fd, const void *b, size_t n) {
  READY();
  struct stat s;
  int w = claim(fd, &s);
  ssize_t r = real_write(fd, b, n);
  if (w) { if (r > 0) wrote(fd, w, &s, b, (size_t)r, -1); unlock(); }
  return r;
}
ssize_t pwrite64(int fd, const void *b, size_t n, off64_t at) {
  READY();
  struct stat s;
  int w = claim(fd, &s);
  ssize_t r = real_pwrite64(fd, b, n, at);
  if (w) { if (r > 0) wrote(fd, w, &s, b, (size_t)r, at); unlock(); }
  return r;
}
ssize_t pwrite(int fd, const void *b, size_t n, off_t at) { return pwrite64(fd, b, n, at); }
ssize_t writev(int fd, const struct iovec *v, int c) {
  READY();
  struct stat s;
  int w = claim(fd, &s);
  ssize_t r = real_writev(fd, v, c);
  if (w) { if (r > 0) wrote_parts(fd, w, &s, v, c, (size_t)r, -1); unlock(); }
  return r;
}
ssize_t pwritev64(int fd, const struct iovec *v, int c, off64_t at) {
  READY();
  struct stat s;
  int w = claim(fd, &s);
  ssize_t r = real_pwritev64(fd, v, c, at);
  if (w) { if (r > 0) wrote_parts(fd, w, &s, v, c, (size_t)r, at); unlock(); }
  return r;
}
ssize_t pwritev(int fd, const struct iovec *v, int c, off_t at) { return pwritev64(fd, v, c, at); }
ssize_t pwritev64v2(int fd, const struct iovec *v, int c, off64_t at, int f) {
  (void)f;
  return at < 0 ? writev(fd, v, c) : pwritev64(fd, v, c, at);
}
ssize_t pwritev2(int fd, const struct iovec *v, int c, off_t at, int f) { return pwritev64v2(fd, v, c, at, f); }

int ftruncate64(int fd, off64_t size) {
  READY();
  struct stat s;
  int w = claim(fd, &s);
  int r = real_ftruncate64(fd, size);
  if (w) { if (!r && w == INSIDE) record_inode(TRUNCATE, s.st_ino, (uint64_t)size); unlock(); }
  return r;
}
int ftruncate(int fd, off_t size) { return ftruncate64(fd, size); }
int truncate64(const char *p, off64_t size) {
  READY();
  char full[PATH_MAX];
  if (locate(AT_FDCWD, p, full) != INSIDE) return real_truncate64(p, size);
  lock();
  struct stat s;
  int r = real_truncate64(p, size);
  if (!r && !stat(full, &s)) record_inode(TRUNCATE, s.st_ino, (uint64_t)size);
  unlock();
  return r;
}
int truncate(const char *p, off_t size) { return truncate64(p, size); }

static int sync_fd(int fd, int (*real)(int)) {
  struct stat s;
  int w = claim(fd, &s);
  int r = real(fd);
  if (w) { if (!r && w == INSIDE) record_inode(FSYNC, s.st_ino, 0); unlock(); }
  return r;
}
int fsync(int fd) { READY(); return sync_fd(fd, real_fsync); }
int fdatasync(int fd) { READY(); return sync_fd(fd, real_fdatasync); }
void sync(void) {
  READY();
  if (!prefix) { real_sync(); return; }
  lock();
  real_sync();
  record_inode(SYNC, 0, 0);
  unlock();
}
int syncfs(int fd) {
  READY();
  struct stat s;
  int w = claim(fd, &s);
  int r = real_syncfs(fd);
  if (w) { if (!r) record_inode(SYNC, 0, 0); unlock(); }
  return r;
}

int renameat2(int a, const char *p, int b, const char *q, unsigned flags) {
  READY();
  char from[PATH_MAX], to[PATH_MAX];
  int x = locate(a, p, from), y = locate(b, q, to);
  if (x != INSIDE && y != INSIDE) return real_renameat2(a, p, b, q, flags);
  lock();
  int r = real_renameat2(a, p, b, q, flags);
  if (!r) {
    if (x != y) unsupported("rename across the prefix");
    else if (flags & ~1u) unsupported("renameat2 with flags");
    else record_paths(RENAME, 0, 0, inner(from), inner(to));
  }
  unlock();
  return r;
}
int rename(const char *p, const char *q) { return renameat2(AT_FDCWD, p, AT_FDCWD, q, 0); }
int renameat(int a, const char *p, int b, const char *q) { return renameat2(a, p, b, q, 0); }

int unlinkat(int at, const char *p, int flags) {
  READY();
  char full[PATH_MAX];
  if (locate(at, p, full) != INSIDE) return real_unlinkat(at, p, flags);
  lock();
  int r = real_unlinkat(at, p, flags);
  if (!r) record_paths(flags & AT_REMOVEDIR ? RMDIR : UNLINK, 0, 0, inner(full), NULL);
  unlock();
  return r;
}
int unlink(const char *p) { return unlinkat(AT_FDCWD, p, 0); }
int rmdir(const char *p) { return unlinkat(AT_FDCWD, p, AT_REMOVEDIR); }
int remove(const char *p) {
  struct stat s;
  if (lstat(p, &s)) return -1;
  return unlinkat(AT_FDCWD, p, S_ISDIR(s.st_mode) ? AT_REMOVEDIR : 0);
}

static void made_folder(const char *full) {
  struct stat s;
  if (!lstat(full, &s)) record_paths(MKDIR, 0, s.st_ino, inner(full), NULL);
}
int mkdirat(int at, const char *p, mode_t mode) {
  READY();
  char full[PATH_MAX];
  if (locate(at, p, full) != INSIDE) return real_mkdirat(at, p, mode);
  lock();
  int r = real_mkdirat(at, p, mode);
  if (!r) made_folder(full);
  unlock();
  return r;
}
int mkdir(const char *p, mode_t mode) { return mkdirat(AT_FDCWD, p, mode); }
char *mkdtemp(char *template) {
  READY();
  char full[PATH_MAX];
  if (locate(AT_FDCWD, template, full) != INSIDE) return real_mkdtemp(template);
  lock();
  char *r = real_mkdtemp(template);
  if (r && absolute(AT_FDCWD, r, full)) made_folder(full);
  unlock();
  return r;
}
int mkostemps64(char *template, int suffix, int flags) {
  READY();
  char full[PATH_MAX];
  if (locate(AT_FDCWD, template, full) != INSIDE) return real_mkostemps64(template, suffix, flags);
  lock();
  struct stat s;
  int fd = real_mkostemps64(template, suffix, flags);
  if (fd >= 0 && absolute(AT_FDCWD, template, full) && !fstat(fd, &s)) {
    remember(fd, INSIDE);
    record_paths(CREATE, 0, s.st_ino, inner(full), NULL);
  }
  unlock();
  return fd;
}
int mkstemp(char *t) { return mkostemps64(t, 0, 0); }
int mkstemp64(char *t) { return mkostemps64(t, 0, 0); }
int mkostemp(char *t, int f) { return mkostemps64(t, 0, f); }
int mkostemp64(char *t, int f) { return mkostemps64(t, 0, f); }

int linkat(int a, const char *p, int b, const char *q, int flags) {
  READY();
  char from[PATH_MAX], to[PATH_MAX];
  int x = locate(a, p, from), y = locate(b, q, to);
  if (y != INSIDE) return real_linkat(a, p, b, q, flags);
  lock();
  int r = real_linkat(a, p, b, q, flags);
  if (!r) {
    if (x != INSIDE) unsupported("link from outside the prefix");
    else record_paths(LINK, 0, 0, inner(from), inner(to));
  }
  unlock();
  return r;
}
int link(const char *p, const char *q) { return linkat(AT_FDCWD, p, AT_FDCWD, q, 0); }
int symlinkat(const char *target, int at, const char *p) {
  READY();
  char full[PATH_MAX];
  if (locate(at, p, full) != INSIDE) return real_symlinkat(target, at, p);
  lock();
  int r = real_symlinkat(target, at, p);
  if (!r) record_paths(SYMLINK, 0, 0, inner(full), target);
  unlock();
  return r;
}
int symlink(const char *target, const char *p) { return symlinkat(target, AT_FDCWD, p); }

// An allocation that grew the file is replayed as a truncate to the new size; one that erased a range as written zeros.
static void allocated(const struct stat *s, int mode, off64_t at, off64_t n) {
  if (mode & ~3) { unsupported("fallocate mode"); return; }
  if (mode & 2) {
    off64_t end = at + n < s->st_size ? at + n : s->st_size;
    if (end > at) {
      void *zeros = calloc(1, (size_t)(end - at));
      if (!zeros) die("no memory");
      record_write(s->st_ino, (uint64_t)at, zeros, (size_t)(end - at));
      free(zeros);
    }
  } else if (!(mode & 1) && at + n > s->st_size) record_inode(TRUNCATE, s->st_ino, (uint64_t)(at + n));
}
int fallocate64(int fd, int mode, off64_t at, off64_t n) {
  READY();
  struct stat s;
  int w = claim(fd, &s);
  int r = real_fallocate64(fd, mode, at, n);
  if (w) { if (!r && w == INSIDE) allocated(&s, mode, at, n); unlock(); }
  return r;
}
int fallocate(int fd, int mode, off_t at, off_t n) { return fallocate64(fd, mode, at, n); }
int posix_fallocate64(int fd, off64_t at, off64_t n) {
  READY();
  struct stat s;
  int w = claim(fd, &s);
  int r = real_posix_fallocate64(fd, at, n);
  if (w) { if (!r && w == INSIDE) allocated(&s, 0, at, n); unlock(); }
  return r;
}
int posix_fallocate(int fd, off_t at, off_t n) { return posix_fallocate64(fd, at, n); }

// What the kernel copied into a file, read back through a descriptor of our own (the destination may be write-only).
static void copied(int fd, const struct stat *s, off64_t at, size_t n) {
  int e = errno;
  char link[64];
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  int in = real_open64(link, O_RDONLY | O_CLOEXEC);
  if (in < 0) die("cannot read back a copy");
  char *data = malloc(n ? n : 1);
  if (!data) die("no memory");
  size_t o = 0;
  while (o < n) {
    ssize_t r = pread64(in, data + o, n - o, at + (off64_t)o);
    if (r <= 0) die("short read back of a copy");
    o += (size_t)r;
  }
  record_write(s->st_ino, (uint64_t)at, data, n);
  free(data);
  close(in);
  errno = e;
}
ssize_t copy_file_range(int in, off64_t *from, int out, off64_t *to, size_t n, unsigned flags) {
  READY();
  struct stat s;
  int w = claim(out, &s);
  ssize_t r = real_copy_file_range(in, from, out, to, n, flags);
  if (w) {
    if (r > 0 && w == INSIDE) copied(out, &s, (to ? *to : lseek64(out, 0, SEEK_CUR)) - r, (size_t)r);
    unlock();
  }
  return r;
}
ssize_t sendfile64(int out, int in, off64_t *from, size_t n) {
  READY();
  struct stat s;
  int w = claim(out, &s);
  ssize_t r = real_sendfile64(out, in, from, n);
  if (w) { if (r > 0 && w == INSIDE) copied(out, &s, lseek64(out, 0, SEEK_CUR) - r, (size_t)r); unlock(); }
  return r;
}
ssize_t sendfile(int out, int in, off_t *from, size_t n) { return sendfile64(out, in, (off64_t *)from, n); }
int ioctl(int fd, unsigned long request, ...) {
  READY();
  va_list v;
  va_start(v, request);
  void *arg = va_arg(v, void *);
  va_end(v);
  if ((request & 0xffffffffUL) != FICLONE && (request & 0xffffffffUL) != FICLONERANGE) return real_ioctl(fd, request, arg);
  struct stat s, after;
  int w = claim(fd, &s);
  int r = real_ioctl(fd, request, arg);
  if (w) {
    if (!r && w == INSIDE) {
      if ((request & 0xffffffffUL) == FICLONERANGE) unsupported("FICLONERANGE");
      else if (!fstat(fd, &after)) copied(fd, &s, 0, (size_t)after.st_size);
    }
    unlock();
  }
  return r;
}
void *mmap64(void *a, size_t n, int prot, int flags, int fd, off64_t at) {
  READY();
  struct stat s;
  if (fd >= 0 && (prot & PROT_WRITE) && (flags & MAP_SHARED) && claim(fd, &s)) {
    unsupported("a shared writable mapping");
    unlock();
  }
  return real_mmap64(a, n, prot, flags, fd, at);
}
void *mmap(void *a, size_t n, int prot, int flags, int fd, off_t at) { return mmap64(a, n, prot, flags, fd, at); }

// libuv makes some calls by number.
long syscall(long number, ...) {
  READY();
  long a[6];
  va_list v;
  va_start(v, number);
  for (int i = 0; i < 6; i++) a[i] = va_arg(v, long);
  va_end(v);
  switch (number) {
#ifdef SYS_copy_file_range
    case SYS_copy_file_range:
      return copy_file_range((int)a[0], (off64_t *)a[1], (int)a[2], (off64_t *)a[3], (size_t)a[4], (unsigned)a[5]);
#endif
#ifdef SYS_io_uring_setup
    case SYS_io_uring_setup:  // its writes would pass us by; libuv falls back to its thread pool
      if (prefix) { errno = ENOSYS; return -1; }
      break;
#endif
#ifdef SYS_renameat2
    case SYS_renameat2: return renameat2((int)a[0], (char *)a[1], (int)a[2], (char *)a[3], (unsigned)a[4]);
#endif
    case SYS_openat: return open_at((int)a[0], (char *)a[1], (int)a[2], (mode_t)a[3]);
    case SYS_write: return write((int)a[0], (void *)a[1], (size_t)a[2]);
    case SYS_writev: return writev((int)a[0], (void *)a[1], (int)a[2]);
    case SYS_pwrite64: return pwrite64((int)a[0], (void *)a[1], (size_t)a[2], a[3]);
    case SYS_pwritev: return pwritev64((int)a[0], (void *)a[1], (int)a[2], a[3]);
#ifdef SYS_pwritev2
    case SYS_pwritev2: return pwritev64v2((int)a[0], (void *)a[1], (int)a[2], a[3], 0);
#endif
    case SYS_ftruncate: return ftruncate64((int)a[0], a[1]);
    case SYS_fsync: return fsync((int)a[0]);
    case SYS_fdatasync: return fdatasync((int)a[0]);
    case SYS_unlinkat: return unlinkat((int)a[0], (char *)a[1], (int)a[2]);
    case SYS_mkdirat: return mkdirat((int)a[0], (char *)a[1], (mode_t)a[2]);
    case SYS_linkat: return linkat((int)a[0], (char *)a[1], (int)a[2], (char *)a[3], (int)a[4]);
    case SYS_fallocate: return fallocate64((int)a[0], (int)a[1], a[2], a[3]);
    case SYS_sendfile: return sendfile64((int)a[0], (int)a[1], (off64_t *)a[2], (size_t)a[3]);
    default: break;
  }
  return real_syscall(number, a[0], a[1], a[2], a[3], a[4], a[5]);
}

/*
 * An addon for Node.js: a process that has loaded and warmed everything makes children by fork(), each of which goes on from there.
 * Node must run with --single-threaded --v8-pool-size=0: a child has none of its parent's threads. Written against Node-API by hand, so
 * that no headers are needed.
 */
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

typedef struct napi_env__ *napi_env;
typedef struct napi_value__ *napi_value;
typedef struct napi_callback_info__ *napi_callback_info;
typedef napi_value (*napi_callback)(napi_env, napi_callback_info);
struct uv_loop_s;
extern int napi_create_int32(napi_env, int32_t, napi_value *);
extern int napi_get_value_int32(napi_env, napi_value, int32_t *);
extern int napi_get_cb_info(napi_env, napi_callback_info, size_t *, napi_value *, napi_value *, void **);
extern int napi_create_function(napi_env, const char *, size_t, napi_callback, void *, napi_value *);
extern int napi_set_named_property(napi_env, napi_value, const char *, napi_value);
extern int napi_get_uv_event_loop(napi_env, struct uv_loop_s **);
extern int uv_loop_fork(struct uv_loop_s *);

enum { ranges_max = 20000 };

/* V8 asks the kernel not to give its pages to children. */
static void give_all_to_children(void) {
  static unsigned long ranges[ranges_max][2];
  size_t count = 0;
  char line[1024];
  char access[8];
  unsigned long from, to;
  FILE *maps = fopen("/proc/self/maps", "r");
  if (maps == NULL) return;
  while (count < ranges_max && fgets(line, sizeof line, maps) != NULL)
    if (sscanf(line, "%lx-%lx %7s", &from, &to, access) == 3 && access[3] == 'p') {
      ranges[count][0] = from;
      ranges[count++][1] = to;
    }
  fclose(maps);
  for (size_t i = 0; i < count; i++)
    madvise((void *)ranges[i][0], ranges[i][1] - ranges[i][0], MADV_DOFORK);
}

static napi_value number(napi_env env, int32_t value) {
  napi_value result;
  napi_create_int32(env, value, &result);
  return result;
}

/* The child's number in the parent; in the child minus its own. A child does not outlive its parent. */
static napi_value make_child(napi_env env, napi_callback_info info) {
  (void)info;
  struct uv_loop_s *loop;
  napi_get_uv_event_loop(env, &loop);
  give_all_to_children();
  pid_t parent = getpid();
  pid_t child = fork();
  if (child != 0) return number(env, child);
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (getppid() != parent || uv_loop_fork(loop) != 0) _exit(1);
  return number(env, -(int32_t)getpid());
}

/* Kills a child with SIGKILL and waits for its end: the wait status, -1 where there is no such child. */
static napi_value kill_child(napi_env env, napi_callback_info info) {
  size_t count = 1;
  napi_value argument;
  int32_t child = 0;
  int status = 0;
  napi_get_cb_info(env, info, &count, &argument, NULL, NULL);
  napi_get_value_int32(env, argument, &child);
  if (child <= 0) return number(env, -1);
  kill(child, SIGKILL);
  return number(env, waitpid(child, &status, 0) == child ? status : -1);
}

napi_value napi_register_module_v1(napi_env env, napi_value exports) {
  napi_value function;
  napi_create_function(env, "fork", 4, make_child, NULL, &function);
  napi_set_named_property(env, exports, "fork", function);
  napi_create_function(env, "kill", 4, kill_child, NULL, &function);
  napi_set_named_property(env, exports, "kill", function);
  return exports;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* A step allocates nothing and asks the system for nothing but futexes: neither the allocator's
 * lock nor the kernel can then make a token wait. Each variant runs in a child process that first
 * warms up and then gets a filter of system calls, for all of its threads, that turns every call
 * but a futex into a signal; the allocator of this program counts while the filter is on. What was
 * seen is left in memory that parent and child share, because a filtered process cannot even write.
 *
 * A sanitizer has its own allocator and makes calls of its own, so there is nothing to see then. */
#include "tests/support/sanitizers.h"
#include "tests/worker/support_demo.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#ifdef SANITIZED

static void steps_call_nobody(void **state) {
    (void)state;
    print_message("skipped: a sanitizer allocates and calls the system itself\n");
    skip();
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(steps_call_nobody)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

#else

#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

/* Shared with the child; texts are constants of the program, at the same address in both. */
struct watch {
    atomic_bool on;
    const char *_Atomic phase;
    atomic_uint n_allocations;
    const char *_Atomic allocator; /* the first function that was called */
    atomic_bool called;
    atomic_long call; /* number of the first system call that was not a futex */
    bool unavailable; /* the system allows no filter */
    char error[ERROR_TEXT_MAX];
};

static struct watch *watch; /* NULL until main has made it */

/* glibc's own names, for programs that replace the public ones. */
void *__libc_malloc(size_t bytes);
void *__libc_calloc(size_t n, size_t bytes);
void *__libc_realloc(void *old, size_t bytes);
void *__libc_memalign(size_t alignment, size_t bytes);
void __libc_free(void *p);

static void count(const char *function) {
    if (!watch || !atomic_load(&watch->on))
        return;
    if (atomic_fetch_add(&watch->n_allocations, 1) == 0)
        atomic_store(&watch->allocator, function);
}

void *malloc(size_t bytes) {
    count("malloc");
    return __libc_malloc(bytes);
}

void *calloc(size_t n, size_t bytes) {
    count("calloc");
    return __libc_calloc(n, bytes);
}

void *realloc(void *old, size_t bytes) {
    count("realloc");
    return __libc_realloc(old, bytes);
}

void *aligned_alloc(size_t alignment, size_t bytes) {
    count("aligned_alloc");
    return __libc_memalign(alignment, bytes);
}

int posix_memalign(void **out, size_t alignment, size_t bytes) {
    count("posix_memalign");
    *out = __libc_memalign(alignment, bytes);
    return *out ? 0 : ENOMEM;
}

void free(void *p) {
    count("free");
    __libc_free(p);
}

/* The child's end: a call has been made that must not be made. */
static void on_call(int signal, siginfo_t *info, void *context) {
    (void)signal, (void)context;
    if (!atomic_exchange(&watch->called, true))
        atomic_store(&watch->call, info->si_syscall);
    _exit(0);
}

/* From here on the child may only compute, wait for its threads, and end. */
static void begin_watch(void) {
    struct sock_filter rules[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_futex, 3, 0),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_exit_group, 2, 0),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_rt_sigreturn, 1, 0),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_TRAP),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {.len = sizeof rules / sizeof rules[0], .filter = rules};
    struct sigaction action = {.sa_sigaction = on_call, .sa_flags = SA_SIGINFO};
    sigaction(SIGSYS, &action, NULL);
    atomic_store(&watch->on, true);
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 ||
        syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, &program) != 0) {
        watch->unavailable = true;
        _exit(0);
    }
}

/* Runs `work` in a child and waits for it. What it does after begin_watch is in *watch. */
static void watch_child(void (*work)(const void *), const void *arg) {
    memset(watch, 0, sizeof *watch);
    fflush(NULL);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        work(arg);
        _exit(0);
    }
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    if (watch->unavailable) {
        print_message("skipped: this system allows no filter of system calls\n");
        skip();
    }
    if (watch->error[0])
        fail_msg("%s", watch->error);
    if (status != 0)
        fail_msg("the child ended with wait status %d", status);
    assert_true(atomic_load(&watch->on));
}

/* The name of a call that a step might come to make. */
static const char *call_name(long call) {
    static const struct {
        long call;
        const char *name;
    } names[] = {
        {SYS_brk, "brk"},
        {SYS_mmap, "mmap"},
        {SYS_munmap, "munmap"},
        {SYS_mremap, "mremap"},
        {SYS_madvise, "madvise"},
        {SYS_mprotect, "mprotect"},
        {SYS_clock_gettime, "clock_gettime"},
        {SYS_clock_nanosleep, "clock_nanosleep"},
        {SYS_sched_yield, "sched_yield"},
        {SYS_sched_getaffinity, "sched_getaffinity"},
        {SYS_getcpu, "getcpu"},
        {SYS_getrandom, "getrandom"},
        {SYS_read, "read"},
        {SYS_pread64, "pread"},
        {SYS_write, "write"},
        {SYS_openat, "openat"},
        {SYS_getppid, "getppid"},
    };
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (names[i].call == call)
            return names[i].name;
    }
    return "a system call";
}

#define N_SEQS        4
#define PROMPT_TOKENS 300 /* more than one split of attention, and no whole number of pages */
#define STEP_TOKENS   128
#define DECODE_STEPS  24 /* into the next page */

static struct demo demo;
static int32_t tokens[PROMPT_TOKENS];

static void ignore_logits(void *user, uint32_t rows_idx, uint32_t token_idx, const float *logits) {
    (void)user, (void)rows_idx, (void)token_idx, (void)logits;
}

/* A step and the multi-token block behind it, as in speculative decoding. */
static void run_step(struct engine *engine, const struct step_rows *rows, uint32_t n_rows) {
    struct step step = {.rows = rows, .n_rows = n_rows, .sink = ignore_logits};
    struct error err;
    enum status status = engine_step(engine, &step, &err);
    if (status == OK)
        status = engine_mtp_step(engine, &step, &err);
    if (status != OK) {
        memcpy(watch->error, err.text, sizeof watch->error);
        _exit(0);
    }
}

/* Prompts of one sequence, its decoding, then steps that mix both for several sequences. */
static void run_phases(struct engine *engine, const uint32_t seqs[N_SEQS]) {
    atomic_store(&watch->phase, "prefill");
    for (uint32_t at = 0; at < PROMPT_TOKENS; at += STEP_TOKENS) {
        uint32_t left = PROMPT_TOKENS - at;
        run_step(engine,
                 &(struct step_rows){.seq = seqs[0],
                                     .tokens = tokens + at,
                                     .n_tokens = left < STEP_TOKENS ? left : STEP_TOKENS,
                                     .n_outputs = 1},
                 1);
    }
    atomic_store(&watch->phase, "decode");
    for (uint32_t i = 0; i < DECODE_STEPS; i++)
        run_step(engine,
                 &(struct step_rows){
                     .seq = seqs[0], .tokens = tokens + i, .n_tokens = 1, .n_outputs = 1},
                 1);
    atomic_store(&watch->phase, "several sequences");
    for (uint32_t i = 0; i < 3; i++) {
        struct step_rows rows[N_SEQS];
        for (uint32_t s = 0; s < N_SEQS; s++) {
            uint32_t n = s == 0 || i == 2 ? 1 : 10 * s + i;
            rows[s] =
                (struct step_rows){.seq = seqs[s], .tokens = tokens, .n_tokens = n, .n_outputs = 1};
        }
        run_step(engine, rows, N_SEQS);
    }
}

/* In the child; `arg` is the name of the kernels. The warm-up has its own sequences, because to
 * clear one is to give its memory back, which is a system call. */
static void step_under_watch(const void *arg) {
    struct engine_options options = {.hp = &demo.model.hp,
                                     .weights = &demo.model.weights,
                                     .unused_ids = demo.model.unused_ids,
                                     .kernels = arg,
                                     .n_threads = 2,
                                     .ctx_size = 512,
                                     .n_seqs = 2 * N_SEQS,
                                     .n_step_tokens = STEP_TOKENS,
                                     .kv_dtype_auto = true};
    struct engine *engine = NULL;
    struct error err;
    uint32_t seqs[2 * N_SEQS];
    enum status status = engine_open(&engine, &options, &err);
    for (uint32_t i = 0; i < 2 * N_SEQS && status == OK; i++)
        status = engine_seq_open(engine, &seqs[i], &err);
    if (status != OK) {
        memcpy(watch->error, err.text, sizeof watch->error);
        _exit(0);
    }
    run_phases(engine, seqs);
    begin_watch();
    run_phases(engine, seqs + N_SEQS);
}

static void check_steps(const char *kernels) {
    if (!kernels_run_here(kernels))
        skip();
    watch_child(step_under_watch, kernels);
    if (atomic_load(&watch->called))
        fail_msg("%s, %s: %s (number %ld)", kernels, atomic_load(&watch->phase),
                 call_name(atomic_load(&watch->call)), atomic_load(&watch->call));
    if (atomic_load(&watch->n_allocations) > 0)
        fail_msg("%s, up to %s: %u calls of the allocator, the first of %s", kernels,
                 atomic_load(&watch->phase), atomic_load(&watch->n_allocations),
                 atomic_load(&watch->allocator));
    assert_string_equal(atomic_load(&watch->phase), "several sequences");
}

static void steps_of_the_reference_call_nobody(void **state) {
    (void)state;
    check_steps("ref");
}

static void steps_of_avx2_call_nobody(void **state) {
    (void)state;
    check_steps("avx2");
}

static void steps_of_avx512_call_nobody(void **state) {
    (void)state;
    check_steps("avx512");
}

static void allocate(const void *arg) {
    (void)arg;
    begin_watch();
    void *volatile p = malloc(16);
    free(p);
}

static void nothing_task(void *arg, uint32_t thread_idx, uint32_t n_threads) {
    (void)arg, (void)thread_idx, (void)n_threads;
}

static void ask_in_a_helper_task(void *arg, uint32_t thread_idx, uint32_t n_threads) {
    (void)arg, (void)n_threads;
    if (thread_idx == 1)
        syscall(SYS_getppid);
}

static void ask_in_a_helper(const void *arg) {
    (void)arg;
    struct thread_pool *pool = NULL;
    struct thread_pool_options options = {.n_threads = 2};
    struct error err;
    if (thread_pool_open(&pool, &options, &err) != OK)
        _exit(1);
    thread_pool_run(pool, nothing_task, NULL); /* a thread begins with calls of its own */
    begin_watch();
    thread_pool_run(pool, ask_in_a_helper_task, NULL);
}

/* A watch that sees nothing would let everything pass. */
static void the_watch_sees_allocations_and_calls(void **state) {
    (void)state;
    watch_child(allocate, NULL);
    assert_int_equal(atomic_load(&watch->n_allocations), 2);
    assert_string_equal(atomic_load(&watch->allocator), "malloc");
    watch_child(ask_in_a_helper, NULL);
    assert_true(atomic_load(&watch->called));
    assert_int_equal(atomic_load(&watch->call), SYS_getppid);
}

static int open_demo(void **state) {
    (void)state;
    void *shared =
        mmap(NULL, sizeof *watch, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (shared == MAP_FAILED)
        return 1;
    watch = shared;
    demo_open(&demo, true);
    for (size_t i = 0; i < PROMPT_TOKENS; i++)
        tokens[i] = (int32_t)(i * 37 % demo.model.n_real_ids);
    return 0;
}

static int close_demo(void **state) {
    (void)state;
    demo_close(&demo);
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_watch_sees_allocations_and_calls),
        cmocka_unit_test(steps_of_the_reference_call_nobody),
        cmocka_unit_test(steps_of_avx2_call_nobody),
        cmocka_unit_test(steps_of_avx512_call_nobody),
    };
    return cmocka_run_group_tests(tests, open_demo, close_demo);
}

#endif

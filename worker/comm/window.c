/* SPDX-License-Identifier: Apache-2.0 */
/* A file without a name (memfd), mapped in two pieces:
 *
 *     control | common                 never moves: whoever aborts needs no lock to find it
 *     part 0 | part 1 | ...            mapped anew by every window_resize
 *
 * A meeting place counts arrivals; who comes last resets the count and raises `turn`, on which the
 * others wait. Bit 0 of a turn says that the group was aborted and is never cleared: a rank that is
 * about to sleep when that happens finds the word changed, so no wake-up is lost. Each rank also
 * notes for which turn it has come, so that those who did not can be named. Nothing is locked: a
 * rank that is killed anywhere leaves the words as they are. */
#include "worker/comm/window.h"

#include "base/clock.h"
#include "base/size.h"
#include "worker/comm/window_handover.h"

#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define PAGE_BYTES      4096u
#define HUGE_PAGE_BYTES (2u << 20)
#define TURN_ABORTED    1u
#define TURN_STEP       2u

/* As long as a thread of the pool spins: ranks that do the same work come closer to each other than
 * this, and sleeping costs as much. */
#define SPIN_NS 80000

/* Rounds between two looks at the clock. The core is offered then as well: the system may have put
 * the rank that is waited for on this very core, because it saw only one of the two run at a time,
 * and would leave it there until we sleep. (Two cores, two ranks: 82 us per message of 1 KB without
 * the offer, 1 us with it.) */
#define SPIN_LOOK_EVERY 64

struct meeting {
    _Alignas(64) _Atomic uint32_t turn;
    _Atomic uint32_t n_sleeping;
    _Alignas(64) _Atomic uint32_t n_arrived;
    _Alignas(64) _Atomic uint32_t arrived[WINDOW_RANKS_MAX]; /* the turn each waits for, at last */
};

struct control {
    struct meeting meetings[WINDOW_BARRIERS_MAX];
    _Atomic bool aborted;
    _Atomic uint32_t resized[WINDOW_RANKS_MAX]; /* enum status of each rank's window_resize */
};

/* One mapping: of one rank, or of all ranks that are threads of this process. */
struct mapping {
    _Atomic uint32_t n_users;
    bool shared;
    int fd;
    struct control *control;
    unsigned char *common;
    uint64_t fixed_bytes; /* control and common; where parts begin in the file */
    unsigned char *parts; /* NULL: there are none */
    uint64_t parts_bytes;
};

struct window {
    struct mapping *map;
    uint32_t n_ranks, rank_idx, first_rank, timeout_ms;
    uint64_t bytes_each;
    bool spin;
};

static inline void cpu_relax(void) {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#else
    atomic_signal_fence(memory_order_seq_cst);
#endif
}

static void futex_wait_until(_Atomic uint32_t *word, uint32_t seen, uint64_t deadline_ns) {
    struct timespec until = {.tv_sec = (time_t)(deadline_ns / 1000000000u),
                             .tv_nsec = (long)(deadline_ns % 1000000000u)};
    syscall(SYS_futex, word, FUTEX_WAIT_BITSET, seen, &until, NULL, FUTEX_BITSET_MATCH_ANY);
}

static void futex_wake_all(_Atomic uint32_t *word) {
    syscall(SYS_futex, word, FUTEX_WAKE, INT_MAX, NULL, NULL, 0);
}

/* ---- memory ---- */

static void mapping_release(struct mapping *map) {
    if (!map || atomic_fetch_sub(&map->n_users, 1) != 1)
        return;
    if (map->parts)
        munmap(map->parts, map->parts_bytes);
    if (map->control)
        munmap(map->control, map->fixed_bytes);
    if (map->fd >= 0)
        close(map->fd);
    free(map);
}

#define CONTROL_BYTES align_up(sizeof(struct control), 64)

/* Parts begin on a huge page, where the system has such for shared memory. */
static uint64_t fixed_bytes(const struct window_options *options) {
    return align_up(CONTROL_BYTES + options->common_bytes, HUGE_PAGE_BYTES);
}

static enum status make_memory(int *out, const struct window_options *options, struct error *err) {
    int fd = memfd_create("shoal", MFD_CLOEXEC);
    if (fd >= 0 && ftruncate(fd, (off_t)fixed_bytes(options)) == 0) {
        *out = fd;
        return OK;
    }
    error_set(err, ERR_NOMEM, "shared memory: %s", strerror(errno));
    if (fd >= 0)
        close(fd);
    return ERR_NOMEM;
}

/* The mapping takes `fd`, also when it fails. */
static enum status mapping_open(struct mapping **out, int fd, const struct window_options *options,
                                bool shared, struct error *err) {
    struct mapping *map = calloc(1, sizeof *map);
    if (!map) {
        close(fd);
        return error_set(err, ERR_NOMEM, "no memory for a window");
    }
    *map = (struct mapping){.n_users = shared ? options->n_ranks : 1,
                            .shared = shared,
                            .fd = fd,
                            .fixed_bytes = fixed_bytes(options)};
    void *fixed = mmap(NULL, map->fixed_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (fixed == MAP_FAILED) {
        int reason = errno;
        close(fd);
        free(map);
        return error_set(err, ERR_NOMEM, "shared memory: %s", strerror(reason));
    }
    map->control = fixed;
    map->common = (unsigned char *)fixed + CONTROL_BYTES;
    *out = map;
    return OK;
}

/* Pages come from the rank that uses them, so that they lie in its part of a NUMA machine, and they
 * come now: a step must not wait for pages, and want of memory must be an error, not a signal. */
static bool take_pages(void *begin, uint64_t bytes) {
    if (bytes == 0)
        return true;
    madvise(begin, bytes, MADV_HUGEPAGE); /* only asked for: many systems give shared memory none */
    if (madvise(begin, bytes, MADV_POPULATE_WRITE) == 0)
        return true;
    if (errno != EINVAL) /* before Linux 5.14 there is no such call */
        return false;
    memset(begin, 0, bytes);
    return true;
}

static bool map_parts(struct mapping *map, uint64_t bytes) {
    map->parts_bytes = bytes;
    if (bytes == 0)
        return true;
    void *parts =
        mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, map->fd, (off_t)map->fixed_bytes);
    map->parts = parts == MAP_FAILED ? NULL : parts;
    return map->parts;
}

static void unmap_parts(struct mapping *map) {
    if (map->parts)
        munmap(map->parts, map->parts_bytes);
    map->parts = NULL;
}

/* Between two barriers, so that nobody looks at parts. Cutting the file first gives old pages back
 * and makes the new ones zero. */
static enum status resize_file(struct mapping *map, uint64_t parts_bytes) {
    if (ftruncate(map->fd, (off_t)map->fixed_bytes) != 0 ||
        ftruncate(map->fd, (off_t)(map->fixed_bytes + parts_bytes)) != 0)
        return ERR_NOMEM;
    return OK;
}

enum status window_resize(struct window *window, uint64_t bytes_each, struct error *err) {
    struct mapping *map = window->map;
    _Atomic uint32_t *resized = map->control->resized;
    uint64_t each = align_up(bytes_each, PAGE_BYTES), parts_bytes;
    bool maps = !map->shared || window->rank_idx == 0;
    if (each < bytes_each || !size_mul(each, window->n_ranks, &parts_bytes) ||
        parts_bytes > INT64_MAX - map->fixed_bytes)
        return error_set(err, ERR_LIMIT, "%llu bytes of shared memory for each of %u ranks",
                         (unsigned long long)bytes_each, window->n_ranks);
    TRY(window_barrier(window, 0, 0, window->n_ranks, err));
    if (maps)
        unmap_parts(map);
    enum status status = OK;
    if (window->rank_idx == 0) {
        status = resize_file(map, parts_bytes);
        if (!status && map->shared && !map_parts(map, parts_bytes))
            status = ERR_NOMEM;
        atomic_store(&resized[0], (uint32_t)status);
    }
    TRY(window_barrier(window, 0, 0, window->n_ranks, err));
    status = (enum status)atomic_load(&resized[0]);
    if (!status && !map->shared && !map_parts(map, parts_bytes))
        status = ERR_NOMEM;
    window->bytes_each = each;
    if (!status && !take_pages(window_part(window, window->rank_idx), each))
        status = ERR_NOMEM;
    if (status || window->rank_idx != 0)
        atomic_store(&resized[window->rank_idx], (uint32_t)status);
    TRY(window_barrier(window, 0, 0, window->n_ranks, err));
    for (uint32_t i = 0; i < window->n_ranks; i++) {
        if (atomic_load(&resized[i]) != OK)
            return error_set(err, ERR_NOMEM,
                             "rank %u: no %llu bytes of shared memory for each of %u ranks",
                             window->first_rank + i, (unsigned long long)each, window->n_ranks);
    }
    return OK;
}

/* ---- opening ---- */

static enum status check_options(const struct window_options *options, struct error *err) {
    if (options->n_ranks < 1 || options->n_ranks > WINDOW_RANKS_MAX)
        return error_set(err, ERR_LIMIT, "%u ranks on one node: 1 to %u are possible",
                         options->n_ranks, WINDOW_RANKS_MAX);
    if (strlen(options->name) > WINDOW_NAME_MAX)
        return error_set(err, ERR_LIMIT, "window name '%s': at most %u bytes are possible",
                         options->name, WINDOW_NAME_MAX);
    if (options->common_bytes > INT32_MAX)
        return error_set(err, ERR_LIMIT, "%llu common bytes of shared memory: at most %d",
                         (unsigned long long)options->common_bytes, INT32_MAX);
    return OK;
}

static struct window *window_make(struct mapping *map, const struct window_options *options,
                                  uint32_t rank_idx) {
    struct window *window = calloc(1, sizeof *window);
    if (window)
        *window = (struct window){.map = map,
                                  .n_ranks = options->n_ranks,
                                  .rank_idx = rank_idx,
                                  .first_rank = options->first_rank,
                                  .timeout_ms = options->timeout_ms,
                                  .spin = options->spin};
    return window;
}

enum status window_open(struct window **out, const struct window_options *options,
                        struct error *err) {
    TRY(check_options(options, err));
    uint64_t deadline_ns = clock_ns() + (uint64_t)options->timeout_ms * 1000000u;
    struct mapping *map = NULL;
    int fd;
    if (options->rank_idx == 0) {
        TRY(make_memory(&fd, options, err));
        TRY(mapping_open(&map, fd, options, false, err));
        enum status status =
            options->n_ranks > 1 ? window_hand_out(fd, options, deadline_ns, err) : OK;
        if (status) {
            mapping_release(map);
            return status;
        }
    } else {
        TRY(window_take(&fd, options, deadline_ns, err));
        TRY(mapping_open(&map, fd, options, false, err));
    }
    struct window *window = window_make(map, options, options->rank_idx);
    if (!window) {
        mapping_release(map);
        return error_set(err, ERR_NOMEM, "no memory for a window");
    }
    enum status status = window_resize(window, options->bytes_each, err);
    if (status)
        window_close(window);
    else
        *out = window;
    return status;
}

enum status window_open_threads(struct window **out, const struct window_options *options,
                                struct error *err) {
    TRY(check_options(options, err));
    struct mapping *map = NULL;
    int fd;
    TRY(make_memory(&fd, options, err));
    TRY(mapping_open(&map, fd, options, true, err));
    uint64_t each = align_up(options->bytes_each, PAGE_BYTES), parts_bytes;
    bool fits = size_mul(each, options->n_ranks, &parts_bytes) &&
                resize_file(map, parts_bytes) == OK && map_parts(map, parts_bytes) &&
                take_pages(map->parts, parts_bytes);
    uint32_t n_made = 0;
    for (; fits && n_made < options->n_ranks; n_made++) {
        out[n_made] = window_make(map, options, n_made);
        if (!out[n_made])
            break;
        out[n_made]->bytes_each = each;
    }
    if (n_made == options->n_ranks)
        return OK;
    for (uint32_t i = 0; i < n_made; i++)
        free(out[i]);
    atomic_store(&map->n_users, 1);
    mapping_release(map);
    return error_set(err, ERR_NOMEM, "no memory for the windows of %u threads", options->n_ranks);
}

void window_close(struct window *window) {
    if (!window)
        return;
    mapping_release(window->map);
    free(window);
}

void *window_part(const struct window *window, uint32_t rank_idx) {
    assert(rank_idx < window->n_ranks);
    unsigned char *parts = window->map->parts;
    return parts ? parts + rank_idx * window->bytes_each : NULL;
}

uint64_t window_bytes_each(const struct window *window) {
    return window->bytes_each;
}

void *window_common(const struct window *window) {
    return window->map->common;
}

/* ---- meeting ---- */

static enum status missing_ranks(const struct window *window, const struct meeting *meeting,
                                 uint32_t turn, uint64_t ranks, struct error *err) {
    char names[128] = "";
    size_t used = 0;
    uint32_t n_missing = 0;
    for (uint32_t i = 0; i < window->n_ranks; i++) {
        if (!(ranks >> i & 1) || atomic_load(&meeting->arrived[i]) == turn)
            continue;
        n_missing++;
        if (used < sizeof names - 16)
            used +=
                (size_t)snprintf(names + used, sizeof names - used, " %u", window->first_rank + i);
    }
    return error_set(err, ERR_COMM, "%s%s did not come within %u ms",
                     n_missing == 1 ? "rank" : "ranks", names, window->timeout_ms);
}

/* Until the turn is over or the group aborted; false when the deadline passed. */
static bool wait_turn(const struct window *window, struct meeting *meeting, uint32_t seen) {
    uint64_t begin_ns = 0;
    for (uint32_t round = 0; window->spin; round++) {
        if (atomic_load_explicit(&meeting->turn, memory_order_acquire) != seen)
            return true;
        cpu_relax();
        if (round % SPIN_LOOK_EVERY != 0)
            continue;
        uint64_t now = clock_ns();
        begin_ns = begin_ns ? begin_ns : now;
        if (now - begin_ns >= SPIN_NS)
            break;
        sched_yield();
    }
    uint64_t deadline_ns = clock_ns() + (uint64_t)window->timeout_ms * 1000000u;
    while (atomic_load(&meeting->turn) == seen) {
        if (clock_ns() >= deadline_ns)
            return false;
        atomic_fetch_add(&meeting->n_sleeping, 1);
        futex_wait_until(&meeting->turn, seen, deadline_ns);
        atomic_fetch_sub(&meeting->n_sleeping, 1);
    }
    return true;
}

enum status window_meet(struct window *window, uint32_t set, uint64_t ranks, struct error *err) {
    assert(set < WINDOW_BARRIERS_MAX && (ranks >> window->rank_idx & 1));
    struct meeting *meeting = &window->map->control->meetings[set];
    if (window_is_aborted(window))
        return error_set(err, ERR_CANCELLED, "the worker group was ended");
    uint32_t seen = atomic_load_explicit(&meeting->turn, memory_order_relaxed);
    atomic_store_explicit(&meeting->arrived[window->rank_idx], seen + TURN_STEP,
                          memory_order_relaxed);
    uint32_t n_ranks = (uint32_t)__builtin_popcountll(ranks);
    if (atomic_fetch_add(&meeting->n_arrived, 1) + 1 == n_ranks) {
        atomic_store(&meeting->n_arrived, 0);
        atomic_fetch_add(&meeting->turn, TURN_STEP);
        if (atomic_load(&meeting->n_sleeping))
            futex_wake_all(&meeting->turn);
        return OK;
    }
    if (!wait_turn(window, meeting, seen))
        return missing_ranks(window, meeting, seen + TURN_STEP, ranks, err);
    if ((atomic_load(&meeting->turn) & ~TURN_ABORTED) == seen)
        return error_set(err, ERR_CANCELLED, "the worker group was ended");
    return OK;
}

enum status window_barrier(struct window *window, uint32_t set, uint32_t begin, uint32_t end,
                           struct error *err) {
    assert(begin < end && end <= window->n_ranks);
    uint64_t ranks = (UINT64_MAX >> (64 - (end - begin))) << begin;
    return window_meet(window, set, ranks, err);
}

void window_set_timeout(struct window *window, uint32_t timeout_ms) {
    window->timeout_ms = timeout_ms;
}

void window_abort(struct window *window) {
    struct control *control = window->map->control;
    atomic_store(&control->aborted, true); /* first: who is woken must find the whole group so */
    for (uint32_t i = 0; i < WINDOW_BARRIERS_MAX; i++) {
        struct meeting *meeting = &control->meetings[i];
        atomic_fetch_or(&meeting->turn, TURN_ABORTED);
        futex_wake_all(&meeting->turn);
    }
}

bool window_is_aborted(const struct window *window) {
    return atomic_load(&window->map->control->aborted);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Shared memory of a node: ranks are processes here, as they are at work, made by fork. A child
 * answers with its exit code; what it was asked to do stands in the test. */
#include "worker/comm/window.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <dirent.h>
#include <sys/wait.h>
#include <unistd.h>

#define RANKS 4

typedef int rank_fn(struct window *window, uint32_t rank_idx);

/* Unique to the test and the process, so that tests may run beside each other. */
static void name_window(char *name, const char *test) {
    snprintf(name, WINDOW_NAME_MAX, "shoal-test-%s-%ld", test, (long)getpid());
}

static struct window_options options_of(const char *name, uint32_t rank_idx) {
    return (struct window_options){.name = name,
                                   .n_ranks = RANKS,
                                   .rank_idx = rank_idx,
                                   .first_rank = 10,
                                   .bytes_each = 10000,
                                   .common_bytes = 256,
                                   .timeout_ms = 10000,
                                   .spin = rank_idx % 2 == 0};
}

static pid_t start_rank(const char *name, uint32_t rank_idx, uint32_t timeout_ms, rank_fn *fn) {
    pid_t pid = fork();
    if (pid != 0)
        return pid;
    struct window_options options = options_of(name, rank_idx);
    options.timeout_ms = timeout_ms;
    struct window *window = NULL;
    struct error err;
    int code = 99;
    if (window_open(&window, &options, &err) == OK)
        code = fn(window, rank_idx);
    else
        fprintf(stderr, "rank %u: %s\n", rank_idx, err.text);
    window_close(window);
    _exit(code);
}

static int exit_code_of(pid_t pid) {
    int status = -1;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

/* All ranks run fn; the test fails with the code of one that did not return 0. */
static void run_ranks(const char *test, rank_fn *fn) {
    char name[WINDOW_NAME_MAX];
    name_window(name, test);
    pid_t pids[RANKS];
    for (uint32_t i = 0; i < RANKS; i++)
        pids[i] = start_rank(name, i, 10000, fn);
    for (uint32_t i = 0; i < RANKS; i++)
        assert_int_equal(exit_code_of(pids[i]), 0);
}

/* ---- what ranks do ---- */

static int pass_values_around(struct window *window, uint32_t rank_idx) {
    struct error err;
    uint32_t *own = window_part(window, rank_idx);
    if ((uintptr_t)own % 4096 != 0 || own[0] != 0 || own[2499] != 0)
        return 1;
    for (uint32_t round = 1; round <= 2000; round++) {
        own[0] = round * 100 + rank_idx;
        if (window_barrier(window, 0, 0, RANKS, &err))
            return 2;
        for (uint32_t i = 0; i < RANKS; i++) {
            if (*(uint32_t *)window_part(window, i) != round * 100 + i)
                return 3;
        }
        if (window_barrier(window, 0, 0, RANKS, &err))
            return 4;
    }
    return 0;
}

/* Pairs meet apart: the first pair 300 times for each meeting of the second. */
static int meet_in_pairs(struct window *window, uint32_t rank_idx) {
    struct error err;
    uint32_t begin = rank_idx / 2 * 2;
    uint32_t n_rounds = begin == 0 ? 3000 : 10;
    volatile uint32_t *own = window_part(window, rank_idx);
    volatile uint32_t *other = window_part(window, begin + (rank_idx + 1) % 2);
    for (uint32_t round = 1; round <= n_rounds; round++) {
        own[round % 2] = round;
        if (window_barrier(window, 1 + begin / 2, begin, begin + 2, &err))
            return 1;
        if (other[round % 2] != round)
            return 2;
    }
    return window_barrier(window, 0, 0, RANKS, &err) ? 3 : 0;
}

static int grow_and_shrink(struct window *window, uint32_t rank_idx) {
    struct error err;
    static const uint64_t sizes[] = {1u << 20, 0, 4096, 5u << 20, 1};
    uint32_t *common = window_common(window);
    common[rank_idx] = 7 + rank_idx;
    for (size_t s = 0; s < sizeof sizes / sizeof sizes[0]; s++) {
        if (window_resize(window, sizes[s], &err))
            return 1;
        uint64_t each = window_bytes_each(window);
        if (each < sizes[s] || each % 4096 != 0)
            return 2;
        unsigned char *own = window_part(window, rank_idx);
        for (uint64_t i = 0; i < each; i++) {
            if (own[i] != 0)
                return 3;
        }
        if (each)
            memset(own, (int)(s * 16 + rank_idx + 1), each);
        if (window_barrier(window, 0, 0, RANKS, &err))
            return 4;
        for (uint32_t i = 0; each && i < RANKS; i++) {
            unsigned char *part = window_part(window, i);
            if (part[0] != s * 16 + i + 1 || part[each - 1] != s * 16 + i + 1)
                return 5;
        }
        for (uint32_t i = 0; i < RANKS; i++) {
            if (common[i] != 7 + i)
                return 6;
        }
    }
    return 0;
}

/* Rank 2 of the node stays away from the third barrier. */
static int miss_a_barrier(struct window *window, uint32_t rank_idx) {
    struct error err;
    for (uint32_t round = 0; round < 3; round++) {
        if (round == 2 && rank_idx == 2) {
            usleep(1500000);
            return 0;
        }
        enum status status = window_barrier(window, 0, 0, RANKS, &err);
        if (round < 2 && status)
            return 1;
        if (round == 2)
            return status == ERR_COMM && strcmp(err.text, "rank 12 did not come within 500 ms") == 0
                       ? 0
                       : 2;
    }
    return 3;
}

/* Rank 3 aborts while the others wait, or before. */
static int abort_others(struct window *window, uint32_t rank_idx) {
    struct error err;
    if (rank_idx == 3) {
        usleep(100000);
        window_abort(window);
    } else if (window_barrier(window, 0, 0, RANKS, &err) != ERR_CANCELLED) {
        return 1;
    }
    if (!window_is_aborted(window))
        return 2;
    return window_barrier(window, 5, rank_idx, rank_idx + 1, &err) == ERR_CANCELLED ? 0 : 3;
}

static int wait_for_killed(struct window *window, uint32_t rank_idx) {
    struct error err;
    if (window_barrier(window, 0, 0, RANKS, &err))
        return 1;
    if (rank_idx == 1)
        raise(SIGKILL);
    enum status status = window_barrier(window, 0, 0, RANKS, &err);
    return status == ERR_COMM && strstr(err.text, "rank 11 did not come") ? 0 : 2;
}

/* ---- tests ---- */

static void ranks_see_what_others_wrote_before_a_barrier(void **state) {
    (void)state;
    run_ranks("values", pass_values_around);
}

static void sets_of_ranks_meet_apart_from_each_other(void **state) {
    (void)state;
    run_ranks("pairs", meet_in_pairs);
}

static void parts_of_another_size_are_zero_and_the_common_area_stays(void **state) {
    (void)state;
    run_ranks("resize", grow_and_shrink);
}

static void a_missing_rank_is_named(void **state) {
    (void)state;
    char name[WINDOW_NAME_MAX];
    name_window(name, "missing");
    pid_t pids[RANKS];
    for (uint32_t i = 0; i < RANKS; i++)
        pids[i] = start_rank(name, i, 500, miss_a_barrier);
    for (uint32_t i = 0; i < RANKS; i++)
        assert_int_equal(exit_code_of(pids[i]), 0);
}

static void an_abort_ends_all_waits_now_and_later(void **state) {
    (void)state;
    run_ranks("abort", abort_others);
}

/* Files with the window's name, where shared memory and sockets could leave something. */
static uint32_t count_files(const char *name) {
    static const char *const folders[] = {"/dev/shm", "/tmp", "/dev/mqueue"};
    uint32_t n = 0;
    for (size_t i = 0; i < sizeof folders / sizeof folders[0]; i++) {
        DIR *dir = opendir(folders[i]);
        for (struct dirent *entry; dir && (entry = readdir(dir));)
            n += strstr(entry->d_name, name) != NULL;
        if (dir)
            closedir(dir);
    }
    return n;
}

static bool socket_is_listed(const char *name) {
    FILE *list = fopen("/proc/net/unix", "r");
    char line[512];
    bool found = false;
    while (list && fgets(line, sizeof line, list))
        found = found || strstr(line, name);
    if (list)
        fclose(list);
    return found;
}

static void a_killed_rank_is_named_and_leaves_nothing(void **state) {
    (void)state;
    char name[WINDOW_NAME_MAX];
    name_window(name, "kill");
    pid_t pids[RANKS];
    for (uint32_t i = 0; i < RANKS; i++)
        pids[i] = start_rank(name, i, 1000, wait_for_killed);
    for (uint32_t i = 0; i < RANKS; i++)
        assert_int_equal(exit_code_of(pids[i]), i == 1 ? 128 + SIGKILL : 0);
    assert_int_equal(count_files(name), 0);
    assert_false(socket_is_listed(name));
}

static void opening_names_ranks_that_do_not_come(void **state) {
    (void)state;
    char name[WINDOW_NAME_MAX];
    name_window(name, "lonely");
    struct window_options options = options_of(name, 0);
    options.timeout_ms = 300;
    struct window *window = NULL;
    struct error err;
    assert_int_equal(window_open(&window, &options, &err), ERR_COMM);
    assert_string_equal(err.text, "ranks 11 12 13 did not come to share memory within 300 ms");
    options.rank_idx = 2;
    assert_int_equal(window_open(&window, &options, &err), ERR_COMM);
    assert_non_null(strstr(err.text, "rank 10 does not share its memory"));
}

static int reach_nothing(struct window *window, uint32_t rank_idx) {
    (void)window, (void)rank_idx;
    return 1;
}

static void a_rank_with_other_options_is_refused(void **state) {
    (void)state;
    char name[WINDOW_NAME_MAX];
    name_window(name, "options");
    pid_t pid = start_rank(name, 1, 5000, reach_nothing);
    struct window_options options = options_of(name, 0);
    options.bytes_each = 20000;
    struct window *window = NULL;
    struct error err;
    assert_int_equal(window_open(&window, &options, &err), ERR_COMM);
    assert_non_null(strstr(err.text, "rank 11 expects 4 ranks from 10 on, 10000 and 256 bytes"));
    assert_int_equal(exit_code_of(pid), 99);
}

static void impossible_options_are_refused(void **state) {
    (void)state;
    struct window_options options = options_of("n", 0);
    struct window *window = NULL;
    struct error err;
    options.n_ranks = WINDOW_RANKS_MAX + 1;
    assert_int_equal(window_open(&window, &options, &err), ERR_LIMIT);
    options.n_ranks = 1;
    options.bytes_each = UINT64_MAX;
    assert_int_equal(window_open(&window, &options, &err), ERR_LIMIT);
    options.bytes_each = 10;
    assert_int_equal(window_open(&window, &options, &err), OK);
    assert_int_equal(window_barrier(window, 0, 0, 1, &err), OK);
    window_close(window);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ranks_see_what_others_wrote_before_a_barrier),
        cmocka_unit_test(sets_of_ranks_meet_apart_from_each_other),
        cmocka_unit_test(parts_of_another_size_are_zero_and_the_common_area_stays),
        cmocka_unit_test(a_missing_rank_is_named),
        cmocka_unit_test(an_abort_ends_all_waits_now_and_later),
        cmocka_unit_test(a_killed_rank_is_named_and_leaves_nothing),
        cmocka_unit_test(opening_names_ranks_that_do_not_come),
        cmocka_unit_test(a_rank_with_other_options_is_refused),
        cmocka_unit_test(impossible_options_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Both ends of the handover, each in a process: streams, signals, the exit status, and deaths. */
#include "cli/handover.h"

#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define DEADLINE_MS 20000

static void await(int fd) {
    struct pollfd poll_fd = {.fd = fd, .events = POLLIN};
    assert_int_equal(poll(&poll_fd, 1, DEADLINE_MS), 1);
}

/* Rank 0 of these tests: says hello on both streams, waits for SIGUSR1, leaves with its status. */
static void be_rank0(const char *name, int code) {
    struct receiver *receiver = NULL;
    struct error err;
    FILE *messages = NULL;
    sigset_t usr1;
    int got = 0;
    alarm(DEADLINE_MS / 1000);
    sigemptyset(&usr1);
    sigaddset(&usr1, SIGUSR1);
    sigprocmask(SIG_BLOCK, &usr1, NULL);
    if (receiver_open(&receiver, name, &messages, &err) != OK)
        _exit(99);
    dprintf(STDOUT_FILENO, "out");
    fprintf(messages, "err");
    sigwait(&usr1, &got);
    receiver_close(receiver, code);
    _exit(0);
}

/* The launcher: its output goes to a pipe, whose reading end is *out. */
static pid_t start_rank0(struct handover *h, int code, int *out) {
    struct error err;
    int ends[2], stdout_before = dup(STDOUT_FILENO), stderr_before = dup(STDERR_FILENO);
    assert_int_equal(handover_open(h, &err), OK);
    assert_int_equal(pipe(ends), 0);
    fflush(stdout);
    pid_t rank0 = fork();
    if (rank0 == 0)
        be_rank0(h->name, code);
    await(h->listener);
    dup2(ends[1], STDOUT_FILENO);
    dup2(ends[1], STDERR_FILENO);
    handover_give(h);
    dup2(stdout_before, STDOUT_FILENO);
    dup2(stderr_before, STDERR_FILENO);
    close(stdout_before);
    close(stderr_before);
    close(ends[1]);
    *out = ends[0];
    assert_true(h->peer >= 0);
    assert_true(h->listener < 0);
    return rank0;
}

static void streams_signals_and_the_status_pass(void **state) {
    (void)state;
    struct handover h;
    int out, code = -1, wait_status;
    char text[16] = "";
    pid_t rank0 = start_rank0(&h, 143, &out);
    for (size_t n = 0; n < 6;) {
        ssize_t got = read(out, text + n, sizeof text - 1 - n);
        assert_true(got > 0);
        n += (size_t)got;
    }
    assert_string_equal(text, "outerr");
    handover_signal(&h, SIGUSR1);
    do
        await(h.peer);
    while (handover_hear(&h, &code));
    assert_int_equal(code, 143);
    assert_true(h.peer < 0);
    assert_int_equal(waitpid(rank0, &wait_status, 0), rank0);
    assert_true(WIFEXITED(wait_status) && WEXITSTATUS(wait_status) == 0);
    close(out);
    handover_close(&h);
}

static void a_rank_that_dies_has_no_status(void **state) {
    (void)state;
    struct handover h;
    int out, code = -1;
    pid_t rank0 = start_rank0(&h, 0, &out);
    kill(rank0, SIGKILL);
    do
        await(h.peer);
    while (handover_hear(&h, &code));
    assert_int_equal(code, -1);
    waitpid(rank0, NULL, 0);
    close(out);
    handover_close(&h);
}

static void a_launcher_that_dies_is_a_sigterm(void **state) {
    (void)state;
    struct handover h;
    int out, wait_status;
    pid_t rank0 = start_rank0(&h, 0, &out);
    handover_close(&h);
    assert_int_equal(waitpid(rank0, &wait_status, 0), rank0);
    assert_true(WIFSIGNALED(wait_status) && WTERMSIG(wait_status) == SIGTERM);
    close(out);
}

static void nobody_listens_is_an_error(void **state) {
    (void)state;
    struct receiver *receiver;
    FILE *messages;
    struct error err;
    assert_int_equal(receiver_open(&receiver, "shoal-launch-of-nobody", &messages, &err), ERR_IO);
    assert_non_null(strstr(err.text, "shoal-launch-of-nobody"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(streams_signals_and_the_status_pass),
        cmocka_unit_test(a_rank_that_dies_has_no_status),
        cmocka_unit_test(a_launcher_that_dies_is_a_sigterm),
        cmocka_unit_test(nobody_listens_is_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

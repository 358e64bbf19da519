/* SPDX-License-Identifier: Apache-2.0 */
/* Pipes and poll: a child that writes much and reads little must not block on us. */
#include "tests/integration/support_process.h"

#include "base/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

extern char **environ;

const char *shoal_program(void) {
    return SHOAL_PROGRAM;
}

static void read_some(struct pollfd *from, struct text *to) {
    char bytes[65536];
    ssize_t n = read(from->fd, bytes, sizeof bytes);
    if (n > 0) {
        text_add(to, span_make(bytes, (size_t)n));
    } else if (n == 0 || errno != EINTR) {
        close(from->fd);
        from->fd = -1;
    }
}

static void write_some(struct pollfd *to, struct span *input) {
    ssize_t n = input->len ? write(to->fd, input->data, input->len) : 0;
    if (n > 0)
        *input = span_from(*input, (size_t)n);
    if (input->len == 0 || (n < 0 && errno != EINTR && errno != EAGAIN)) {
        close(to->fd);
        to->fd = -1;
    }
}

/* Feeds and drains the child until it has closed its outputs. */
static void converse(pid_t child, int in, int out, int err, struct span input, unsigned deadline_s,
                     struct process_result *result) {
    struct pollfd fds[3] = {{.fd = in, .events = POLLOUT},
                            {.fd = out, .events = POLLIN},
                            {.fd = err, .events = POLLIN}};
    uint64_t begin = clock_ns();
    fcntl(in, F_SETFL, O_NONBLOCK);
    while (fds[1].fd >= 0 || fds[2].fd >= 0) {
        if (clock_seconds_since(begin) > deadline_s) {
            kill(child, SIGKILL);
            waitpid(child, NULL, 0);
            fail_msg("no end after %u s", deadline_s);
        }
        if (poll(fds, 3, 1000) <= 0)
            continue;
        if (fds[0].fd >= 0 && fds[0].revents)
            write_some(&fds[0], &input);
        if (fds[1].fd >= 0 && fds[1].revents)
            read_some(&fds[1], &result->out);
        if (fds[2].fd >= 0 && fds[2].revents)
            read_some(&fds[2], &result->err);
    }
    if (fds[0].fd >= 0)
        close(fds[0].fd);
}

void process_run(const char *const *argv, const char *input, unsigned deadline_s,
                 struct process_result *result) {
    int in[2], out[2], err[2];
    *result = (struct process_result){0};
    signal(SIGPIPE, SIG_IGN);
    assert_int_equal(pipe2(in, O_CLOEXEC) | pipe2(out, O_CLOEXEC) | pipe2(err, O_CLOEXEC), 0);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        dup2(in[0], 0);
        dup2(out[1], 1);
        dup2(err[1], 2);
        execvp(argv[0], (char *const *)(uintptr_t)argv);
        _exit(127);
    }
    close(in[0]);
    close(out[1]);
    close(err[1]);
    converse(child, in[1], out[0], err[0], span_of(input ? input : ""), deadline_s, result);
    int status;
    struct rusage usage;
    assert_int_equal(wait4(child, &status, 0, &usage), child);
    result->exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    result->max_rss_bytes = (uint64_t)usage.ru_maxrss * 1024;
}

void process_result_free(struct process_result *result) {
    text_free(&result->out);
    text_free(&result->err);
}

void test_directory(char path[64]) {
    snprintf(path, 64, "/tmp/shoal-test-XXXXXX");
    assert_non_null(mkdtemp(path));
}

static int remove_one(const char *path, const struct stat *info, int flag, struct FTW *ftw) {
    (void)info, (void)flag, (void)ftw;
    return remove(path);
}

void test_directory_remove(const char *path) {
    nftw(path, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

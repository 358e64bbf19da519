/* SPDX-License-Identifier: Apache-2.0 */
/* The child stays in our process group, so that Ctrl-C and Ctrl-Z of a terminal reach it without
 * us; signals that came from elsewhere are told apart by their origin. */
#include "cli/rerun.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

struct child {
    pid_t pid;
    int out, signals;
    int signo; /* that came; 0: none */
};

static void become_child(const struct rerun *what, pid_t parent, int out, const sigset_t *mask) {
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    sigprocmask(SIG_SETMASK, mask, NULL);
    int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
    dup2(null, STDIN_FILENO);
    dup2(out, STDOUT_FILENO);
    if (getppid() == parent)
        execve("/proc/self/exe", (char *const *)(uintptr_t)what->argv,
               (char *const *)(uintptr_t)what->environment);
    _exit(127);
}

static void read_signals(struct child *c) {
    struct signalfd_siginfo info;
    while (read(c->signals, &info, sizeof info) == (ssize_t)sizeof info) {
        c->signo = (int)info.ssi_signo;
        if (info.ssi_code != SI_KERNEL) /* not of the terminal */
            kill(c->pid, c->signo);
    }
}

/* Until the child, and whoever it gave its output to, has closed it. */
static enum status collect(struct child *c, struct text *out, struct error *err) {
    for (;;) {
        struct pollfd fds[] = {{.fd = c->out, .events = POLLIN},
                               {.fd = c->signals, .events = POLLIN}};
        if (poll(fds, 2, -1) < 0 && errno != EINTR)
            return error_set(err, ERR_IO, "poll: %s", strerror(errno));
        if (fds[1].revents)
            read_signals(c);
        if (!fds[0].revents)
            continue;
        char *to = text_reserve(out, 65536);
        if (!to)
            return error_set(err, ERR_NOMEM, "no memory for the output of a child");
        ssize_t n = read(c->out, to, 65536);
        if (n == 0)
            return OK;
        if (n > 0)
            text_grew(out, (size_t)n);
        else if (errno != EINTR)
            return error_set(err, ERR_IO, "read: %s", strerror(errno));
    }
}

static enum status start(const struct rerun *what, struct child *c, const sigset_t *mask,
                         struct error *err) {
    int pipe_fds[2];
    if (pipe2(pipe_fds, O_CLOEXEC) != 0)
        return error_set(err, ERR_IO, "pipe: %s", strerror(errno));
    pid_t parent = getpid();
    c->out = pipe_fds[0];
    c->pid = fork();
    if (c->pid == 0)
        become_child(what, parent, pipe_fds[1], mask);
    close(pipe_fds[1]);
    if (c->pid > 0)
        return OK;
    close(c->out);
    return error_set(err, ERR_IO, "fork: %s", strerror(errno));
}

enum status rerun(const struct rerun *what, struct text *out, int *code, struct error *err) {
    struct child c = {0};
    int wait_status = 0;
    sigset_t signals, before;
    sigemptyset(&signals);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGHUP);
    c.signals = signalfd(-1, &signals, SFD_NONBLOCK | SFD_CLOEXEC);
    if (c.signals < 0)
        return error_set(err, ERR_IO, "signalfd: %s", strerror(errno));
    sigprocmask(SIG_BLOCK, &signals, &before);
    enum status status = start(what, &c, &before, err);
    if (status == OK) {
        status = collect(&c, out, err);
        close(c.out);
        if (status != OK) /* nobody reads any more */
            kill(c.pid, SIGTERM);
        while (waitpid(c.pid, &wait_status, 0) < 0 && errno == EINTR)
            ;
        read_signals(&c);
    }
    close(c.signals);
    sigprocmask(SIG_SETMASK, &before, NULL);
    *code = WIFEXITED(wait_status) ? WEXITSTATUS(wait_status) : 128 + WTERMSIG(wait_status);
    if (c.signo)
        *code = 128 + c.signo;
    return status;
}

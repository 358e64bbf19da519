/* SPDX-License-Identifier: Apache-2.0 */
/* One loop over descriptors: our signals, rank 0's connection, what mpirun says. */
#include "cli/launch.h"

#include "base/clock.h"
#include "cli/bench.h"
#include "cli/handover.h"
#include "cli/launch_line.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#define SAID_BYTES_MAX (64u << 10) /* of mpirun's messages, the last ones */

/* Once rank 0 is gone the others end by themselves and mpirun says so after a second or two. What
 * is still there then is asked to end, and then made to. */
#define END_GRACE_NS  (6 * 1000000000ull)
#define TERM_GRACE_NS (3 * 1000000000ull)

struct launch {
    struct cli *cli;
    struct launch_line line;
    struct handover handover;
    struct termios term; /* as it was, where has_term */
    bool has_term;
    sigset_t mask_before;
    int signals;      /* signalfd */
    int pipe;         /* what mpirun and ranks other than 0 say; -1: closed */
    struct text said; /* the last SAID_BYTES_MAX of it */
    pid_t mpirun;
    int wait_status;      /* of mpirun */
    int code;             /* rank 0's exit status; -1: it has not said one */
    int signo;            /* that ended us before rank 0 was there; 0: none */
    bool met_rank0;       /* it was there */
    uint64_t deadline_ns; /* for mpirun to end; 0: none */
    bool was_asked;       /* mpirun was sent SIGTERM */
};

bool launch_is_wanted(const struct cli *cli) {
    const struct options *o = cli->options;
    if (!cli->may_launch || !option_belongs(OPT_HOSTFILE, o->command) || bench_starts_groups(o))
        return false;
    return options_int(o, OPT_WORKERS) > 1 || options_is_set(o, OPT_HOSTFILE);
}

/* ---- the child ---- */

static void become_mpirun(const struct launch *l, pid_t parent, int pipe_write, int failure) {
    prctl(PR_SET_PDEATHSIG, SIGTERM); /* however we end, the group does */
    sigprocmask(SIG_SETMASK, &l->mask_before, NULL);
    signal(SIGPIPE, SIG_DFL);
    if (pipe_write >= 0) {
        setpgid(0, 0); /* Ctrl-C is for us to hear */
        int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
        dup2(null, STDIN_FILENO);
        dup2(pipe_write, STDOUT_FILENO);
        dup2(pipe_write, STDERR_FILENO);
    }
    if (getppid() == parent)
        execvpe(l->line.argv[0], l->line.argv, l->line.environment);
    int why = errno;
    (void)!write(failure, &why, sizeof why);
    _exit(127);
}

/* Whether exec worked comes through a pipe that it closes. */
static enum status start_mpirun(struct launch *l, struct error *err) {
    int said[2] = {-1, -1}, failure[2] = {-1, -1}, why = 0;
    if (pipe2(failure, O_CLOEXEC) != 0 ||
        (l->line.is_here && pipe2(said, O_CLOEXEC | O_NONBLOCK) != 0)) {
        error_set(err, ERR_IO, "pipe: %s", strerror(errno));
        goto done;
    }
    if (said[1] >= 0) /* its other end must block as any standard output does */
        fcntl(said[1], F_SETFL, fcntl(said[1], F_GETFL) & ~O_NONBLOCK);
    pid_t parent = getpid();
    l->mpirun = fork();
    if (l->mpirun == 0)
        become_mpirun(l, parent, said[1], failure[1]);
    if (l->mpirun < 0) {
        error_set(err, ERR_IO, "fork: %s", strerror(errno));
        goto done;
    }
    close(failure[1]);
    failure[1] = -1;
    if (read(failure[0], &why, sizeof why) == (ssize_t)sizeof why) {
        waitpid(l->mpirun, NULL, 0);
        l->mpirun = -1;
        error_set(err, ERR_UNSUPPORTED, "mpirun: %s%s", strerror(why),
                  why == ENOENT ? " (several workers need Open MPI: openmpi-bin)" : "");
        goto done;
    }
    l->pipe = said[0];
    said[0] = -1;
done:
    for (int i = 0; i < 2; i++) {
        if (said[i] >= 0)
            close(said[i]);
        if (failure[i] >= 0)
            close(failure[i]);
    }
    return l->mpirun > 0 ? OK : err->status;
}

/* ---- while it runs ---- */

static void end_within(struct launch *l, uint64_t ns) {
    if (!l->deadline_ns)
        l->deadline_ns = clock_ns() + ns;
}

static void ask_to_end(struct launch *l) {
    kill(l->mpirun, SIGTERM);
    l->was_asked = true;
    l->deadline_ns = clock_ns() + TERM_GRACE_NS;
}

static void on_deadline(struct launch *l) {
    if (!l->was_asked) {
        ask_to_end(l);
        return;
    }
    kill(-l->mpirun, SIGKILL);
    kill(l->mpirun, SIGKILL);
    l->deadline_ns = 0;
}

/* A second SIGTERM does not wait for rank 0 to react to the first. */
static void on_signal(struct launch *l, int signo) {
    if (signo == SIGCHLD)
        return; /* it only wakes us */
    bool ends = signo != SIGWINCH;
    if (l->handover.peer >= 0 && !(signo == SIGTERM && l->signo == SIGTERM))
        handover_signal(&l->handover, signo);
    else if (ends && !l->was_asked)
        ask_to_end(l);
    if (ends)
        l->signo = signo;
}

static void read_signals(struct launch *l) {
    struct signalfd_siginfo info;
    while (read(l->signals, &info, sizeof info) == (ssize_t)sizeof info)
        on_signal(l, (int)info.ssi_signo);
}

static void read_said(struct launch *l) {
    for (;;) {
        char *to = text_reserve(&l->said, 4096);
        ssize_t n = to ? read(l->pipe, to, 4096) : 0;
        if (n < 0 && errno == EAGAIN)
            return;
        if (n <= 0) {
            close(l->pipe);
            l->pipe = -1;
            return;
        }
        text_grew(&l->said, (size_t)n);
        if (l->said.len > SAID_BYTES_MAX)
            text_drop_front(&l->said, l->said.len - SAID_BYTES_MAX);
    }
}

static bool has_ended(struct launch *l) {
    return waitpid(l->mpirun, &l->wait_status, WNOHANG) == l->mpirun;
}

static void supervise(struct launch *l) {
    while (!has_ended(l)) {
        struct pollfd fds[] = {{.fd = l->signals, .events = POLLIN},
                               {.fd = l->handover.listener, .events = POLLIN},
                               {.fd = l->handover.peer, .events = POLLIN},
                               {.fd = l->pipe, .events = POLLIN}};
        uint64_t now = clock_ns();
        int wait_ms = -1;
        if (l->deadline_ns)
            wait_ms = l->deadline_ns > now ? (int)((l->deadline_ns - now) / 1000000 + 1) : 0;
        if (poll(fds, sizeof fds / sizeof fds[0], wait_ms) < 0 && errno != EINTR)
            break;
        if (fds[0].revents)
            read_signals(l);
        if (fds[1].revents) {
            handover_give(&l->handover);
            l->met_rank0 = l->met_rank0 || l->handover.peer >= 0;
        }
        if (fds[2].revents && !handover_hear(&l->handover, &l->code))
            end_within(l, END_GRACE_NS);
        if (fds[3].revents)
            read_said(l);
        if (l->deadline_ns && clock_ns() >= l->deadline_ns)
            on_deadline(l);
    }
}

/* ---- its end ---- */

/* Ranks that outlived mpirun have become our children (PR_SET_CHILD_SUBREAPER). */
static void kill_leftovers(void) {
    for (int round = 0; round < 1000; round++) {
        char line[4096];
        FILE *file = fopen("/proc/thread-self/children", "re");
        if (!file)
            return;
        bool any = fgets(line, sizeof line, file) != NULL;
        fclose(file);
        if (!any)
            return;
        for (char *at = line; *at && *at != '\n';) {
            pid_t pid = (pid_t)strtol(at, &at, 10);
            if (pid > 0 && kill(pid, SIGKILL) == 0)
                waitpid(pid, NULL, 0);
            at += strspn(at, " ");
        }
    }
}

static void take_terminal_back(const struct launch *l) {
    if (!l->handover.gives_term)
        return;
    sigset_t ttou;
    sigemptyset(&ttou);
    sigaddset(&ttou, SIGTTOU);
    sigprocmask(SIG_BLOCK, &ttou, NULL);
    tcsetpgrp(STDIN_FILENO, getpgrp());
    if (l->has_term) /* rank 0 may have been killed while it edited a line */
        tcsetattr(STDIN_FILENO, TCSADRAIN, &l->term);
}

/* The lines that came by mpirun; returns whether there were any. */
static bool show_lines(struct launch *l, bool only_ours) {
    bool any = false;
    struct span rest = text_span(&l->said);
    while (rest.len) {
        const char *end = memchr(rest.data, '\n', rest.len);
        size_t n = end ? (size_t)(end - rest.data) : rest.len;
        if (!only_ours || span_starts_with(span_make(rest.data, n), "shoal: ")) {
            fprintf(l->cli->err, "%.*s\n", (int)n, rest.data);
            any = true;
        }
        rest = span_from(rest, n + (end != NULL));
    }
    return any;
}

static void show_all(const struct launch *l) {
    if (l->said.len)
        fwrite(l->said.data, 1, l->said.len, l->cli->err);
}

/* Lines of ours explain, or else the one in which mpirun says who died; if there are none of these,
 * everything that mpirun said is shown. Returns whether one was found. */
static bool show_said(const struct launch *l) {
    static const char *const marks[] = {"shoal: ", "mpirun noticed that process rank"};
    for (size_t i = 0; i < sizeof marks / sizeof marks[0]; i++) {
        bool by_mpirun = i == 1, found = false;
        struct span rest = text_span(&l->said);
        while (rest.len && !(by_mpirun && found)) {
            const char *end = memchr(rest.data, '\n', rest.len);
            size_t n = end ? (size_t)(end - rest.data) : rest.len;
            if (span_starts_with(span_make(rest.data, n), marks[i])) {
                const char *prefix = by_mpirun ? "shoal: error: " : "";
                fprintf(l->cli->err, "%s%.*s\n", prefix, (int)n, rest.data);
                found = true;
            }
            rest = span_from(rest, n + (end != NULL));
        }
        if (found)
            return true;
    }
    show_all(l);
    return false;
}

static int exit_status(struct launch *l) {
    bool exited = WIFEXITED(l->wait_status);
    int status = exited ? WEXITSTATUS(l->wait_status) : 128 + WTERMSIG(l->wait_status);
    bool is_verbose = l->cli->log.level >= LOG_DEBUG;
    if (l->code >= 0 && is_verbose)
        show_all(l);
    else if (l->code == CLI_WORKER_LOST)
        show_lines(l, true); /* of a rank 0 that is lost itself another rank tells */
    if (l->code == CLI_OK || (l->code > 0 && l->signo != SIGTERM))
        return l->code;
    if (!l->line.is_here)
        return status;
    if (l->signo)
        return 128 + l->signo;
    if (l->met_rank0 && (status == CLI_INTERRUPTED || status == CLI_TERMINATED))
        return status; /* somebody sent rank 0 the signal */
    bool explained = show_said(l);
    if (!l->met_rank0) {
        if (explained && status == CLI_USAGE)
            return status;
        if (!explained) {
            log_error(&l->cli->log, "the workers did not start (mpirun ended with status %d)",
                      status);
        }
        return CLI_DEVICE;
    }
    return CLI_WORKER_LOST;
}

static enum status open_all(struct launch *l, struct error *err) {
    sigset_t signals;
    sigemptyset(&signals);
    static const int heard[] = {SIGINT, SIGTERM, SIGHUP, SIGWINCH, SIGCHLD};
    for (size_t i = 0; i < sizeof heard / sizeof heard[0]; i++)
        sigaddset(&signals, heard[i]);
    sigprocmask(SIG_BLOCK, &signals, &l->mask_before);
    l->signals = signalfd(-1, &signals, SFD_NONBLOCK | SFD_CLOEXEC);
    if (l->signals < 0)
        return error_set(err, ERR_IO, "signalfd: %s", strerror(errno));
    l->has_term = tcgetattr(STDIN_FILENO, &l->term) == 0;
    prctl(PR_SET_CHILD_SUBREAPER, 1);
    return start_mpirun(l, err);
}

/* The line as somebody would type it; words with blanks or quotes are quoted. */
static int show_line(struct cli *cli, char *const *argv) {
    for (; *argv; argv++) {
        bool plain = **argv && strcspn(*argv, " \t\n'\"\\$`*?[]{}()<>|&;~#!^") == strlen(*argv);
        if (plain) {
            fputs(*argv, cli->out);
        } else {
            fputc('\'', cli->out);
            for (const char *c = *argv; *c; c++) {
                if (*c == '\'')
                    fputs("'\\''", cli->out);
                else
                    fputc(*c, cli->out);
            }
            fputc('\'', cli->out);
        }
        fputc(argv[1] ? ' ' : '\n', cli->out);
    }
    return CLI_OK;
}

int launch_run(struct cli *cli) {
    enum { LAUNCHER_MPIRUN, LAUNCHER_NONE }; /* as in the option's row */
    bool shows = options_choice(cli->options, OPT_LAUNCHER) == LAUNCHER_NONE;
    struct launch l = {.cli = cli, .signals = -1, .pipe = -1, .mpirun = -1, .code = -1};
    struct arena arena = {0};
    struct error err;
    int code;
    enum status status = handover_open(&l.handover, &err);
    if (status == OK)
        status = launch_line_make(&l.line, cli, shows ? NULL : l.handover.name, &arena, &err);
    if (status == OK && !shows)
        status = open_all(&l, &err);
    if (status != OK) {
        code = status == ERR_INPUT ? CLI_USAGE : CLI_DEVICE;
        log_error(&cli->log, "%s", err.text);
    } else if (shows) {
        code = show_line(cli, l.line.argv);
    } else {
        supervise(&l);
        if (l.pipe >= 0)
            read_said(&l);
        if (l.handover.peer >= 0)
            handover_hear(&l.handover, &l.code);
        kill_leftovers();
        take_terminal_back(&l);
        code = exit_status(&l);
    }
    if (l.pipe >= 0)
        close(l.pipe);
    if (l.signals >= 0)
        close(l.signals);
    handover_close(&l.handover);
    text_free(&l.said);
    arena_free(&arena);
    return code;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* The descriptor never blocks: asking costs one system call per generated token. */
#include "cli/interrupt.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

enum status interrupt_open(struct interrupt *interrupt, struct error *err) {
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGINT);
    interrupt->fd = signalfd(-1, &signals, SFD_NONBLOCK | SFD_CLOEXEC);
    if (interrupt->fd < 0)
        return error_set(err, ERR_IO, "signalfd: %s", strerror(errno));
    sigprocmask(SIG_BLOCK, &signals, NULL);
    return OK;
}

void interrupt_close(struct interrupt *interrupt) {
    interrupt_came(interrupt); /* what is pending now must not end the program later */
    close(interrupt->fd);
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGINT);
    sigprocmask(SIG_UNBLOCK, &signals, NULL);
}

bool interrupt_came(const struct interrupt *interrupt) {
    struct signalfd_siginfo info;
    bool came = false;
    while (read(interrupt->fd, &info, sizeof info) == sizeof info)
        came = true;
    return came;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Both ends in one file, because they are one protocol: the launcher sends `greeting` with the
 * descriptors and then one byte per signal; rank 0 sends one `farewell`. Messages keep their
 * borders (SOCK_SEQPACKET). */
#include "cli/handover.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <termios.h>
#include <unistd.h>

#define N_STREAMS 3u

struct greeting {
    uint8_t is_open[N_STREAMS]; /* a stream that the launcher's caller closed stays closed */
    uint8_t gives_term;
};

struct farewell {
    uint8_t code;
};

/* Abstract: the first byte of the path is 0, and the name ends with the address. */
static socklen_t address_of(const char *name, struct sockaddr_un *address) {
    size_t n = strlen(name);
    if (n > sizeof address->sun_path - 1)
        n = sizeof address->sun_path - 1;
    *address = (struct sockaddr_un){.sun_family = AF_UNIX};
    memcpy(address->sun_path + 1, name, n);
    return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + n);
}

/* Nobody of another user gets our terminal, or gives us his. */
static bool is_our_user(int fd) {
    struct ucred peer;
    socklen_t size = sizeof peer;
    return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0 && peer.uid == geteuid();
}

/* ---- the launcher ---- */

enum status handover_open(struct handover *h, struct error *err) {
    uint64_t random;
    struct sockaddr_un address;
    *h = (struct handover){.listener = -1, .peer = -1};
    if (getrandom(&random, sizeof random, 0) != (ssize_t)sizeof random)
        return error_set(err, ERR_IO, "getrandom: %s", strerror(errno));
    snprintf(h->name, sizeof h->name, "shoal-launch-%d-%016" PRIx64, (int)getpid(), random);
    socklen_t size = address_of(h->name, &address);
    h->listener = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (h->listener < 0 || bind(h->listener, (struct sockaddr *)&address, size) != 0 ||
        listen(h->listener, 4) != 0) {
        error_set(err, ERR_IO, "socket for the terminal of rank 0: %s", strerror(errno));
        handover_close(h);
        return err->status;
    }
    return OK;
}

void handover_close(struct handover *h) {
    if (h->listener >= 0)
        close(h->listener);
    if (h->peer >= 0)
        close(h->peer);
    h->listener = h->peer = -1;
}

/* Only who is in the foreground may give the terminal away: `shoal run --workers 2 &` may not. */
static bool owns_terminal(void) {
    return isatty(STDIN_FILENO) && tcgetpgrp(STDIN_FILENO) == getpgrp();
}

static bool send_streams(int to, bool gives_term) {
    struct greeting greeting = {.gives_term = gives_term};
    int fds[N_STREAMS];
    size_t n = 0;
    for (int fd = 0; fd < (int)N_STREAMS; fd++) {
        greeting.is_open[fd] = fcntl(fd, F_GETFD) >= 0;
        if (greeting.is_open[fd])
            fds[n++] = fd;
    }
    union {
        struct cmsghdr header;
        char bytes[CMSG_SPACE(sizeof fds)];
    } control = {0};
    struct iovec data = {.iov_base = &greeting, .iov_len = sizeof greeting};
    struct msghdr message = {.msg_iov = &data, .msg_iovlen = 1};
    if (n > 0) {
        message.msg_control = &control;
        message.msg_controllen = CMSG_SPACE(n * sizeof fds[0]);
        control.header = (struct cmsghdr){.cmsg_len = CMSG_LEN(n * sizeof fds[0]),
                                          .cmsg_level = SOL_SOCKET,
                                          .cmsg_type = SCM_RIGHTS};
        memcpy(CMSG_DATA(&control.header), fds, n * sizeof fds[0]);
    }
    return sendmsg(to, &message, MSG_NOSIGNAL) == (ssize_t)sizeof greeting;
}

void handover_give(struct handover *h) {
    int peer = accept4(h->listener, NULL, NULL, SOCK_CLOEXEC);
    if (peer < 0)
        return;
    bool gives_term = owns_terminal();
    if (!is_our_user(peer) || !send_streams(peer, gives_term)) {
        close(peer);
        return;
    }
    close(h->listener);
    h->listener = -1;
    h->peer = peer;
    h->gives_term = gives_term;
}

void handover_signal(const struct handover *h, int signo) {
    uint8_t byte = (uint8_t)signo;
    if (h->peer >= 0) /* if it has just gone, handover_hear will say so */
        (void)!send(h->peer, &byte, sizeof byte, MSG_NOSIGNAL | MSG_DONTWAIT);
}

bool handover_hear(struct handover *h, int *code) {
    struct farewell farewell;
    ssize_t n = recv(h->peer, &farewell, sizeof farewell, MSG_DONTWAIT);
    if (n == (ssize_t)sizeof farewell)
        *code = farewell.code;
    if (n > 0 || (n < 0 && (errno == EAGAIN || errno == EINTR)))
        return true;
    close(h->peer);
    h->peer = -1;
    return false;
}

/* ---- rank 0 ---- */

struct receiver {
    int fd;
    FILE *messages;
    pthread_t thread;
    _Atomic bool has_ended; /* the connection ends because we say so */
};

static void *listen_to_launcher(void *arg) {
    struct receiver *receiver = arg;
    uint8_t signo;
    for (;;) {
        ssize_t n = recv(receiver->fd, &signo, sizeof signo, 0);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            break;
        kill(getpid(), signo);
    }
    if (!atomic_load(&receiver->has_ended))
        kill(getpid(), SIGTERM);
    return NULL;
}

/* A stream that the launcher lacks is closed here too; messages then go nowhere. */
static FILE *open_messages(int fd) {
    FILE *messages = fd >= 0 ? fdopen(fd, "w") : fopen("/dev/null", "we");
    if (messages)
        setvbuf(messages, NULL, _IONBF, 0);
    else if (fd >= 0)
        close(fd);
    return messages;
}

static enum status receive_streams(int from, struct greeting *greeting, FILE **messages,
                                   struct error *err) {
    union {
        struct cmsghdr header;
        char bytes[CMSG_SPACE(N_STREAMS * sizeof(int))];
    } control;
    struct iovec data = {.iov_base = greeting, .iov_len = sizeof *greeting};
    struct msghdr message = {.msg_iov = &data,
                             .msg_iovlen = 1,
                             .msg_control = &control,
                             .msg_controllen = sizeof control};
    if (recvmsg(from, &message, MSG_CMSG_CLOEXEC) != (ssize_t)sizeof *greeting)
        return error_set(err, ERR_IO, "the launcher gave no terminal: %s", strerror(errno));
    int fds[N_STREAMS] = {-1, -1, -1};
    size_t n = 0;
    const struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    if (header && header->cmsg_type == SCM_RIGHTS && header->cmsg_len >= CMSG_LEN(0)) {
        n = (header->cmsg_len - CMSG_LEN(0)) / sizeof fds[0];
        memcpy(fds, CMSG_DATA(header), n * sizeof fds[0]);
    }
    for (int stream = 0, i = 0; stream < (int)N_STREAMS; stream++) {
        int fd = greeting->is_open[stream] && i < (int)n ? fds[i++] : -1;
        if (stream == STDERR_FILENO) {
            *messages = open_messages(fd);
        } else if (fd >= 0) {
            dup2(fd, stream);
            close(fd);
        } else {
            close(stream);
        }
    }
    return *messages ? OK : error_set(err, ERR_NOMEM, "no memory for the launcher's streams");
}

/* mpirun gave us a process group of our own: it becomes the terminal's foreground, so that reading
 * works and Ctrl-C arrives. A group cannot be stopped and continued (its other ranks would take
 * rank 0 for dead), so Ctrl-Z does nothing. */
static void take_terminal(void) {
    sigset_t ttou, before;
    sigemptyset(&ttou);
    sigaddset(&ttou, SIGTTOU);
    pthread_sigmask(SIG_BLOCK, &ttou, &before);
    tcsetpgrp(STDIN_FILENO, getpgrp());
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    signal(SIGTSTP, SIG_IGN);
}

static bool start_listening(struct receiver *receiver) {
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before); /* the thread must not be who gets a signal */
    bool started = pthread_create(&receiver->thread, NULL, listen_to_launcher, receiver) == 0;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return started;
}

enum status receiver_open(struct receiver **out, const char *name, FILE **messages,
                          struct error *err) {
    struct sockaddr_un address;
    socklen_t size = address_of(name, &address);
    struct receiver *receiver = calloc(1, sizeof *receiver);
    if (!receiver)
        return error_set(err, ERR_NOMEM, "no memory");
    enum status status = OK;
    struct greeting greeting;
    receiver->fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    if (receiver->fd < 0 || connect(receiver->fd, (struct sockaddr *)&address, size) != 0)
        status = error_set(err, ERR_IO, "the launcher '%.60s': %s", name, strerror(errno));
    else if (!is_our_user(receiver->fd))
        status = error_set(err, ERR_IO, "the launcher '%.60s' is another user's", name);
    else
        status = receive_streams(receiver->fd, &greeting, &receiver->messages, err);
    if (status == OK && !start_listening(receiver))
        status = error_set(err, ERR_NOMEM, "no thread for the signals of the launcher");
    if (status != OK) {
        if (receiver->messages)
            fclose(receiver->messages);
        if (receiver->fd >= 0)
            close(receiver->fd);
        free(receiver);
        return status;
    }
    if (greeting.gives_term)
        take_terminal();
    *out = receiver;
    *messages = receiver->messages;
    return OK;
}

void receiver_tell(struct receiver *receiver, int code) {
    struct farewell farewell = {.code = (uint8_t)code};
    if (receiver)
        (void)!send(receiver->fd, &farewell, sizeof farewell, MSG_NOSIGNAL);
}

void receiver_close(struct receiver *receiver, int code) {
    if (!receiver)
        return;
    atomic_store(&receiver->has_ended, true);
    receiver_tell(receiver, code);
    shutdown(receiver->fd, SHUT_RD); /* ends the thread */
    pthread_join(receiver->thread, NULL);
    close(receiver->fd);
    fclose(receiver->messages);
    free(receiver);
}

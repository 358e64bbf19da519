/* SPDX-License-Identifier: Apache-2.0 */
/* Sequenced packets: one message each way, never half of one. Everything that arrives comes from a
 * process of ours, but may be of another version or a remainder of another job, so it is checked
 * before it is believed. */
#include "worker/comm/window_handover.h"

#include "base/clock.h"

#include <errno.h>
#include <poll.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define HELLO_MAGIC 0x73686f616c77696eu /* "shoalwin" */
#define REFUSAL_MAX 256
#define RETRY_NS    2000000 /* between two attempts to reach a rank that does not listen yet */
#define POLL_MS_MAX 60000

struct hello {
    uint64_t magic;
    uint32_t n_ranks, rank_idx, first_rank, reserved;
    uint64_t bytes_each, common_bytes;
};

struct answer {
    uint64_t magic;
    struct error outcome; /* the memory comes along if it is OK */
};

static struct hello hello_of(const struct window_options *options) {
    return (struct hello){.magic = HELLO_MAGIC,
                          .n_ranks = options->n_ranks,
                          .rank_idx = options->rank_idx,
                          .first_rank = options->first_rank,
                          .bytes_each = options->bytes_each,
                          .common_bytes = options->common_bytes};
}

/* False if the deadline passed first. */
static bool wait_readable(int fd, uint64_t deadline_ns) {
    for (;;) {
        uint64_t now = clock_ns();
        if (now >= deadline_ns)
            return false;
        uint64_t ms = (deadline_ns - now) / 1000000 + 1;
        struct pollfd poll_fd = {.fd = fd, .events = POLLIN};
        if (poll(&poll_fd, 1, ms < POLL_MS_MAX ? (int)ms : POLL_MS_MAX) > 0)
            return true;
    }
}

/* A name that begins with a zero byte is abstract; it is not terminated. */
static socklen_t abstract_address(struct sockaddr_un *address, const char *name) {
    size_t length = strlen(name);
    *address = (struct sockaddr_un){.sun_family = AF_UNIX};
    memcpy(address->sun_path + 1, name, length);
    return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + length);
}

static bool peer_is_ours(int fd) {
    struct ucred peer;
    socklen_t size = sizeof peer;
    return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0 && peer.uid == geteuid();
}

/* The memory, or why there is none. */
static bool send_answer(int to, const struct error *outcome, int memory) {
    struct answer answer = {.magic = HELLO_MAGIC, .outcome = *outcome};
    struct iovec bytes = {.iov_base = &answer, .iov_len = sizeof answer};
    union {
        struct cmsghdr head;
        char room[CMSG_SPACE(sizeof(int))];
    } control = {.room = {0}};
    struct msghdr message = {.msg_iov = &bytes, .msg_iovlen = 1};
    if (outcome->status == OK) {
        message.msg_control = control.room;
        message.msg_controllen = sizeof control.room;
        struct cmsghdr *head = CMSG_FIRSTHDR(&message);
        head->cmsg_level = SOL_SOCKET;
        head->cmsg_type = SCM_RIGHTS;
        head->cmsg_len = CMSG_LEN(sizeof memory);
        memcpy(CMSG_DATA(head), &memory, sizeof memory);
    }
    return sendmsg(to, &message, MSG_NOSIGNAL) == (ssize_t)sizeof answer;
}

/* ---- the first rank ---- */

static enum status check_hello(const struct hello *hello, const struct window_options *options,
                               const int *peers, struct error *err) {
    struct hello ours = hello_of(options);
    if (hello->rank_idx == 0 || hello->rank_idx >= options->n_ranks)
        return error_set(err, ERR_COMM, "a worker says that it is number %u of %u on its node",
                         hello->rank_idx, hello->n_ranks);
    uint32_t rank = options->first_rank + hello->rank_idx;
    if (peers[hello->rank_idx] >= 0)
        return error_set(err, ERR_COMM, "rank %u came twice", rank);
    ours.rank_idx = hello->rank_idx;
    if (memcmp(&ours, hello, sizeof ours) != 0)
        return error_set(
            err, ERR_COMM,
            "rank %u expects %u ranks from %u on, %llu and %llu bytes of shared "
            "memory; rank %u expects %u from %u on, %llu and %llu",
            rank, hello->n_ranks, hello->first_rank, (unsigned long long)hello->bytes_each,
            (unsigned long long)hello->common_bytes, options->first_rank, options->n_ranks,
            options->first_rank, (unsigned long long)options->bytes_each,
            (unsigned long long)options->common_bytes);
    return OK;
}

static enum status missing_ranks(const struct window_options *options, const int *peers,
                                 struct error *err) {
    char names[128] = "";
    size_t used = 0;
    uint32_t n_missing = 0;
    for (uint32_t i = 1; i < options->n_ranks; i++) {
        if (peers[i] >= 0)
            continue;
        n_missing++;
        if (used < sizeof names - 16)
            used +=
                (size_t)snprintf(names + used, sizeof names - used, " %u", options->first_rank + i);
    }
    return error_set(err, ERR_COMM, "%s%s did not come to share memory within %u ms",
                     n_missing == 1 ? "rank" : "ranks", names, options->timeout_ms);
}

/* peers[i] becomes the connection of rank i of the node. */
static enum status collect_peers(int listener, const struct window_options *options, int *peers,
                                 uint64_t deadline_ns, struct error *err) {
    for (uint32_t n_peers = 1; n_peers < options->n_ranks;) {
        if (!wait_readable(listener, deadline_ns))
            return missing_ranks(options, peers, err);
        int peer = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
        if (peer < 0)
            continue;
        struct hello hello;
        if (!peer_is_ours(peer) || !wait_readable(peer, deadline_ns) ||
            recv(peer, &hello, sizeof hello, 0) != (ssize_t)sizeof hello ||
            hello.magic != HELLO_MAGIC) {
            close(peer); /* whoever it is, it is none of ours */
            continue;
        }
        enum status status = check_hello(&hello, options, peers, err);
        if (status) {
            send_answer(peer, err, -1);
            close(peer);
            return status;
        }
        peers[hello.rank_idx] = peer;
        n_peers++;
    }
    return OK;
}

enum status window_hand_out(int memory, const struct window_options *options, uint64_t deadline_ns,
                            struct error *err) {
    struct sockaddr_un address;
    socklen_t address_size = abstract_address(&address, options->name);
    struct error own = {.status = OK, .text = ""};
    int peers[WINDOW_RANKS_MAX];
    for (uint32_t i = 0; i < WINDOW_RANKS_MAX; i++)
        peers[i] = -1;
    int listener = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    if (listener < 0 || bind(listener, (struct sockaddr *)&address, address_size) != 0 ||
        listen(listener, WINDOW_RANKS_MAX) != 0) {
        error_set(&own, ERR_COMM, "socket '@%s': %s", options->name, strerror(errno));
        goto done;
    }
    collect_peers(listener, options, peers, deadline_ns, &own);
    for (uint32_t i = 1; i < options->n_ranks; i++) {
        if (peers[i] >= 0 && !send_answer(peers[i], &own, memory) && own.status == OK)
            error_set(&own, ERR_COMM, "rank %u left while memory was shared",
                      options->first_rank + i);
    }
done:
    for (uint32_t i = 1; i < options->n_ranks; i++) {
        if (peers[i] >= 0)
            close(peers[i]);
    }
    if (listener >= 0)
        close(listener);
    return own.status ? error_set(err, own.status, "%s", own.text) : OK;
}

/* ---- the others ---- */

/* Until the first rank listens the connection is refused. */
static enum status connect_first(int *out, const struct window_options *options,
                                 uint64_t deadline_ns, struct error *err) {
    struct sockaddr_un address;
    socklen_t address_size = abstract_address(&address, options->name);
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return error_set(err, ERR_IO, "a socket: %s", strerror(errno));
    while (connect(fd, (struct sockaddr *)&address, address_size) != 0) {
        if ((errno != ECONNREFUSED && errno != EINTR) || clock_ns() >= deadline_ns) {
            int reason = errno;
            close(fd);
            return error_set(err, ERR_COMM, "rank %u does not share its memory ('@%s'): %s",
                             options->first_rank, options->name, strerror(reason));
        }
        nanosleep(&(struct timespec){.tv_nsec = RETRY_NS}, NULL);
    }
    if (!peer_is_ours(fd)) {
        close(fd);
        return error_set(err, ERR_COMM, "socket '@%s' belongs to another user", options->name);
    }
    *out = fd;
    return OK;
}

/* The memory, or -1. */
static int receive_answer(int from, struct answer *answer) {
    struct iovec bytes = {.iov_base = answer, .iov_len = sizeof *answer};
    union {
        struct cmsghdr head;
        char room[CMSG_SPACE(sizeof(int))];
    } control = {.room = {0}};
    struct msghdr message = {.msg_iov = &bytes,
                             .msg_iovlen = 1,
                             .msg_control = control.room,
                             .msg_controllen = sizeof control.room};
    ssize_t got = recvmsg(from, &message, MSG_CMSG_CLOEXEC);
    int memory = -1;
    struct cmsghdr *head = CMSG_FIRSTHDR(&message);
    if (got > 0 && head && head->cmsg_level == SOL_SOCKET && head->cmsg_type == SCM_RIGHTS &&
        head->cmsg_len == CMSG_LEN(sizeof memory))
        memcpy(&memory, CMSG_DATA(head), sizeof memory);
    if (got != (ssize_t)sizeof *answer)
        answer->magic = 0;
    answer->outcome.text[ERROR_TEXT_MAX - 1] = '\0';
    return memory;
}

enum status window_take(int *memory, const struct window_options *options, uint64_t deadline_ns,
                        struct error *err) {
    struct hello hello = hello_of(options);
    struct answer answer = {.magic = 0};
    int fd = -1;
    TRY(connect_first(&fd, options, deadline_ns, err));
    enum status status = OK;
    *memory = -1;
    if (send(fd, &hello, sizeof hello, MSG_NOSIGNAL) != (ssize_t)sizeof hello) {
        status =
            error_set(err, ERR_COMM, "rank %u left while memory was shared", options->first_rank);
    } else if (!wait_readable(fd, deadline_ns)) {
        status = error_set(err, ERR_COMM, "rank %u did not share its memory within %u ms",
                           options->first_rank, options->timeout_ms);
    } else {
        *memory = receive_answer(fd, &answer);
        if (answer.magic != HELLO_MAGIC)
            status = error_set(err, ERR_COMM, "rank %u left while memory was shared",
                               options->first_rank);
        else if (answer.outcome.status != OK)
            status = error_set(err, ERR_COMM, "%s", answer.outcome.text);
        else if (*memory < 0)
            status = error_set(err, ERR_COMM, "rank %u sent no memory: no descriptor is free here",
                               options->first_rank);
    }
    if (status && *memory >= 0)
        close(*memory);
    close(fd);
    return status;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Links of several ranks in one process, over real sockets: each has its own thread and loop, and
 * this thread plays the engine thread of all of them. */
#include "worker/link/link.h"

#include "base/clock.h"
#include "base/span.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <arpa/inet.h>
#include <poll.h>
#include <pthread.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#define N_RANKS     4
#define DEADLINE_MS 20000

/* One rank: its link, what it does, and what was called. */
struct node {
    struct group_progress progress;
    struct link *link;
    _Atomic uint32_t n_aborts, n_expired;
    _Atomic bool aborted;
};

struct job {
    struct node nodes[N_RANKS];
    char *lines; /* what the ranks have told */
    size_t lines_len;
    FILE *out;
    struct log log;
    struct link_options options; /* of all ranks; user NULL: each rank's node */
    uint32_t far_node;           /* of the ranks behind rank 1 */
};

static void on_abort(void *user) {
    struct node *node = user;
    atomic_store(&node->aborted, true);
    atomic_fetch_add(&node->n_aborts, 1);
}

static bool is_aborted(void *user) {
    return atomic_load(&((struct node *)user)->aborted);
}

static void on_expire(void *user) {
    atomic_fetch_add(&((struct node *)user)->n_expired, 1);
}

/* Times short enough for a test and long enough for a loaded machine under a sanitizer. */
static void job_init(struct job *job) {
    memset(job, 0, sizeof *job);
    job->out = open_memstream(&job->lines, &job->lines_len);
    job->log = (struct log){.to = job->out, .level = LOG_INFO};
    job->options = (struct link_options){.n_ranks = N_RANKS,
                                         .one_machine = true,
                                         .model_hash = 7,
                                         .log = &job->log,
                                         .heartbeat_ms = 20,
                                         .connect_ms = DEADLINE_MS,
                                         .abort = on_abort,
                                         .is_aborted = is_aborted,
                                         .expire = on_expire};
}

static enum status open_rank(struct job *job, uint32_t r, const struct link_address *address,
                             struct error *err) {
    struct link_options options = job->options;
    options.rank_idx = r;
    options.leader = address;
    options.progress = &job->nodes[r].progress;
    if (!options.user)
        options.user = &job->nodes[r];
    options.node_idx = r > 1 ? job->far_node : 0;
    return link_open(&job->nodes[r].link, &options, err);
}

static void job_open(struct job *job, struct link_address *address) {
    struct error err = {0};
    assert_int_equal(open_rank(job, 0, NULL, &err), OK);
    link_address(job->nodes[0].link, address);
    for (uint32_t r = 1; r < N_RANKS; r++) {
        if (open_rank(job, r, address, &err) != OK)
            fail_msg("rank %u: %s", r, err.text);
    }
    assert_int_equal(link_wait_ranks(job->nodes[0].link, &err), OK);
}

/* Closing waits for others, so ranks close first and the leader last. */
static void job_close(struct job *job) {
    for (uint32_t r = N_RANKS; r-- > 0;) {
        link_close(job->nodes[r].link, NULL);
        job->nodes[r].link = NULL;
    }
    fclose(job->out);
    free(job->lines);
}

static void pause_ms(uint32_t ms) {
    poll(NULL, 0, (int)ms);
}

static void wait_lost(struct link *link, struct error *err) {
    uint64_t begin = clock_ns();
    while (!link_is_lost(link, err)) {
        if (clock_seconds_since(begin) * 1000 > DEADLINE_MS)
            fail_msg("the group is not lost");
        pause_ms(5);
    }
}

static void wait_all_lost(struct job *job) {
    struct error err;
    for (uint32_t r = 0; r < N_RANKS; r++) {
        if (job->nodes[r].link)
            wait_lost(job->nodes[r].link, &err);
    }
}

static void expect_one_line(struct job *job, const char *begin, const char *end) {
    fflush(job->out);
    struct span lines = span_make(job->lines, job->lines_len);
    char first[128];
    snprintf(first, sizeof first, "shoal: error: %s", begin);
    if (!span_starts_with(lines, first) || !span_ends_with(lines, end) ||
        span_find(lines, "\n") != lines.len - 1)
        fail_msg("expected one line '%s...%s', found:\n%.*s", first, end, (int)lines.len,
                 lines.data);
}

static void expect_no_line(struct job *job) {
    fflush(job->out);
    if (job->lines_len)
        fail_msg("found: %s", job->lines);
}

/* The connection of a rank to the leader, without a link around it. */
static int connect_raw(const struct link_address *address) {
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(address->port)};
    assert_int_equal(inet_pton(AF_INET, address->hosts[0], &to.sin_addr), 1);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof to), 0);
    return fd;
}

static void send_frame(int fd, const Control__V1__Frame *message) {
    unsigned char bytes[1024];
    size_t n;
    struct error err = {0};
    if (frame_encode(message, bytes, sizeof bytes, &n, &err) != OK)
        fail_msg("%s", err.text);
    assert_int_equal(send(fd, bytes, n, MSG_NOSIGNAL), n);
}

static void send_hello(int fd, const struct link_address *address, uint32_t rank,
                       uint64_t model_hash) {
    uint8_t token[FRAME_TOKEN_BYTES];
    memcpy(token, address->token, sizeof token);
    Control__V1__Hello hello = CONTROL__V1__HELLO__INIT;
    hello.version = FRAME_VERSION;
    hello.job_token = (ProtobufCBinaryData){.len = sizeof token, .data = token};
    hello.model_hash = model_hash;
    hello.n_ranks = N_RANKS;
    hello.rank = rank;
    hello.pid = 4711;
    hello.host = (ProtobufCBinaryData){.len = 1, .data = (uint8_t[]){'b'}};
    Control__V1__Frame m = CONTROL__V1__FRAME__INIT;
    m.body_case = CONTROL__V1__FRAME__BODY_HELLO;
    m.hello = &hello;
    send_frame(fd, &m);
}

static void send_heartbeat(int fd, enum group_phase phase, uint32_t layer, uint64_t step) {
    Control__V1__Heartbeat heartbeat = CONTROL__V1__HEARTBEAT__INIT;
    heartbeat.phase = (Control__V1__Phase)(phase + 1);
    heartbeat.layer = layer;
    heartbeat.step = step;
    Control__V1__Frame m = CONTROL__V1__FRAME__INIT;
    m.body_case = CONTROL__V1__FRAME__BODY_HEARTBEAT;
    m.heartbeat = &heartbeat;
    send_frame(fd, &m);
}

/* The next frame's kind; 0 at the end of the connection. Heartbeats are passed over. */
static int receive_kind(int fd, struct frame_reader *reader, char text[FRAME_TEXT_MAX + 1]) {
    static struct frame_memory memory;
    struct error err = {0};
    for (;;) {
        struct span frame;
        const Control__V1__Frame *m;
        assert_int_equal(frame_reader_next(reader, &frame, &err), OK);
        if (frame.data) {
            assert_int_equal(frame_decode(frame, &memory, &m, &err), OK);
            text[0] = '\0';
            if (m->body_case == CONTROL__V1__FRAME__BODY_REFUSED)
                snprintf(text, FRAME_TEXT_MAX + 1, "%.*s", (int)m->refused->text.len,
                         (char *)m->refused->text.data);
            if (m->body_case != CONTROL__V1__FRAME__BODY_HEARTBEAT)
                return (int)m->body_case;
            continue;
        }
        struct pollfd ready = {.fd = fd, .events = POLLIN};
        assert_int_equal(poll(&ready, 1, DEADLINE_MS), 1);
        size_t room;
        unsigned char *at = frame_reader_room(reader, &room);
        ssize_t n = recv(fd, at, room, 0);
        if (n <= 0)
            return 0;
        frame_reader_grew(reader, (size_t)n);
    }
}

static void set_progress(struct node *node, enum group_phase phase, uint32_t layer, uint64_t step) {
    atomic_store(&node->progress.phase, phase);
    atomic_store(&node->progress.layer, layer);
    atomic_store(&node->progress.step, step);
}

/* Rank 3 is a bare connection, so that a test may treat it badly. */
static int job_open_with_raw_rank(struct job *job, struct link_address *address) {
    struct error err = {0};
    assert_int_equal(open_rank(job, 0, NULL, &err), OK);
    link_address(job->nodes[0].link, address);
    assert_int_equal(open_rank(job, 1, address, &err), OK);
    assert_int_equal(open_rank(job, 2, address, &err), OK);
    int fd = connect_raw(address);
    send_hello(fd, address, 3, 7);
    assert_int_equal(link_wait_ranks(job->nodes[0].link, &err), OK);
    return fd;
}

/* ---- orderly work ---- */

static void ranks_resume_as_often_as_the_leader_says_and_stop_in_order(void **state) {
    (void)state;
    struct job job;
    struct link_address address;
    struct error err = {0};
    bool stop;
    job_init(&job);
    job_open(&job, &address);
    for (int round = 0; round < 3; round++) {
        assert_int_equal(link_resume_all(job.nodes[0].link, &err), OK);
        for (uint32_t r = 1; r < N_RANKS; r++) {
            assert_int_equal(link_wait_resume(job.nodes[r].link, &stop, &err), OK);
            assert_false(stop);
        }
    }
    job_close(&job);
}

static void *close_leader(void *user) {
    struct error err;
    return link_close(user, &err) == OK ? NULL : user;
}

static void closing_leader_stops_the_ranks_and_waits_for_them(void **state) {
    (void)state;
    struct job job;
    struct link_address address;
    struct error err = {0};
    bool stop = false;
    pthread_t closer;
    void *result;
    job_init(&job);
    job_open(&job, &address);
    assert_int_equal(pthread_create(&closer, NULL, close_leader, job.nodes[0].link), 0);
    for (uint32_t r = 1; r < N_RANKS; r++) {
        assert_int_equal(link_wait_resume(job.nodes[r].link, &stop, &err), OK);
        assert_true(stop);
        assert_int_equal(link_close(job.nodes[r].link, &err), OK);
        job.nodes[r].link = NULL;
    }
    pthread_join(closer, &result);
    assert_null(result);
    job.nodes[0].link = NULL;
    expect_no_line(&job);
    job_close(&job);
}

static void a_rank_that_dies_while_the_group_ends_is_told(void **state) {
    (void)state;
    struct job job;
    struct link_address address;
    struct error err = {0};
    job_init(&job);
    int fd = job_open_with_raw_rank(&job, &address);
    link_close(job.nodes[2].link, NULL);
    link_close(job.nodes[1].link, NULL);
    job.nodes[1].link = job.nodes[2].link = NULL;
    set_progress(&job.nodes[0], PHASE_END, 0, 0);
    close(fd);
    assert_int_equal(link_close(job.nodes[0].link, &err), ERR_COMM);
    job.nodes[0].link = NULL;
    expect_one_line(
        &job, "rank 3 (host b, pid 4711) was killed or crashed: ", "phase end, layer 0, step 0\n");
    job_close(&job);
}

static void only_ranks_of_the_job_are_let_in(void **state) {
    (void)state;
    static const struct {
        uint32_t rank;
        uint64_t model_hash;
        bool wrong_token;
        const char *why;
    } strangers[] = {{3, 7, true, "not a rank of this job"},
                     {3, 8, false, "another model"},
                     {0, 7, false, "this rank is there already"},
                     {1, 7, false, "this rank is there already"}};
    struct job job;
    struct link_address address;
    unsigned char buffer[2048];
    char text[FRAME_TEXT_MAX + 1];
    job_init(&job);
    job_open(&job, &address);
    for (size_t i = 0; i < sizeof strangers / sizeof strangers[0]; i++) {
        struct link_address theirs = address;
        theirs.token[15] ^= strangers[i].wrong_token;
        int fd = connect_raw(&address);
        struct frame_reader reader;
        frame_reader_init(&reader, buffer, sizeof buffer);
        send_hello(fd, &theirs, strangers[i].rank, strangers[i].model_hash);
        assert_int_equal(receive_kind(fd, &reader, text), CONTROL__V1__FRAME__BODY_REFUSED);
        assert_string_equal(text, strangers[i].why);
        assert_int_equal(receive_kind(fd, &reader, text), 0);
        close(fd);
    }
    int fd = connect_raw(&address); /* no frame at all */
    assert_int_equal(send(fd, "GET / HTTP/1.1\r\n\r\n", 18, MSG_NOSIGNAL), 18);
    struct frame_reader reader;
    frame_reader_init(&reader, buffer, sizeof buffer);
    assert_int_equal(receive_kind(fd, &reader, text), 0);
    close(fd);
    assert_false(link_is_lost(job.nodes[0].link, NULL));
    expect_no_line(&job);
    job_close(&job);
}

static void a_rank_that_nobody_lets_in_gives_up(void **state) {
    (void)state;
    struct job job;
    struct link_address address;
    struct error err = {0};
    job_init(&job);
    assert_int_equal(open_rank(&job, 0, NULL, &err), OK);
    link_address(job.nodes[0].link, &address);
    struct link_address wrong = address;
    wrong.token[0] ^= 1;
    assert_int_equal(open_rank(&job, 1, &wrong, &err), ERR_COMM);
    assert_non_null(strstr(err.text, "refused rank 1: not a rank of this job"));
    assert_int_equal(link_close(job.nodes[0].link, &err), OK);
    job.nodes[0].link = NULL;
    job.options.connect_ms = 100;
    assert_int_equal(open_rank(&job, 1, &address, &err), ERR_COMM); /* nobody listens any more */
    assert_non_null(strstr(err.text, "the leader did not answer at 127.0.0.1 port"));
    job_close(&job);
}

static void the_leader_is_found_under_its_second_address(void **state) {
    (void)state;
    struct job job;
    struct link_address address;
    struct error err = {0};
    job_init(&job);
    job.options.n_ranks = 2;
    assert_int_equal(open_rank(&job, 0, NULL, &err), OK);
    link_address(job.nodes[0].link, &address);
    snprintf(address.hosts[address.n_hosts++], LINK_HOST_BYTES, "%s", address.hosts[0]);
    snprintf(address.hosts[0], LINK_HOST_BYTES, "127.255.255.254"); /* nobody listens there */
    assert_int_equal(open_rank(&job, 1, &address, &err), OK);
    assert_int_equal(link_wait_ranks(job.nodes[0].link, &err), OK);
    job_close(&job);
}

static void missing_ranks_are_named(void **state) {
    (void)state;
    struct job job;
    struct link_address address;
    struct error err = {0};
    job_init(&job);
    job.options.connect_ms = 300;
    assert_int_equal(open_rank(&job, 0, NULL, &err), OK);
    link_address(job.nodes[0].link, &address);
    assert_int_equal(open_rank(&job, 2, &address, &err), OK);
    assert_int_equal(link_wait_ranks(job.nodes[0].link, &err), ERR_COMM);
    assert_non_null(strstr(err.text, "2 of 4 ranks did not come"));
    assert_non_null(strstr(err.text, ": 1, 3"));
    job_close(&job);
}

/* ---- lost groups ---- */

static void a_closed_connection_ends_the_group_with_one_line(void **state) {
    (void)state;
    struct job job;
    struct link_address address;
    struct error err = {0};
    bool stop;
    job_init(&job);
    int fd = job_open_with_raw_rank(&job, &address);
    send_heartbeat(fd, PHASE_EXCHANGE, 16, 45); /* the last, some time before the end */
    set_progress(&job.nodes[0], PHASE_EXCHANGE, 17, 45);
    close(fd);
    assert_int_equal(link_wait_resume(job.nodes[1].link, &stop, &err), ERR_COMM);
    wait_all_lost(&job);
    assert_int_equal(link_resume_all(job.nodes[0].link, &err), ERR_COMM);
    assert_string_equal(err.text, "rank 3 (host b, pid 4711) was killed or crashed: "
                                  "phase exchange, layer 17, step 45");
    expect_one_line(&job, "rank 3 (host b, pid 4711) was killed or crashed: ",
                    "phase exchange, layer 17, step 45\n");
    for (uint32_t r = 0; r < 3; r++) {
        while (!atomic_load(&job.nodes[r].aborted))
            pause_ms(1);
    }
    job_close(&job);
}

static void shared_progress_is_exacter_than_the_last_heartbeat(void **state) {
    (void)state;
    struct job job;
    struct link_address address;
    const struct group_progress *shared[N_RANKS] = {[3] = &job.nodes[3].progress};
    job_init(&job);
    job.options.shared_progress = shared;
    int fd = job_open_with_raw_rank(&job, &address);
    send_heartbeat(fd, PHASE_LOAD, 1, 0);
    set_progress(&job.nodes[3], PHASE_STEP, 2, 0);
    close(fd);
    wait_all_lost(&job);
    expect_one_line(
        &job, "rank 3 (host b, pid 4711) was killed or crashed: ", "phase step, layer 2, step 0\n");
    job_close(&job);
}

static void a_broken_frame_ends_the_group(void **state) {
    (void)state;
    struct job job;
    struct link_address address;
    job_init(&job);
    int fd = job_open_with_raw_rank(&job, &address);
    assert_int_equal(send(fd, "\0\0\0\0", 4, MSG_NOSIGNAL), 4);
    wait_all_lost(&job);
    expect_one_line(&job,
                    "rank 3 (host b, pid 4711) has a broken connection: ", ": frame: length 0\n");
    close(fd);
    job_close(&job);
}

static void silence_ends_the_group(void **state) {
    (void)state;
    struct job job;
    struct link_address address;
    job_init(&job);
    job.options.silence_ms = 1500;
    int fd = job_open_with_raw_rank(&job, &address); /* which sends no heartbeats */
    wait_all_lost(&job);
    expect_one_line(&job, "rank 3 (host b, pid 4711) was stopped or cut off (silent for 1.5 s)",
                    ": phase start, layer 0, step 0\n");
    close(fd);
    job_close(&job);
}

static void a_rank_without_progress_in_a_step_ends_the_group(void **state) {
    (void)state;
    struct job job;
    struct link_address address;
    job_init(&job);
    job.options.stall_ms = 500;
    for (uint32_t r = 0; r < N_RANKS; r++)
        atomic_store(&job.nodes[r].progress.phase, PHASE_IDLE);
    job_open(&job, &address);
    pause_ms(800); /* longer than stall_ms: a group at rest does not stall */
    assert_false(link_is_lost(job.nodes[0].link, NULL));
    for (uint32_t r = 0; r < N_RANKS; r++)
        set_progress(&job.nodes[r], r == 2 ? PHASE_STEP : PHASE_EXCHANGE, 5, 0);
    wait_all_lost(&job);
    expect_one_line(&job, "rank 2 (", " made no progress for 0.5 s: phase step, layer 5, step 0\n");
    job_close(&job);
}

struct failure {
    struct link *link;
    struct error why;
};

static void *fail_rank(void *user) {
    struct failure *failure = user;
    link_fail(failure->link, &failure->why);
    return NULL;
}

static void a_rank_that_fails_is_told_once_with_its_reason(void **state) {
    (void)state;
    for (uint32_t r = 0; r < N_RANKS; r++) {
        struct job job;
        struct link_address address;
        struct error why, err = {0};
        char begin[32];
        job_init(&job);
        set_progress(&job.nodes[r], PHASE_LOAD, 9, 0);
        job_open(&job, &address);
        error_set(&why, ERR_IO, "model.gguf: cannot be read\nat all");
        link_fail(job.nodes[r].link, &why);
        link_fail(job.nodes[r].link, &why);
        assert_true(link_is_lost(job.nodes[r].link, &err));
        wait_all_lost(&job);
        snprintf(begin, sizeof begin, "rank %u (host", r);
        expect_one_line(
            &job, begin,
            " failed: phase load, layer 9, step 0: model.gguf: cannot be read?at all\n");
        job_close(&job);
    }
}

static void who_is_gone_is_the_reason_and_not_who_notices(void **state) {
    (void)state;
    struct job job;
    struct link_address address;
    job_init(&job);
    job.options.heartbeat_ms = 1000; /* so that both are known before the next tick */
    int fd = job_open_with_raw_rank(&job, &address);
    pthread_t failing;
    struct failure failure = {.link = job.nodes[1].link};
    error_set(&failure.why, ERR_COMM, "rank 3 did not come");
    assert_int_equal(pthread_create(&failing, NULL, fail_rank, &failure), 0);
    pause_ms(20);
    close(fd);
    pthread_join(failing, NULL);
    wait_all_lost(&job);
    expect_one_line(&job, "rank 3 (host b, pid 4711) was killed or crashed: ", "step 0\n");
    job_close(&job);
}

static void a_cancelled_rank_leaves_the_telling_to_others(void **state) {
    (void)state;
    struct job job;
    struct link_address address;
    struct error why;
    job_init(&job);
    job_open(&job, &address);
    error_set(&why, ERR_CANCELLED, "the group was ended");
    link_fail(job.nodes[2].link, &why);
    wait_all_lost(&job);
    expect_no_line(&job);
    job_close(&job);
}

static void an_engine_thread_that_does_not_leave_expires(void **state) {
    (void)state;
    struct job job;
    struct link_address address;
    struct error why;
    job_init(&job);
    job_open(&job, &address);
    error_set(&why, ERR_IO, "no");
    link_fail(job.nodes[1].link, &why);
    link_close(job.nodes[1].link, NULL);
    job.nodes[1].link = NULL;
    uint64_t begin = clock_ns();
    while (!atomic_load(&job.nodes[2].n_expired) || !atomic_load(&job.nodes[0].n_expired)) {
        assert_true(clock_seconds_since(begin) * 1000 < DEADLINE_MS);
        pause_ms(10);
    }
    assert_int_equal(atomic_load(&job.nodes[1].n_expired), 0); /* it had left */
    assert_int_equal(atomic_load(&job.nodes[2].n_aborts), 1);
    job_close(&job);
}

/* ---- a lost leader ---- */

/* A leader that lets ranks in and is nothing else: it can die. */
struct raw_leader {
    int listener;
    int ranks[N_RANKS];
    pthread_t thread;
    struct link_address address;
};

static void *let_ranks_in(void *user) {
    struct raw_leader *leader = user;
    for (uint32_t i = 1; i < N_RANKS; i++) {
        leader->ranks[i] = accept4(leader->listener, NULL, NULL, SOCK_CLOEXEC);
        send_hello(leader->ranks[i], &leader->address, 0, 7);
    }
    return NULL;
}

static void job_open_with_raw_leader(struct job *job, struct raw_leader *leader) {
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t bytes = sizeof at;
    struct error err = {0};
    memset(leader, 0, sizeof *leader);
    leader->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(leader->listener, (struct sockaddr *)&at, sizeof at), 0);
    assert_int_equal(listen(leader->listener, N_RANKS), 0);
    assert_int_equal(getsockname(leader->listener, (struct sockaddr *)&at, &bytes), 0);
    leader->address.port = ntohs(at.sin_port);
    leader->address.n_hosts = 1;
    snprintf(leader->address.hosts[0], LINK_HOST_BYTES, "127.0.0.1");
    assert_int_equal(pthread_create(&leader->thread, NULL, let_ranks_in, leader), 0);
    for (uint32_t r = 1; r < N_RANKS; r++) {
        if (open_rank(job, r, &leader->address, &err) != OK)
            fail_msg("rank %u: %s", r, err.text);
    }
    pthread_join(leader->thread, NULL);
    for (uint32_t i = 1; i < N_RANKS; i++) {
        send_heartbeat(leader->ranks[i], PHASE_STEP, 2, 12);
        set_progress(&job->nodes[i], PHASE_STEP, 3, 12);
    }
}

/* What the ranks of one node share. */
static void on_node_abort(void *user) {
    atomic_store((_Atomic bool *)user, true);
}

static bool is_node_aborted(void *user) {
    return atomic_load((_Atomic bool *)user);
}

static void rank_1_tells_of_a_dead_leader(void **state) {
    (void)state;
    struct job job;
    struct raw_leader leader;
    job_init(&job);
    job.far_node = 1; /* where ranks wait longer, and leave before their turn comes */
    job_open_with_raw_leader(&job, &leader);
    for (uint32_t i = 1; i < N_RANKS; i++)
        close(leader.ranks[i]);
    struct error err;
    wait_lost(job.nodes[1].link, &err);
    expect_one_line(&job, "rank 0 (host b, pid 4711) was killed or crashed: ",
                    "phase step, layer 3, step 12\n");
    close(leader.listener);
    job_close(&job);
}

static void ranks_of_the_node_are_silent_once_one_has_told(void **state) {
    (void)state;
    struct job job;
    struct raw_leader leader;
    _Atomic bool aborted = false;
    job_init(&job);
    job.options.abort = on_node_abort;
    job.options.is_aborted = is_node_aborted;
    job.options.user = &aborted;
    job_open_with_raw_leader(&job, &leader);
    for (uint32_t i = 1; i < N_RANKS; i++)
        close(leader.ranks[i]);
    wait_all_lost(&job);
    expect_one_line(&job, "rank 0 (host b, pid 4711) was killed or crashed: ", "step 12\n");
    close(leader.listener);
    job_close(&job);
}

static void the_next_rank_tells_if_rank_1_is_gone_too(void **state) {
    (void)state;
    struct job job;
    struct raw_leader leader;
    _Atomic bool aborted = false;
    job_init(&job);
    job.options.abort = on_node_abort;
    job.options.is_aborted = is_node_aborted;
    job.options.user = &aborted;
    job_open_with_raw_leader(&job, &leader);
    link_close(job.nodes[1].link, NULL);
    job.nodes[1].link = NULL;
    for (uint32_t i = 1; i < N_RANKS; i++)
        close(leader.ranks[i]);
    wait_all_lost(&job);
    expect_one_line(&job, "rank 0 (host b, pid 4711) was killed or crashed: ", "step 12\n");
    close(leader.listener);
    job_close(&job);
}

static void a_stopped_leader_learns_that_it_was_given_up(void **state) {
    (void)state;
    struct job job;
    struct raw_leader leader;
    _Atomic bool aborted = false;
    unsigned char buffer[2048];
    char text[FRAME_TEXT_MAX + 1];
    job_init(&job);
    job.options.abort = on_node_abort;
    job.options.is_aborted = is_node_aborted;
    job.options.user = &aborted;
    job.options.silence_ms = 1500;
    job_open_with_raw_leader(&job, &leader); /* which sends no further heartbeats */
    wait_all_lost(&job);
    expect_one_line(&job, "rank 0 (host b, pid 4711) was stopped or cut off (silent for 1.5 s)",
                    ": phase step, layer 3, step 12\n");
    for (uint32_t i = 1; i < N_RANKS; i++) {
        struct frame_reader reader;
        frame_reader_init(&reader, buffer, sizeof buffer);
        assert_int_equal(receive_kind(leader.ranks[i], &reader, text),
                         CONTROL__V1__FRAME__BODY_HELLO);
        assert_int_equal(receive_kind(leader.ranks[i], &reader, text),
                         CONTROL__V1__FRAME__BODY_ABORT);
        close(leader.ranks[i]);
    }
    close(leader.listener);
    job_close(&job);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ranks_resume_as_often_as_the_leader_says_and_stop_in_order),
        cmocka_unit_test(closing_leader_stops_the_ranks_and_waits_for_them),
        cmocka_unit_test(a_rank_that_dies_while_the_group_ends_is_told),
        cmocka_unit_test(only_ranks_of_the_job_are_let_in),
        cmocka_unit_test(a_rank_that_nobody_lets_in_gives_up),
        cmocka_unit_test(the_leader_is_found_under_its_second_address),
        cmocka_unit_test(missing_ranks_are_named),
        cmocka_unit_test(a_closed_connection_ends_the_group_with_one_line),
        cmocka_unit_test(shared_progress_is_exacter_than_the_last_heartbeat),
        cmocka_unit_test(a_broken_frame_ends_the_group),
        cmocka_unit_test(silence_ends_the_group),
        cmocka_unit_test(a_rank_without_progress_in_a_step_ends_the_group),
        cmocka_unit_test(a_rank_that_fails_is_told_once_with_its_reason),
        cmocka_unit_test(who_is_gone_is_the_reason_and_not_who_notices),
        cmocka_unit_test(a_cancelled_rank_leaves_the_telling_to_others),
        cmocka_unit_test(an_engine_thread_that_does_not_leave_expires),
        cmocka_unit_test(rank_1_tells_of_a_dead_leader),
        cmocka_unit_test(ranks_of_the_node_are_silent_once_one_has_told),
        cmocka_unit_test(the_next_rank_tells_if_rank_1_is_gone_too),
        cmocka_unit_test(a_stopped_leader_learns_that_it_was_given_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

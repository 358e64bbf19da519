/* SPDX-License-Identifier: Apache-2.0 */
/* The part of every rank but the leader.
 *
 *     SEEKING --connected--> GREETING --Hello--> JOINED --Stop, leave, ended--> (closed)
 *        ^----- refused by the system, ended -----'
 *
 * When a JOINED rank loses the leader it waits for its turn to tell (link.h). */
#include "worker/link/link_state.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ATTEMPT_MS    2000 /* for one address */
#define FAIL_MS       1000 /* for the leader to answer a RankFailed */
#define TURN_MS       250  /* between the ranks of a node that may tell of a dead leader */
#define TURN_MAX_MS   1000
#define TURN_OTHER_MS 1500 /* on other nodes: mpirun has ended them by then */

struct follower {
    struct connection c;
    uv_connect_t request;
    enum { SEEKING, GREETING, JOINED } phase;
    uint32_t attempt_idx;
    uint64_t attempt_by_ns, open_by_ns; /* real time */
    char last_error[128];
    struct link_address leader;
    struct rank_name leader_name;
    struct watched watched; /* the leader */
    bool stopped;           /* it ends the group in order */
    uint64_t turn_by_ns;    /* the leader is lost: when to tell; 0: it is not */
    char what[64];          /* of the leader, for then */
    uint64_t fail_by_ns;    /* a RankFailed was sent: when to tell oneself; 0: none */
    struct error why;       /* of it */
};

static void open_ends(struct link *link, enum status status, const char *text) {
    pthread_mutex_lock(&link->lock);
    link->shared.open_done = true;
    link->shared.open_error.status = status;
    if (status)
        error_set(&link->shared.open_error, status, "%s", text);
    pthread_cond_broadcast(&link->changed);
    pthread_mutex_unlock(&link->lock);
}

/* ---- the leader is lost ---- */

static bool knows_exactly(const struct link *link) {
    return link->options.shared_progress && link->options.shared_progress[0];
}

/* Of a leader on another node the last heartbeat is old; but by now this rank stands where it waits
 * for the leader. */
static void tell(struct link *link) {
    struct follower *f = link->follower;
    f->watched.last = rank_report_of(link->options.progress);
    const struct loss loss = {.who = &f->leader_name,
                              .last = &f->watched,
                              .what = f->what,
                              .tell = !link->options.is_aborted(link->options.user)};
    link_lose(link, &loss);
}

static void leader_is_lost(struct link *link, const char *what) {
    struct follower *f = link->follower;
    if (f->turn_by_ns || link->is_lost)
        return;
    snprintf(f->what, sizeof f->what, "%s", what);
    uint32_t place = link->self.rank_idx - 1;
    uint64_t wait_ms = (uint64_t)place * TURN_MS;
    if (wait_ms > TURN_MAX_MS)
        wait_ms = TURN_MAX_MS;
    if (link->self.node_idx != link->options.rank1_node)
        wait_ms = TURN_OTHER_MS;
    f->turn_by_ns = link_in_ms(wait_ms);
    if (wait_ms == 0 && knows_exactly(link))
        tell(link);
}

/* ---- what the leader says ---- */

static void on_answer(struct link *link, const Control__V1__Frame *message) {
    struct follower *f = link->follower;
    char text[ERROR_TEXT_MAX];
    if (message->body_case == CONTROL__V1__FRAME__BODY_HELLO) {
        const Control__V1__Hello *hello = message->hello;
        if (hello->version == FRAME_VERSION && hello->rank == 0 &&
            memcmp(hello->job_token.data, link->address.token, FRAME_TOKEN_BYTES) == 0 &&
            hello->n_ranks == link->options.n_ranks &&
            hello->model_hash == link->options.model_hash) {
            f->phase = JOINED;
            link_rank_name(&f->leader_name, hello);
            watched_hear(&f->watched, &(struct rank_report){.phase = PHASE_START},
                         link->clock.now_ns);
            open_ends(link, OK, NULL);
            return;
        }
        snprintf(text, sizeof text, "the leader is of another job, version or model");
    } else if (message->body_case == CONTROL__V1__FRAME__BODY_REFUSED) {
        snprintf(text, sizeof text, "the leader refused rank %u: %.*s", link->self.rank_idx,
                 (int)message->refused->text.len, (const char *)message->refused->text.data);
    } else {
        snprintf(text, sizeof text, "the leader did not answer with a greeting");
    }
    open_ends(link, ERR_COMM, text);
    connection_close(&f->c);
}

static void on_message(struct connection *c, const Control__V1__Frame *message) {
    struct link *link = c->user;
    struct follower *f = link->follower;
    if (f->phase != JOINED) {
        on_answer(link, message);
        return;
    }
    switch (message->body_case) {
    case CONTROL__V1__FRAME__BODY_HEARTBEAT: {
        struct rank_report report = link_report(message->heartbeat);
        watched_hear(&f->watched, &report, link->clock.now_ns);
        break;
    }
    case CONTROL__V1__FRAME__BODY_RESUME:
    case CONTROL__V1__FRAME__BODY_STOP:
        f->stopped = message->body_case == CONTROL__V1__FRAME__BODY_STOP;
        pthread_mutex_lock(&link->lock);
        if (f->stopped)
            link->shared.stop = true;
        else
            link->shared.n_resumes++;
        pthread_cond_broadcast(&link->changed);
        pthread_mutex_unlock(&link->lock);
        break;
    case CONTROL__V1__FRAME__BODY_ABORT: {
        char why[FRAME_TEXT_MAX + 1];
        snprintf(why, sizeof why, "%.*s", (int)message->abort->text.len,
                 (const char *)message->abort->text.data);
        link_lose_quietly(link, why);
        break;
    }
    default:
        leader_is_lost(link, "sent a message that leaders do not send");
    }
}

static void on_ended(struct connection *c, const char *why) {
    struct link *link = c->user;
    struct follower *f = link->follower;
    connection_close(c);
    if (f->phase != JOINED)
        snprintf(f->last_error, sizeof f->last_error, "%s", why ? why : "connection closed");
    else if (!f->stopped && !link->leaving)
        leader_is_lost(link, why ? "has a broken connection" : "was killed or crashed");
}

static const struct connection_events events = {.message = on_message, .ended = on_ended};

/* ---- finding the leader ---- */

static void on_connected(uv_connect_t *request, int status) {
    struct link *link = request->data;
    struct follower *f = link->follower;
    if (f->c.state != CONNECTION_OPEN)
        return; /* given up meanwhile */
    if (status != 0 || connection_start(&f->c, NULL) != OK || !link_send_hello(link, &f->c)) {
        snprintf(f->last_error, sizeof f->last_error, "%s",
                 uv_strerror(status ? status : UV_EPIPE));
        connection_close(&f->c);
        return;
    }
    f->phase = GREETING;
}

static enum status try_next_address(struct link *link, struct error *err) {
    struct follower *f = link->follower;
    const char *host = f->leader.hosts[f->attempt_idx++ % f->leader.n_hosts];
    struct sockaddr_storage address = {0};
    int rc = strchr(host, ':') ? uv_ip6_addr(host, f->leader.port, (struct sockaddr_in6 *)&address)
                               : uv_ip4_addr(host, f->leader.port, (struct sockaddr_in *)&address);
    if (rc)
        return error_set(err, ERR_INPUT, "'%s' is no address", host);
    TRY(connection_init(&f->c, &link->loop, &events, link, &link->memory, err));
    f->phase = SEEKING;
    f->attempt_by_ns = link_in_ms(ATTEMPT_MS);
    f->request.data = link;
    rc = uv_tcp_connect(&f->request, &f->c.tcp, (struct sockaddr *)&address, on_connected);
    if (rc) {
        snprintf(f->last_error, sizeof f->last_error, "%s", uv_strerror(rc));
        connection_close(&f->c);
    }
    return OK;
}

/* One address after the other, again and again until the deadline. */
static void seek(struct link *link) {
    struct follower *f = link->follower;
    uint64_t now = clock_ns();
    struct error err;
    if (now > f->open_by_ns) {
        error_set(&err, ERR_COMM, "the leader did not answer at %s port %u within %u ms: %s",
                  f->leader.hosts[0], f->leader.port, link->options.connect_ms,
                  f->last_error[0] ? f->last_error : "no answer");
        connection_close(&f->c);
        open_ends(link, ERR_COMM, err.text);
    } else if (f->c.state == CONNECTION_FREE) {
        if (try_next_address(link, &err) != OK)
            open_ends(link, err.status, err.text);
    } else if (now > f->attempt_by_ns) {
        snprintf(f->last_error, sizeof f->last_error, "no answer");
        connection_close(&f->c);
    }
}

/* ---- the role ---- */

static void watch_leader(struct link *link, uint64_t now) {
    struct follower *f = link->follower;
    char what[sizeof f->what];
    if (f->turn_by_ns) {
        if (now > f->turn_by_ns)
            tell(link);
    } else if (link->clock.now_ns - f->watched.heard_ns > link->options.silence_ms * 1000000ull) {
        snprintf(what, sizeof what, "was stopped or cut off (silent for %.1f s)",
                 link->options.silence_ms / 1000.0);
        leader_is_lost(link, what);
    }
}

static void follower_tick(struct link *link, bool heartbeat) {
    struct follower *f = link->follower;
    uint64_t now = clock_ns();
    if (link->is_lost || link->leaving)
        return;
    if (f->phase != JOINED) {
        seek(link);
        return;
    }
    if (heartbeat)
        link_send_heartbeat(link, &f->c);
    if (!f->stopped)
        watch_leader(link, now);
    if (f->fail_by_ns && now > f->fail_by_ns && !f->turn_by_ns) {
        const struct loss loss = {.who = &link->self,
                                  .last = &f->watched,
                                  .what = "failed",
                                  .why = f->why.text,
                                  .tell = true};
        link_lose(link, &loss);
    }
}

static void follower_fail(struct link *link, const struct error *why) {
    struct follower *f = link->follower;
    struct rank_report report = rank_report_of(link->options.progress);
    char text[FRAME_TEXT_MAX + 1];
    connection_plain_text(text, why->text);
    Control__V1__RankFailed failed = CONTROL__V1__RANK_FAILED__INIT;
    failed.rank = link->self.rank_idx;
    failed.phase = (Control__V1__Phase)(report.phase + 1);
    failed.layer = report.layer;
    failed.step = report.step;
    failed.text.len = strlen(text);
    failed.text.data = (uint8_t *)text;
    Control__V1__Frame m = CONTROL__V1__FRAME__INIT;
    m.body_case = CONTROL__V1__FRAME__BODY_RANK_FAILED;
    m.rank_failed = &failed;
    f->why = *why;
    f->fail_by_ns = link_in_ms(FAIL_MS);
    if (!connection_send(&f->c, &m))
        f->fail_by_ns = link_in_ms(0); /* the next tick */
}

static void follower_leave(struct link *link) {
    connection_send_empty(&link->follower->c, CONTROL__V1__FRAME__BODY_RANK_LEFT);
    connection_close(&link->follower->c);
}

static void follower_lost(struct link *link, const char *line) {
    /* A leader that was only stopped reads it when it goes on, and does not accuse us. */
    connection_send_text(&link->follower->c, CONTROL__V1__FRAME__BODY_ABORT, line);
    connection_close(&link->follower->c);
}

static bool follower_may_end(struct link *link) {
    (void)link;
    return true; /* what was sent is with the system */
}

static const struct link_role role = {.tick = follower_tick,
                                      .fail = follower_fail,
                                      .leave = follower_leave,
                                      .lost = follower_lost,
                                      .may_end = follower_may_end};

enum status follower_open(struct link *link, const struct link_address *leader, struct error *err) {
    if (leader->n_hosts == 0 || leader->n_hosts > LINK_HOSTS_MAX)
        return error_set(err, ERR_INPUT, "%u addresses of the leader, allowed is 1 to %d",
                         leader->n_hosts, LINK_HOSTS_MAX);
    struct follower *f = calloc(1, sizeof *f);
    if (!f)
        return error_set(err, ERR_NOMEM, "no memory for a control connection");
    link->follower = f;
    link->role = &role;
    link->address = f->leader = *leader;
    for (uint32_t i = 0; i < leader->n_hosts; i++)
        f->leader.hosts[i][LINK_HOST_BYTES - 1] = '\0'; /* it came over the network */
    f->open_by_ns = link_in_ms(link->options.connect_ms);
    return try_next_address(link, err);
}

void follower_free(struct link *link) {
    free(link->follower);
}

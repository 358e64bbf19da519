/* SPDX-License-Identifier: Apache-2.0 */
/* The leader's part. A connection is a stranger until its Hello carries the token of the job and a
 * rank that has not come; strangers have few places and little time, and cannot end the group. */
#include "worker/link/link_state.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#define STRANGERS_MAX 16
#define STRANGER_MS   5000
#define RANK_NONE     UINT32_MAX
#define SUSPECT_MS    50 /* see suspect */

/* A place for a connection. */
struct seat {
    struct connection c;
    struct link *link;
    uint32_t rank_idx;       /* RANK_NONE: a stranger */
    uint64_t stranger_by_ns; /* real time at which a stranger must have said who it is */
};

struct peer {
    struct rank_name name;
    struct seat *seat; /* NULL: not connected */
    bool left;         /* said so */
};

struct leader {
    uv_tcp_t listener;
    bool accept_waits; /* there was no seat for a connection */
    struct seat *seats;
    uint32_t n_seats;
    struct peer *peers;      /* [n_ranks], 0 is the leader */
    struct watched *watched; /* [n_ranks] */
    struct {
        uint32_t rank_idx;
        bool is_gone; /* its connection ended; else it says that it failed */
        char why[FRAME_TEXT_MAX + 1];
        uint64_t at_ns; /* real time at which it is told; 0: there is none */
    } suspect;
};

static void lose_rank(struct link *link, uint32_t rank_idx, const char *what, const char *why) {
    const struct loss loss = {.who = &link->leader->peers[rank_idx].name,
                              .last = &link->leader->watched[rank_idx],
                              .what = what,
                              .why = why,
                              .tell = true};
    link_lose(link, &loss);
}

static void accuse(struct link *link) {
    struct leader *l = link->leader;
    const char *why = l->suspect.why[0] ? l->suspect.why : NULL;
    const char *what = !l->suspect.is_gone ? "failed"
                       : why               ? "has a broken connection"
                                           : "was killed or crashed";
    if (l->suspect.is_gone)
        l->watched[l->suspect.rank_idx].last = rank_report_of(link->options.progress);
    lose_rank(link, l->suspect.rank_idx, what, why);
}

/* Not told at once, for two reasons. A rank that fails may just have noticed that another is gone,
 * which is then the reason. And of a rank on another node the last heartbeat is old; but all ranks
 * go through phases and layers together, so this one soon stands where it waits for the other. */
static void suspect(struct link *link, uint32_t rank_idx, bool is_gone, const char *why) {
    struct leader *l = link->leader;
    const struct group_progress *const *shared = link->options.shared_progress;
    if (link->is_lost || (l->suspect.at_ns && (l->suspect.is_gone || !is_gone)))
        return;
    l->suspect.rank_idx = rank_idx;
    l->suspect.is_gone = is_gone;
    l->suspect.at_ns = link_in_ms(SUSPECT_MS);
    snprintf(l->suspect.why, sizeof l->suspect.why, "%s", why ? why : "");
    if (is_gone && shared && shared[rank_idx])
        accuse(link);
}

/* ---- who comes and goes ---- */

static void count_missing(struct link *link) {
    struct leader *l = link->leader;
    char missing[sizeof link->shared.missing] = "";
    uint32_t n = 0;
    size_t used = 0;
    for (uint32_t r = 1; r < link->options.n_ranks; r++) {
        if (l->peers[r].name.pid)
            continue;
        n++;
        if (used + 16 < sizeof missing)
            used +=
                (size_t)snprintf(missing + used, sizeof missing - used, used ? ", %u" : "%u", r);
        else if (missing[used - 1] != '.')
            used += (size_t)snprintf(missing + used, sizeof missing - used, " ...");
    }
    pthread_mutex_lock(&link->lock);
    link->shared.n_missing = n;
    memcpy(link->shared.missing, missing, sizeof missing);
    pthread_cond_broadcast(&link->changed);
    pthread_mutex_unlock(&link->lock);
}

static void empty_seat(struct seat *seat) {
    struct leader *l = seat->link->leader;
    if (seat->rank_idx != RANK_NONE) {
        l->peers[seat->rank_idx].seat = NULL;
        l->watched[seat->rank_idx].present = false;
        seat->rank_idx = RANK_NONE;
    }
    connection_close(&seat->c);
}

static bool same_token(const uint8_t *a, const uint8_t *b) {
    uint8_t different = 0;
    for (int i = 0; i < FRAME_TOKEN_BYTES; i++)
        different |= a[i] ^ b[i]; /* in the same time wherever they differ */
    return different == 0;
}

/* Why this stranger may not come in; NULL: it may. */
static const char *refusal(struct link *link, const Control__V1__Hello *hello) {
    if (hello->version != FRAME_VERSION)
        return "another version of shoal-worker";
    if (!same_token(hello->job_token.data, link->address.token))
        return "not a rank of this job";
    if (hello->n_ranks != link->options.n_ranks)
        return "another number of ranks";
    if (hello->model_hash != link->options.model_hash)
        return "another model";
    if (hello->rank == 0 || link->leader->peers[hello->rank].name.pid)
        return "this rank is there already";
    if (link->is_lost || link->leaving)
        return "the group has ended";
    return NULL;
}

static void let_in(struct seat *seat, const Control__V1__Hello *hello) {
    struct link *link = seat->link;
    const char *why = refusal(link, hello);
    if (why) {
        log_debug(link->options.log, "a connection was refused: %s", why);
        connection_send_text(&seat->c, CONTROL__V1__FRAME__BODY_REFUSED, why);
        empty_seat(seat);
        return;
    }
    if (!link_send_hello(link, &seat->c)) {
        empty_seat(seat);
        return;
    }
    struct peer *peer = &link->leader->peers[hello->rank];
    link_rank_name(&peer->name, hello);
    peer->seat = seat;
    seat->rank_idx = hello->rank;
    watched_hear(&link->leader->watched[hello->rank], &(struct rank_report){.phase = PHASE_START},
                 link->clock.now_ns);
    count_missing(link);
}

/* ---- what ranks say ---- */

static void on_rank_failed(struct seat *seat, const Control__V1__RankFailed *failed) {
    struct link *link = seat->link;
    if (failed->rank != seat->rank_idx) {
        lose_rank(link, seat->rank_idx, "sent the failure of another rank", NULL);
        return;
    }
    char why[FRAME_TEXT_MAX + 1];
    snprintf(why, sizeof why, "%.*s", (int)failed->text.len, (const char *)failed->text.data);
    struct watched *watched = &link->leader->watched[failed->rank];
    watched->last.phase = (enum group_phase)((int)failed->phase - 1);
    watched->last.layer = failed->layer;
    watched->last.step = failed->step;
    suspect(link, failed->rank, false, why);
}

static void on_message(struct connection *c, const Control__V1__Frame *message) {
    struct seat *seat = c->user;
    struct link *link = seat->link;
    if (seat->rank_idx == RANK_NONE) {
        if (message->body_case == CONTROL__V1__FRAME__BODY_HELLO)
            let_in(seat, message->hello);
        else
            empty_seat(seat);
        return;
    }
    switch (message->body_case) {
    case CONTROL__V1__FRAME__BODY_HEARTBEAT: {
        struct rank_report report = link_report(message->heartbeat);
        watched_hear(&link->leader->watched[seat->rank_idx], &report, link->clock.now_ns);
        break;
    }
    case CONTROL__V1__FRAME__BODY_RANK_LEFT:
        link->leader->peers[seat->rank_idx].left = true;
        link->leader->watched[seat->rank_idx].present = false;
        break;
    case CONTROL__V1__FRAME__BODY_RANK_FAILED:
        on_rank_failed(seat, message->rank_failed);
        break;
    case CONTROL__V1__FRAME__BODY_ABORT: { /* this process was stopped, and they went without it */
        char why[FRAME_TEXT_MAX + 1];
        snprintf(why, sizeof why, "%.*s", (int)message->abort->text.len,
                 (const char *)message->abort->text.data);
        link_lose_quietly(link, why);
        break;
    }
    default:
        lose_rank(link, seat->rank_idx, "sent a message that ranks do not send", NULL);
    }
}

static void on_ended(struct connection *c, const char *why) {
    struct seat *seat = c->user;
    struct link *link = seat->link;
    uint32_t rank_idx = seat->rank_idx;
    bool unexpected = rank_idx != RANK_NONE && !link->leader->peers[rank_idx].left;
    empty_seat(seat);
    if (unexpected)
        suspect(link, rank_idx, true, why);
    link_end_if_done(link);
}

static const struct connection_events events = {.message = on_message, .ended = on_ended};

/* ---- listening ---- */

static void accept_one(struct link *link) {
    struct leader *l = link->leader;
    struct seat *seat = NULL;
    for (uint32_t i = 0; i < l->n_seats && !seat; i++) {
        if (l->seats[i].c.state == CONNECTION_FREE)
            seat = &l->seats[i];
    }
    l->accept_waits = !seat;
    if (!seat || connection_init(&seat->c, &link->loop, &events, seat, &link->memory, NULL) != OK)
        return;
    seat->link = link;
    seat->rank_idx = RANK_NONE;
    seat->stranger_by_ns = link_in_ms(STRANGER_MS);
    if (uv_accept((uv_stream_t *)&l->listener, (uv_stream_t *)&seat->c.tcp) != 0 ||
        connection_start(&seat->c, NULL) != OK)
        empty_seat(seat);
}

static void on_connection(uv_stream_t *listener, int status) {
    if (status == 0)
        accept_one(listener->data);
}

static int listen_at(struct leader *l, const char *host) {
    struct sockaddr_storage address = {0};
    int rc = strchr(host, ':') ? uv_ip6_addr(host, 0, (struct sockaddr_in6 *)&address)
                               : uv_ip4_addr(host, 0, (struct sockaddr_in *)&address);
    if (!rc)
        rc = uv_tcp_bind(&l->listener, (struct sockaddr *)&address, 0);
    if (!rc)
        rc = uv_listen((uv_stream_t *)&l->listener, FRAME_RANKS_MAX, on_connection);
    return rc;
}

/* The addresses of this machine under which others reach it: IPv4 first, as clusters have it. */
static void list_hosts(struct link_address *address) {
    uv_interface_address_t *all;
    int n;
    if (uv_interface_addresses(&all, &n) != 0)
        return;
    for (int family = 0; family < 2; family++) {
        for (int i = 0; i < n && address->n_hosts < LINK_HOSTS_MAX; i++) {
            const struct sockaddr_in6 *six = &all[i].address.address6;
            bool is_six = six->sin6_family == AF_INET6;
            char *host = address->hosts[address->n_hosts];
            if (all[i].is_internal || is_six != (family == 1) ||
                (is_six && IN6_IS_ADDR_LINKLOCAL(&six->sin6_addr)))
                continue;
            int rc = is_six ? uv_ip6_name(six, host, LINK_HOST_BYTES)
                            : uv_ip4_name(&all[i].address.address4, host, LINK_HOST_BYTES);
            if (!rc)
                address->n_hosts++;
        }
    }
    uv_free_interface_addresses(all, n);
}

static enum status start_listening(struct link *link, struct error *err) {
    struct leader *l = link->leader;
    struct link_address *address = &link->address;
    if (getrandom(address->token, sizeof address->token, 0) != sizeof address->token)
        return error_set(err, ERR_IO, "control port: no random numbers");
    int rc = uv_tcp_init(&link->loop, &l->listener);
    l->listener.data = link;
    if (!rc)
        rc = listen_at(l, link->options.one_machine ? "127.0.0.1" : "0.0.0.0");
    struct sockaddr_storage bound = {0};
    int bytes = sizeof bound;
    if (!rc)
        rc = uv_tcp_getsockname(&l->listener, (struct sockaddr *)&bound, &bytes);
    if (rc)
        return error_set(err, ERR_IO, "control port: %s", uv_strerror(rc));
    address->port = ntohs(((struct sockaddr_in *)&bound)->sin_port);
    if (!link->options.one_machine)
        list_hosts(address);
    if (address->n_hosts == 0)
        snprintf(address->hosts[address->n_hosts++], LINK_HOST_BYTES, "127.0.0.1");
    return OK;
}

/* ---- the role ---- */

static void leader_tick(struct link *link, bool heartbeat) {
    struct leader *l = link->leader;
    struct rank_report own = rank_report_of(link->options.progress);
    watched_hear(&l->watched[0], &own, link->clock.now_ns);
    for (uint32_t i = 0; i < l->n_seats; i++) {
        struct seat *seat = &l->seats[i];
        if (seat->c.state != CONNECTION_OPEN)
            continue;
        if (seat->rank_idx != RANK_NONE && heartbeat)
            link_send_heartbeat(link, &seat->c);
        else if (seat->rank_idx == RANK_NONE && clock_ns() > seat->stranger_by_ns)
            empty_seat(seat);
    }
    if (l->accept_waits)
        accept_one(link);
    if (link->is_lost)
        return;
    if (l->suspect.at_ns && clock_ns() > l->suspect.at_ns)
        accuse(link);
    const struct watch_limits limits = {.silence_ns = link->options.silence_ms * 1000000ull,
                                        .stall_ns = link->options.stall_ms * 1000000ull};
    uint32_t rank_idx;
    char what[64];
    switch (
        watch_check(l->watched, link->options.n_ranks, &limits, link->clock.now_ns, &rank_idx)) {
    case WATCH_FINE:
        break;
    case WATCH_SILENT:
        snprintf(what, sizeof what, "was stopped or cut off (silent for %.1f s)",
                 link->options.silence_ms / 1000.0);
        l->watched[rank_idx].last = own; /* as in suspect */
        lose_rank(link, rank_idx, what, NULL);
        break;
    case WATCH_STALLED:
        snprintf(what, sizeof what, "made no progress for %.1f s", link->options.stall_ms / 1000.0);
        lose_rank(link, rank_idx, what, NULL);
        break;
    }
}

static void leader_resume(struct link *link) {
    for (uint32_t r = 1; r < link->options.n_ranks; r++) {
        if (link->leader->peers[r].seat)
            connection_send_empty(&link->leader->peers[r].seat->c, CONTROL__V1__FRAME__BODY_RESUME);
    }
}

static void leader_fail(struct link *link, const struct error *why) {
    suspect(link, 0, false, why->text);
}

static void leader_leave(struct link *link) {
    for (uint32_t r = 1; r < link->options.n_ranks; r++) {
        if (link->leader->peers[r].seat)
            connection_send_empty(&link->leader->peers[r].seat->c, CONTROL__V1__FRAME__BODY_STOP);
    }
}

static void leader_lost(struct link *link, const char *line) {
    for (uint32_t r = 1; r < link->options.n_ranks; r++) {
        if (link->leader->peers[r].seat)
            connection_send_text(&link->leader->peers[r].seat->c, CONTROL__V1__FRAME__BODY_ABORT,
                                 line);
    }
}

/* When all ranks have closed and none is still to be accused. Closing first, with something of
 * theirs unread, would reset the connection and could take our last word with it. */
static bool leader_may_end(struct link *link) {
    if (link->leader->suspect.at_ns && !link->is_lost)
        return false;
    for (uint32_t r = 1; r < link->options.n_ranks; r++) {
        if (link->leader->peers[r].seat)
            return false;
    }
    return true;
}

static void leader_late(struct link *link) {
    for (uint32_t r = 1; r < link->options.n_ranks; r++) {
        if (link->leader->peers[r].seat && !link->leader->peers[r].left)
            lose_rank(link, r, "did not leave at the end", NULL);
    }
}

static const struct link_role role = {.tick = leader_tick,
                                      .resume = leader_resume,
                                      .fail = leader_fail,
                                      .leave = leader_leave,
                                      .lost = leader_lost,
                                      .may_end = leader_may_end,
                                      .late = leader_late};

enum status leader_open(struct link *link, struct error *err) {
    uint32_t n_ranks = link->options.n_ranks, n_seats = n_ranks - 1 + STRANGERS_MAX;
    struct leader *l = calloc(1, sizeof *l);
    link->leader = l;
    link->role = &role;
    if (l) {
        l->n_seats = n_seats;
        l->seats = calloc(n_seats, sizeof *l->seats);
        l->peers = calloc(n_ranks, sizeof *l->peers);
        l->watched = calloc(n_ranks, sizeof *l->watched);
    }
    if (!l || !l->seats || !l->peers || !l->watched)
        return error_set(err, ERR_NOMEM, "no memory for %u control connections", n_ranks);
    l->peers[0].name = link->self;
    count_missing(link);
    return start_listening(link, err);
}

void leader_free(struct link *link) {
    if (!link->leader)
        return;
    free(link->leader->seats);
    free(link->leader->peers);
    free(link->leader->watched);
    free(link->leader);
}

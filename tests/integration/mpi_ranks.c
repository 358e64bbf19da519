/* SPDX-License-Identifier: Apache-2.0 */
/* One rank of a group under mpirun, which checks what it can reach: mpi_ranks NODES CASE.
 * Run by mpi_ranks.sh. A rank that finds a fault says so and ends with 1; NODES 0 are the real
 * ones. */
#include "base/clock.h"
#include "base/rng.h"
#include "worker/comm/linkbench.h"
#include "worker/comm/mpi_world.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <unistd.h>

#define TAG (TRANSPORT_TAG_FREE + 3)

#define CHECK(condition)                                                                           \
    do {                                                                                           \
        if (!(condition))                                                                          \
            return error_set(err, ERR_INPUT, "line %d: not so: %s", __LINE__, #condition);         \
    } while (0)

static uint64_t key_of(uint32_t from, uint32_t to, uint64_t round) {
    return ((uint64_t)from << 40) + ((uint64_t)to << 20) + round;
}

static enum status check_facts(struct group *group, struct error *err) {
    uint64_t own = rng_u64(1, group->rank_idx), all[64];
    TRY(group_all_gather(group, &own, sizeof own, all, err));
    for (uint32_t i = 0; i < group->n_ranks; i++) {
        CHECK(all[i] == rng_u64(1, i));
        CHECK(i == 0 || group->ranks[i].node >= group->ranks[i - 1].node);
    }
    CHECK(group->ranks[group->rank_idx].node == group->node_idx);
    CHECK(group->ranks[group->n_ranks - 1].node == group->n_nodes - 1);
    return OK;
}

static enum status check_broadcast(struct group *group, struct error *err) {
    unsigned char *data = calloc(1, GROUP_BROADCAST_MAX);
    CHECK(data);
    for (uint64_t round = 0; round < 40; round++) {
        uint64_t wanted = round % 8 == 0 ? GROUP_BROADCAST_MAX : 1 + round * 97;
        uint64_t bytes = group->rank_idx == 0 ? wanted : 0;
        for (uint64_t i = 0; i < wanted; i++)
            data[i] = group->rank_idx == 0 ? (unsigned char)rng_u64(round, i) : 0;
        TRY(group_broadcast(group, data, GROUP_BROADCAST_MAX, &bytes, err));
        CHECK(bytes == wanted);
        for (uint64_t i = 0; i < bytes; i++)
            CHECK(data[i] == (unsigned char)rng_u64(round, i));
    }
    free(data);
    return OK;
}

static enum status check_agree(struct group *group, struct error *err) {
    struct error own = {.status = OK, .text = ""};
    if (group->rank_idx == group->n_ranks - 1)
        error_set(&own, ERR_NOMEM, "the last one is full");
    CHECK(group_agree(group, own.status, &own) == ERR_NOMEM);
    CHECK(strstr(own.text, "the last one is full"));
    return group_agree(group, OK, err);
}

/* Everybody sends to everybody on other nodes, posted in two orders, lengths from 0 to 1 MB. */
#define ROUNDS      12
#define MESSAGE_MAX (1u << 20)
struct mail {
    uint64_t *out, *in; /* [n_ranks][MESSAGE_MAX / 8] */
};

static enum status exchange_once(struct group *group, const struct mail *mail, uint64_t round,
                                 struct error *err) {
    struct transport *t = group->transport;
    transport_request requests[128];
    uint64_t got[128], n_words = round == 0 ? 0 : (uint64_t)1 << (round + 5);
    uint32_t n = 0;
    for (uint32_t i = 0; i < group->n_ranks; i++) {
        uint32_t peer = round % 2 ? group->n_ranks - 1 - i : i;
        if (group->ranks[peer].node == group->node_idx)
            continue;
        uint64_t *out = mail->out + peer * (MESSAGE_MAX / 8);
        uint64_t *in = mail->in + peer * (MESSAGE_MAX / 8);
        for (uint64_t w = 0; w < n_words; w++)
            out[w] = rng_u64(key_of(group->rank_idx, peer, round), w);
        TRY(t->ops->send(t, peer, TAG, out, n_words * 8, &requests[n++], err));
        TRY(t->ops->receive(t, peer, TAG, in, MESSAGE_MAX, &requests[n++], err));
    }
    TRY(t->ops->wait(t, requests, n, got, err));
    for (uint32_t i = 0, r = 0; i < group->n_ranks; i++) {
        uint32_t peer = round % 2 ? group->n_ranks - 1 - i : i;
        if (group->ranks[peer].node == group->node_idx)
            continue;
        CHECK(got[r] == 0 && got[r + 1] == n_words * 8);
        r += 2;
        for (uint64_t w = 0; w < n_words; w++)
            CHECK(mail->in[peer * (MESSAGE_MAX / 8) + w] ==
                  rng_u64(key_of(peer, group->rank_idx, round), w));
    }
    return OK;
}

static enum status check_messages(struct group *group, struct error *err) {
    if (group->n_nodes == 1)
        return OK;
    struct mail mail = {.out = malloc((size_t)group->n_ranks * MESSAGE_MAX),
                        .in = malloc((size_t)group->n_ranks * MESSAGE_MAX)};
    CHECK(mail.out && mail.in);
    for (uint64_t round = 0; round < ROUNDS; round++)
        TRY(exchange_once(group, &mail, round, err));
    free(mail.out);
    free(mail.in);
    return OK;
}

static enum status run_values(struct group *group, struct error *err) {
    TRY(check_facts(group, err));
    TRY(check_broadcast(group, err));
    TRY(check_agree(group, err));
    TRY(check_messages(group, err));
    TRY(group_resize_windows(group, 1 << 20, err));
    for (int i = 0; i < 200; i++)
        TRY(group_barrier(group, err));
    return OK;
}

/* One message of more than 2^31 bytes from the first rank to the last. */
static enum status run_long(struct group *group, struct error *err) {
    struct transport *t = group->transport;
    uint64_t n_words = ((uint64_t)1 << 28) + 1000, got = 0;
    transport_request request;
    if (group->rank_idx == 0 || group->rank_idx == group->n_ranks - 1) {
        bool sends = group->rank_idx == 0;
        uint64_t *words = calloc(n_words + 10, 8);
        CHECK(words);
        for (uint64_t w = 0; sends && w < n_words; w++)
            words[w] = w * RNG_STEP;
        TRY(sends ? t->ops->send(t, group->n_ranks - 1, TAG, words, n_words * 8, &request, err)
                  : t->ops->receive(t, 0, TAG, words, (n_words + 10) * 8, &request, err));
        TRY(t->ops->wait(t, &request, 1, &got, err));
        CHECK(got == (sends ? 0 : n_words * 8));
        for (uint64_t w = 0; w < n_words; w++)
            CHECK(words[w] == w * RNG_STEP);
        free(words);
    }
    return group_barrier(group, err);
}

/* A message longer than the room for it is an error, not an overrun. */
static enum status run_truncated(struct group *group, struct error *err) {
    struct transport *t = group->transport;
    uint64_t words[8] = {0};
    transport_request request;
    if (group->rank_idx == 0) {
        TRY(t->ops->send(t, group->n_ranks - 1, TAG, words, 64, &request, err));
        TRY(t->ops->wait(t, &request, 1, NULL, err));
    } else if (group->rank_idx == group->n_ranks - 1) {
        TRY(t->ops->receive(t, 0, TAG, words, 32, &request, err));
        CHECK(t->ops->wait(t, &request, 1, NULL, err) == ERR_COMM);
        CHECK(strstr(err->text, "message from rank 0 (node 0)"));
    }
    return group_barrier(group, err);
}

/* The last rank is silent for longer than the others wait. Those of its node must name it, and the
 * leader its node. */
static enum status run_silent(struct group *group, struct error *err) {
    char wanted[64];
    uint32_t silent = group->n_ranks - 1;
    TRY(group_barrier(group, err));
    if (group->rank_idx == silent) {
        sleep(3);
        return OK;
    }
    CHECK(group_barrier(group, err) == ERR_COMM);
    snprintf(wanted, sizeof wanted, "rank %u did not come", silent);
    CHECK(group->ranks[silent].node != group->node_idx || strstr(err->text, wanted));
    CHECK(group->rank_idx != 0 || strstr(err->text, "from rank 2 (node 1)"));
    return OK;
}

static enum status run_killed(struct group *group, struct error *err) {
    TRY(group_barrier(group, err));
    if (group->rank_idx == group->n_ranks - 1)
        raise(SIGKILL);
    return group_barrier(group, err);
}

/* What every start of a group measures. */
static enum status run_links(struct group *group, struct error *err) {
    struct linkbench_options options = linkbench_short();
    struct linkbench_results results;
    uint64_t begin_ns = clock_ns();
    TRY(linkbench_run(group, &options, &results, err));
    double ms = clock_seconds_since(begin_ns) * 1e3;
    CHECK(results.n_rows >= group->n_ranks * (group->n_ranks - 1) / 2);
    for (uint32_t i = 0; group->rank_idx == 0 && i < results.n_rows; i++) {
        const struct linkbench_row *row = &results.rows[i];
        printf("%s %u-%u: %.1f us + bytes / %.2f GB/s\n", linkbench_kind_name(row->kind),
               row->first, row->last, row->alpha_us, row->beta_gb_s);
    }
    if (group->rank_idx == 0)
        printf("links: %.0f ms\n", ms);
    linkbench_results_free(&results);
    return OK;
}

int main(int argc, char **argv) {
    static const struct {
        const char *name;
        enum status (*run)(struct group *group, struct error *err);
    } cases[] = {{"values", run_values},       {"links", run_links},   {"long", run_long},
                 {"truncated", run_truncated}, {"silent", run_silent}, {"killed", run_killed}};
    struct mpi_world_options options = {.timeout_ms = argc > 3 ? 1000 : 60000};
    struct mpi_world *world = NULL;
    struct error err = {.status = OK, .text = ""};
    if (argc < 3)
        return 2;
    options.n_nodes = (uint32_t)strtoul(argv[1], NULL, 10);
    enum status status = mpi_world_open(&world, &options, &err);
    size_t i = 0;
    while (i < sizeof cases / sizeof cases[0] && strcmp(cases[i].name, argv[2]) != 0)
        i++;
    if (!status)
        status = i < sizeof cases / sizeof cases[0]
                     ? cases[i].run(mpi_world_group(world), &err)
                     : error_set(&err, ERR_INPUT, "no case '%s'", argv[2]);
    if (status) {
        fprintf(stderr, "rank %u: %s\n", world ? mpi_world_group(world)->rank_idx : 0, err.text);
        if (world)
            group_abort(mpi_world_group(world));
    } else if (mpi_world_group(world)->rank_idx == 0) {
        printf("ok: %u ranks, %u nodes, %u threads\n", mpi_world_group(world)->n_ranks,
               mpi_world_group(world)->n_nodes, mpi_world_n_threads(world));
    }
    mpi_world_close(world);
    return status ? 1 : 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Everything is built before the first thread starts and torn down after the last one ended, so
 * the ranks share only what a group shares. */
#include "tests/support/thread_group.h"

#include "tests/support/thread_transport.h"

#include <pthread.h>
#include <stdlib.h>

struct rank_thread {
    struct threads *all;
    struct group group;
    pthread_t thread;
};

struct threads {
    uint32_t n_ranks;
    struct plan_rank places[THREAD_GROUP_RANKS_MAX];
    struct window *windows[THREAD_GROUP_RANKS_MAX];
    struct thread_hub *hub;
    struct rank_thread *ranks; /* [n_ranks] */
    thread_group_fn *fn;
    void *user;
    pthread_mutex_t lock; /* of failed: which error was first */
    struct error failed;
};

static void *rank_main(void *arg) {
    struct rank_thread *rank = arg;
    struct threads *all = rank->all;
    struct error err = {.status = OK, .text = ""};
    enum status status = all->fn(&rank->group, all->user, &err);
    if (status == OK)
        return NULL;
    pthread_mutex_lock(&all->lock);
    if (all->failed.status == OK || all->failed.status == ERR_CANCELLED) {
        error_set(&all->failed, status, "%s", err.text);
        error_wrap(&all->failed, "rank %u", rank->group.rank_idx);
    }
    pthread_mutex_unlock(&all->lock);
    for (uint32_t i = 0; i < all->n_ranks; i++)
        group_abort(&all->ranks[i].group);
    return NULL;
}

/* The ranks of node `node`: begin .. begin + n - 1. */
static enum status open_node(struct threads *all, const struct thread_group_options *options,
                             uint32_t node, uint32_t begin, uint32_t n, struct error *err) {
    uint32_t timeout_ms = options->timeout_ms ? options->timeout_ms : THREAD_GROUP_TIMEOUT_MS;
    struct window_options window = {.name = "threads",
                                    .n_ranks = n,
                                    .first_rank = begin,
                                    .bytes_each = options->window_bytes,
                                    .common_bytes = GROUP_COMMON_BYTES,
                                    .timeout_ms = timeout_ms};
    TRY(window_open_threads(&all->windows[begin], &window, err));
    for (uint32_t i = begin; i < begin + n; i++) {
        all->places[i] = (struct plan_rank){.node = node, .capacity = 1};
        struct rank_thread *rank = &all->ranks[i];
        rank->all = all;
        rank->group = (struct group){.n_ranks = options->n_ranks,
                                     .rank_idx = i,
                                     .n_nodes = options->n_nodes,
                                     .node_idx = node,
                                     .ranks = all->places,
                                     .node_rank_begin = begin,
                                     .n_node_ranks = n,
                                     .window = all->windows[i],
                                     .timeout_ms = timeout_ms};
        group_place_progress(&rank->group);
        if (options->n_nodes > 1)
            rank->group.transport = thread_transport_open(all->hub, i);
        if (options->n_nodes > 1 && !rank->group.transport)
            return error_set(err, ERR_NOMEM, "no memory for a transport");
    }
    return OK;
}

static enum status open_all(struct threads *all, const struct thread_group_options *options,
                            struct error *err) {
    uint32_t timeout_ms = options->timeout_ms ? options->timeout_ms : THREAD_GROUP_TIMEOUT_MS;
    all->ranks = calloc(options->n_ranks, sizeof *all->ranks);
    all->hub = thread_hub_open(options->n_ranks, timeout_ms);
    if (!all->ranks || !all->hub)
        return error_set(err, ERR_NOMEM, "no memory for %u ranks", options->n_ranks);
    for (uint32_t node = 0, begin = 0, end = 0; node < options->n_nodes; node++, begin = end) {
        while (end < options->n_ranks &&
               group_pretended_node(end, options->n_ranks, options->n_nodes) == node)
            end++;
        TRY(open_node(all, options, node, begin, end - begin, err));
    }
    return OK;
}

static void close_all(struct threads *all) {
    for (uint32_t i = 0; all->ranks && i < all->n_ranks; i++) {
        struct transport *t = all->ranks[i].group.transport;
        if (t)
            t->ops->close(t);
        window_close(all->windows[i]);
    }
    thread_hub_close(all->hub);
    free(all->ranks);
}

enum status thread_group_run_with(const struct thread_group_options *options, thread_group_fn *fn,
                                  void *user, struct error *err) {
    if (options->n_ranks < 1 || options->n_ranks > THREAD_GROUP_RANKS_MAX || options->n_nodes < 1 ||
        options->n_nodes > options->n_ranks)
        return error_set(err, ERR_LIMIT, "%u threads as ranks of %u nodes", options->n_ranks,
                         options->n_nodes);
    struct threads all = {.n_ranks = options->n_ranks, .fn = fn, .user = user};
    enum status status = open_all(&all, options, err);
    uint32_t n_started = 0;
    pthread_mutex_init(&all.lock, NULL);
    for (; !status && n_started < options->n_ranks; n_started++) {
        struct rank_thread *rank = &all.ranks[n_started];
        if (pthread_create(&rank->thread, NULL, rank_main, rank) != 0)
            status = error_set(err, ERR_IO, "no thread for rank %u", n_started);
    }
    for (uint32_t i = 0; status && i < n_started; i++)
        group_abort(&all.ranks[i].group);
    for (uint32_t i = 0; i < n_started; i++)
        pthread_join(all.ranks[i].thread, NULL);
    if (!status && all.failed.status)
        status = error_set(err, all.failed.status, "%s", all.failed.text);
    pthread_mutex_destroy(&all.lock);
    close_all(&all);
    return status;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* The door to NCCL with all GPUs of this machine, one thread each; without one there is nothing to
 * run but the refusal. Values are small integers, exact in any order. */
#include "worker/comm/nccl_comm.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <cuda_runtime.h>

#include <pthread.h>

#define RANKS_MAX 8
#define WORDS     5000u /* of one message */
#define DEVICE_MS 60000u

struct rank {
    uint32_t rank_idx, n_ranks;
    const unsigned char *id;
    struct nccl_comm *comm;
    struct nccl_buffer send, recv;
    cudaStream_t stream;
    float *host; /* [RANKS_MAX * WORDS] */
    struct error err;
    enum status status;
};

static enum status check(bool holds, const char *what, struct error *err) {
    return holds ? OK : error_set(err, ERR_INPUT, "%s has a wrong value", what);
}

static float value(uint32_t from, uint32_t to, uint32_t i) {
    return (float)((from * 31 + to * 7 + i) % 64);
}

/* Everything that this rank sends: WORDS for each receiver. */
static void give(struct rank *r) {
    for (uint32_t to = 0; to < r->n_ranks; to++) {
        for (uint32_t i = 0; i < WORDS; i++)
            r->host[to * WORDS + i] = value(r->rank_idx, to, i);
    }
    cudaMemcpy(r->send.data, r->host, r->n_ranks * WORDS * sizeof(float), cudaMemcpyHostToDevice);
    cudaMemset(r->recv.data, 0xff, r->n_ranks * WORDS * sizeof(float));
}

static enum status take(struct rank *r, uint32_t n_words, struct error *err) {
    TRY(nccl_comm_wait(r->comm, r->stream, err));
    cudaMemcpy(r->host, r->recv.data, n_words * sizeof(float), cudaMemcpyDeviceToHost);
    return OK;
}

static enum status gather(struct rank *r, struct error *err) {
    bool right = true;
    give(r);
    TRY(nccl_comm_all_gather(r->comm, r->send.data, r->recv.data, WORDS * sizeof(float), r->stream,
                             err));
    TRY(take(r, r->n_ranks * WORDS, err));
    for (uint32_t k = 0; k < r->n_ranks * WORDS; k++)
        right = right && r->host[k] == value(k / WORDS, 0, k % WORDS);
    return check(right, "all-gather", err);
}

static enum status reduce(struct rank *r, struct error *err) {
    bool right = true;
    give(r);
    TRY(nccl_comm_reduce_scatter(r->comm, r->send.data, r->recv.data, WORDS, r->stream, err));
    TRY(take(r, WORDS, err));
    for (uint32_t i = 0; i < WORDS; i++) {
        float sum = 0;
        for (uint32_t from = 0; from < r->n_ranks; from++)
            sum += value(from, r->rank_idx, i);
        right = right && r->host[i] == sum;
    }
    return check(right, "reduce-scatter", err);
}

/* Rank `from` sends WORDS - from words to each; rank 0 sends itself nothing. */
static enum status all_to_all(struct rank *r, struct error *err) {
    uint64_t begin[RANKS_MAX], send_bytes[RANKS_MAX], recv_bytes[RANKS_MAX];
    bool right = true;
    for (uint32_t i = 0; i < r->n_ranks; i++) {
        begin[i] = i * WORDS * sizeof(float);
        send_bytes[i] = (WORDS - r->rank_idx) * sizeof(float);
        recv_bytes[i] = (WORDS - i) * sizeof(float);
    }
    if (r->rank_idx == 0)
        send_bytes[0] = recv_bytes[0] = 0;
    struct nccl_all_to_all a = {.send = r->send.data,
                                .recv = r->recv.data,
                                .send_begin = begin,
                                .send_bytes = send_bytes,
                                .recv_begin = begin,
                                .recv_bytes = recv_bytes};
    give(r);
    TRY(nccl_comm_all_to_all(r->comm, &a, r->stream, err));
    TRY(take(r, r->n_ranks * WORDS, err));
    for (uint32_t from = 0; from < r->n_ranks; from++) {
        for (uint32_t i = 0; i < recv_bytes[from] / sizeof(float); i++)
            right = right && r->host[from * WORDS + i] == value(from, r->rank_idx, i);
    }
    return check(right, "all-to-all", err);
}

static enum status run_rank(struct rank *r, struct error *err) {
    uint64_t bytes = (uint64_t)r->n_ranks * WORDS * sizeof(float);
    TRY(nccl_comm_alloc(r->comm, bytes, &r->send, err));
    TRY(nccl_comm_alloc(r->comm, bytes, &r->recv, err));
    if (cudaStreamCreate(&r->stream) != cudaSuccess)
        return error_set(err, ERR_DEVICE, "no stream");
    TRY(gather(r, err));
    TRY(reduce(r, err));
    TRY(all_to_all(r, err));
    nccl_comm_abort(r->comm);
    enum status status = nccl_comm_wait(r->comm, r->stream, err);
    return status == ERR_CANCELLED ? OK : error_set(err, ERR_INPUT, "an abort was not noticed");
}

static void *rank_main(void *arg) {
    struct rank *r = arg;
    struct nccl_comm_options options = {.id = r->id,
                                        .n_ranks = r->n_ranks,
                                        .rank_idx = r->rank_idx,
                                        .device = r->rank_idx,
                                        .timeout_ms = DEVICE_MS};
    r->status = nccl_comm_open(&r->comm, &options, &r->err);
    if (r->status)
        return NULL;
    r->status = run_rank(r, &r->err);
    nccl_comm_free(r->comm, &r->send);
    nccl_comm_free(r->comm, &r->recv);
    nccl_comm_close(r->comm);
    if (r->stream)
        cudaStreamDestroy(r->stream);
    return NULL;
}

static void gpus_give_each_other_the_right_values(void **state) {
    (void)state;
    uint32_t n_ranks = nccl_comm_n_devices() < RANKS_MAX ? nccl_comm_n_devices() : RANKS_MAX;
    unsigned char id[NCCL_COMM_ID_BYTES];
    struct rank ranks[RANKS_MAX];
    pthread_t threads[RANKS_MAX];
    struct error err;
    if (n_ranks == 0) {
        print_message("skipped: no GPU is here\n");
        skip();
    }
    if (nccl_comm_make_id(id, &err) != OK)
        fail_msg("%s", err.text);
    for (uint32_t i = 0; i < n_ranks; i++) {
        ranks[i] = (struct rank){.rank_idx = i, .n_ranks = n_ranks, .id = id};
        ranks[i].host = malloc(RANKS_MAX * WORDS * sizeof(float));
        assert_non_null(ranks[i].host);
        assert_int_equal(pthread_create(&threads[i], NULL, rank_main, &ranks[i]), 0);
    }
    for (uint32_t i = 0; i < n_ranks; i++)
        pthread_join(threads[i], NULL);
    for (uint32_t i = 0; i < n_ranks; i++) {
        free(ranks[i].host);
        if (ranks[i].status)
            fail_msg("rank %u: %s", i, ranks[i].err.text);
    }
}

static void a_gpu_that_is_not_here_is_an_error(void **state) {
    (void)state;
    unsigned char id[NCCL_COMM_ID_BYTES] = {0};
    struct nccl_comm_options options = {
        .id = id, .n_ranks = 1, .device = nccl_comm_n_devices() + 3, .timeout_ms = DEVICE_MS};
    struct nccl_comm *comm = NULL;
    struct error err;
    assert_int_equal(nccl_comm_open(&comm, &options, &err), ERR_DEVICE);
    assert_non_null(strstr(err.text, "there are"));
    nccl_comm_close(comm);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gpus_give_each_other_the_right_values),
        cmocka_unit_test(a_gpu_that_is_not_here_is_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* The GPUs of a node that talk to each other: the door to NCCL.
 *
 *     nccl_comm_make_id on one rank -> its bytes to all (group_broadcast) -> nccl_comm_open on all
 *     operations on a stream ... -> nccl_comm_wait
 *
 * One rank has one GPU. Communicators are non-blocking: every call, and the work on the stream, is
 * waited for with a deadline, and a communicator that failed, was late or was aborted is good for
 * nothing but close. Memory that travels comes from nccl_comm_alloc, which registers it, so that
 * NVLink and its switches may read it in place.
 *
 * Sums: NCCL adds in an order of its own, which depends on the number of ranks. What must have the
 * same bits on every layout is gathered and added by our kernels (tensor/tree.h); the reduction
 * here is for values that are exact in any order, and for two ranks.
 *
 * Linked only where CUDA and NCCL are found. Engine thread, except nccl_comm_abort. */
#ifndef SHOAL_WORKER_COMM_NCCL_COMM_H
#define SHOAL_WORKER_COMM_NCCL_COMM_H

#include <stdint.h>

#include "base/error.h"

#define NCCL_COMM_ID_BYTES 128

struct CUstream_st; /* a cudaStream_t points to it */

struct nccl_comm; /* opaque */

/* GPUs of this process's machine; 0 where there is no driver. */
uint32_t nccl_comm_n_devices(void);

/* What the ranks of one communicator have in common: made by one, known to all. */
enum status nccl_comm_make_id(unsigned char id[NCCL_COMM_ID_BYTES], struct error *err);

struct nccl_comm_options {
    const unsigned char *id; /* [NCCL_COMM_ID_BYTES] */
    uint32_t n_ranks, rank_idx;
    uint32_t device;     /* of this rank */
    uint32_t timeout_ms; /* of opening, of every call and of nccl_comm_wait */
};
/* Collective. ERR_DEVICE: no such GPU, or CUDA failed; ERR_COMM; ERR_NOMEM. */
enum status nccl_comm_open(struct nccl_comm **out, const struct nccl_comm_options *options,
                           struct error *err);
void nccl_comm_close(struct nccl_comm *comm); /* collective unless it failed; NULL is fine */

/* Device memory that may travel; zeroed struct: none. */
struct nccl_buffer {
    void *data;
    uint64_t bytes;
    void *registration;
};
enum status nccl_comm_alloc(struct nccl_comm *comm, uint64_t bytes, struct nccl_buffer *out,
                            struct error *err);
void nccl_comm_free(struct nccl_comm *comm, struct nccl_buffer *buffer);

/* recv[r] of all ranks = send of rank r; recv is [n_ranks][bytes_each], send may be its own place
 * in it. */
enum status nccl_comm_all_gather(struct nccl_comm *comm, const void *send, void *recv,
                                 uint64_t bytes_each, struct CUstream_st *stream,
                                 struct error *err);

/* recv [n_each] = sum over ranks of send[own rank], of send [n_ranks][n_each]. */
enum status nccl_comm_reduce_scatter(struct nccl_comm *comm, const float *send, float *recv,
                                     uint64_t n_each, struct CUstream_st *stream,
                                     struct error *err);

/* Each rank sends something of its own to each, itself included: grouped sends and receives. */
struct nccl_all_to_all {
    const unsigned char *send;
    unsigned char *recv;
    const uint64_t *send_begin, *send_bytes; /* [n_ranks], by receiver */
    const uint64_t *recv_begin, *recv_bytes; /* [n_ranks], by sender */
};
enum status nccl_comm_all_to_all(struct nccl_comm *comm, const struct nccl_all_to_all *a,
                                 struct CUstream_st *stream, struct error *err);

/* Until the stream has done what it was given. ERR_COMM: after timeout_ms, or NCCL failed; then the
 * communicator is aborted, which ends what it had on the stream. ERR_CANCELLED: nccl_comm_abort.
 * ERR_DEVICE: CUDA failed. */
enum status nccl_comm_wait(struct nccl_comm *comm, struct CUstream_st *stream, struct error *err);

/* Ends the waits of this rank, now and later. Any thread. */
void nccl_comm_abort(struct nccl_comm *comm);

#endif

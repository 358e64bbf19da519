/* SPDX-License-Identifier: Apache-2.0 */
/* NCCL's calls return ncclInProgress while threads of its own work on them (NCCL user guide,
 * "Fault tolerance"); until that is over no other call may be made, so each of ours settles before
 * it returns. ncclCommAbort is called by the engine thread only, in the loop that noticed: it frees
 * the communicator, and another thread could still be using it. It may itself hang in a driver;
 * then the rank's watchdog ends the process. */
#include "worker/comm/nccl_comm.h"

#include "base/clock.h"

#include <cuda_runtime.h>
#include <nccl.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* Work on a stream takes from ten microseconds up: spin for that long, then look now and then. */
#define SPIN_NS  200000u
#define SLEEP_NS 20000

struct nccl_comm {
    ncclComm_t nccl; /* NULL: aborted */
    struct nccl_comm_options options;
    _Atomic bool aborted;
};

static enum status cuda_failed(cudaError_t code, const char *call, uint32_t device,
                               struct error *err) {
    return error_set(err, code == cudaErrorMemoryAllocation ? ERR_NOMEM : ERR_DEVICE,
                     "GPU %u: %.*s: %s", device, (int)strcspn(call, "("), call,
                     cudaGetErrorString(code));
}

#define CUDA_TRY(call, device, err)                                                                \
    do {                                                                                           \
        cudaError_t cuda_code_ = (call);                                                           \
        if (cuda_code_ != cudaSuccess)                                                             \
            return cuda_failed(cuda_code_, #call, (device), (err));                                \
    } while (0)

static void give_up(struct nccl_comm *comm) {
    if (comm->nccl)
        ncclCommAbort(comm->nccl);
    comm->nccl = NULL;
}

static enum status nccl_failed(struct nccl_comm *comm, ncclResult_t code, const char *call,
                               struct error *err) {
    const char *last = ncclGetLastError(comm->nccl);
    error_set(err, ERR_COMM, "rank %u of %u GPUs of a node (GPU %u): %s: %s%s%.200s",
              comm->options.rank_idx, comm->options.n_ranks, comm->options.device, call,
              ncclGetErrorString(code), last && *last ? ": " : "", last ? last : "");
    give_up(comm);
    return ERR_COMM;
}

static enum status check_usable(const struct nccl_comm *comm, struct error *err) {
    if (atomic_load(&comm->aborted))
        return error_set(err, ERR_CANCELLED, "the worker group was ended");
    return comm->nccl ? OK : error_set(err, ERR_COMM, "the link between the GPUs has failed");
}

/* Between two looks: false when the wait is over without success. */
static bool go_on(struct nccl_comm *comm, const char *call, uint64_t begin_ns, enum status *status,
                  struct error *err) {
    uint64_t waited_ns = clock_ns() - begin_ns;
    if (atomic_load(&comm->aborted)) {
        give_up(comm);
        *status = error_set(err, ERR_CANCELLED, "the worker group was ended");
        return false;
    }
    if (waited_ns >= (uint64_t)comm->options.timeout_ms * 1000000u) {
        give_up(comm);
        *status = error_set(err, ERR_COMM,
                            "rank %u of %u GPUs of a node (GPU %u): %s: not done after %u ms",
                            comm->options.rank_idx, comm->options.n_ranks, comm->options.device,
                            call, comm->options.timeout_ms);
        return false;
    }
    if (waited_ns > SPIN_NS)
        nanosleep(&(struct timespec){.tv_nsec = SLEEP_NS}, NULL);
    return true;
}

/* Until NCCL has done what `code` says it began. */
static enum status settle(struct nccl_comm *comm, ncclResult_t code, const char *call,
                          struct error *err) {
    uint64_t begin_ns = clock_ns();
    enum status status = OK;
    while (code == ncclInProgress) {
        ncclResult_t asked = ncclCommGetAsyncError(comm->nccl, &code);
        if (asked != ncclSuccess)
            code = asked;
        if (code == ncclInProgress && !go_on(comm, call, begin_ns, &status, err))
            return status;
    }
    return code == ncclSuccess ? OK : nccl_failed(comm, code, call, err);
}

/* ---- opening ---- */

uint32_t nccl_comm_n_devices(void) {
    int n = 0;
    return cudaGetDeviceCount(&n) == cudaSuccess && n > 0 ? (uint32_t)n : 0;
}

enum status nccl_comm_make_id(unsigned char id[NCCL_COMM_ID_BYTES], struct error *err) {
    _Static_assert(sizeof(ncclUniqueId) == NCCL_COMM_ID_BYTES, "an id is these bytes");
    ncclUniqueId nccl_id;
    ncclResult_t code = ncclGetUniqueId(&nccl_id);
    if (code != ncclSuccess)
        return error_set(err, ERR_COMM, "ncclGetUniqueId: %s", ncclGetErrorString(code));
    memcpy(id, &nccl_id, sizeof nccl_id);
    return OK;
}

/* Symbols of another major version may mean other things. */
static enum status check_version(struct error *err) {
    int version = 0;
    if (ncclGetVersion(&version) != ncclSuccess || version / 10000 != NCCL_MAJOR)
        return error_set(err, ERR_UNSUPPORTED, "NCCL %d.%d is installed, %d is needed",
                         version / 10000, version / 100 % 100, NCCL_MAJOR);
    return OK;
}

enum status nccl_comm_open(struct nccl_comm **out, const struct nccl_comm_options *options,
                           struct error *err) {
    uint32_t n_devices = nccl_comm_n_devices();
    if (options->device >= n_devices)
        return error_set(err, ERR_DEVICE, "GPU %u: there are %u here", options->device, n_devices);
    TRY(check_version(err));
    CUDA_TRY(cudaSetDevice((int)options->device), options->device, err);
    struct nccl_comm *comm = calloc(1, sizeof *comm);
    if (!comm)
        return error_set(err, ERR_NOMEM, "no memory for a communicator");
    comm->options = *options;
    ncclUniqueId id;
    memcpy(&id, options->id, sizeof id);
    comm->options.id = NULL; /* borrowed for this call */
    ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
    config.blocking = 0;
    ncclResult_t code = ncclCommInitRankConfig(&comm->nccl, (int)options->n_ranks, id,
                                               (int)options->rank_idx, &config);
    enum status status = settle(comm, code, "ncclCommInitRankConfig", err);
    if (status) {
        nccl_comm_close(comm);
        return status;
    }
    *out = comm;
    return OK;
}

void nccl_comm_close(struct nccl_comm *comm) {
    if (!comm)
        return;
    struct error ignored;
    if (comm->nccl && !atomic_load(&comm->aborted) &&
        settle(comm, ncclCommFinalize(comm->nccl), "ncclCommFinalize", &ignored) == OK) {
        ncclCommDestroy(comm->nccl);
        comm->nccl = NULL;
    }
    give_up(comm);
    free(comm);
}

enum status nccl_comm_alloc(struct nccl_comm *comm, uint64_t bytes, struct nccl_buffer *out,
                            struct error *err) {
    TRY(check_usable(comm, err));
    struct nccl_buffer buffer = {.bytes = bytes};
    if (ncclMemAlloc(&buffer.data, bytes) != ncclSuccess)
        return error_set(err, ERR_NOMEM, "GPU %u: no %llu bytes for what ranks exchange",
                         comm->options.device, (unsigned long long)bytes);
    ncclResult_t code = ncclCommRegister(comm->nccl, buffer.data, bytes, &buffer.registration);
    enum status status = settle(comm, code, "ncclCommRegister", err);
    if (status)
        ncclMemFree(buffer.data);
    else
        *out = buffer;
    return status;
}

void nccl_comm_free(struct nccl_comm *comm, struct nccl_buffer *buffer) {
    struct error ignored;
    if (buffer->registration && comm->nccl)
        settle(comm, ncclCommDeregister(comm->nccl, buffer->registration), "ncclCommDeregister",
               &ignored);
    if (buffer->data)
        ncclMemFree(buffer->data);
    *buffer = (struct nccl_buffer){0};
}

/* ---- operations ---- */

enum status nccl_comm_all_gather(struct nccl_comm *comm, const void *send, void *recv,
                                 uint64_t bytes_each, struct CUstream_st *stream,
                                 struct error *err) {
    TRY(check_usable(comm, err));
    return settle(comm, ncclAllGather(send, recv, bytes_each, ncclUint8, comm->nccl, stream),
                  "ncclAllGather", err);
}

enum status nccl_comm_reduce_scatter(struct nccl_comm *comm, const float *send, float *recv,
                                     uint64_t n_each, struct CUstream_st *stream,
                                     struct error *err) {
    TRY(check_usable(comm, err));
    return settle(comm,
                  ncclReduceScatter(send, recv, n_each, ncclFloat32, ncclSum, comm->nccl, stream),
                  "ncclReduceScatter", err);
}

/* Empty messages are left out on both sides. A group that was begun is ended whatever happens. */
enum status nccl_comm_all_to_all(struct nccl_comm *comm, const struct nccl_all_to_all *a,
                                 struct CUstream_st *stream, struct error *err) {
    TRY(check_usable(comm, err));
    ncclResult_t code = ncclGroupStart();
    if (code != ncclSuccess)
        return nccl_failed(comm, code, "ncclGroupStart", err);
    for (uint32_t r = 0; r < comm->options.n_ranks; r++) {
        if (a->send_bytes[r] > 0 && (code == ncclSuccess || code == ncclInProgress))
            code = ncclSend(a->send + a->send_begin[r], a->send_bytes[r], ncclUint8, (int)r,
                            comm->nccl, stream);
        if (a->recv_bytes[r] > 0 && (code == ncclSuccess || code == ncclInProgress))
            code = ncclRecv(a->recv + a->recv_begin[r], a->recv_bytes[r], ncclUint8, (int)r,
                            comm->nccl, stream);
    }
    ncclResult_t ended = ncclGroupEnd();
    bool posted = code == ncclSuccess || code == ncclInProgress;
    return settle(comm, posted ? ended : code, "ncclSend and ncclRecv", err);
}

enum status nccl_comm_wait(struct nccl_comm *comm, struct CUstream_st *stream, struct error *err) {
    TRY(check_usable(comm, err));
    uint64_t begin_ns = clock_ns();
    for (;;) {
        cudaError_t cuda = cudaStreamQuery(stream);
        if (cuda != cudaSuccess && cuda != cudaErrorNotReady)
            return cuda_failed(cuda, "cudaStreamQuery", comm->options.device, err);
        ncclResult_t code = ncclSuccess;
        ncclResult_t asked = ncclCommGetAsyncError(comm->nccl, &code);
        if (asked != ncclSuccess || (code != ncclSuccess && code != ncclInProgress))
            return nccl_failed(comm, asked != ncclSuccess ? asked : code, "work of the stream",
                               err);
        if (cuda == cudaSuccess)
            return OK;
        enum status status = OK;
        if (!go_on(comm, "work of the stream", begin_ns, &status, err))
            return status;
    }
}

void nccl_comm_abort(struct nccl_comm *comm) {
    atomic_store(&comm->aborted, true);
}

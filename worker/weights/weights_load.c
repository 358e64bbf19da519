/* SPDX-License-Identifier: Apache-2.0 */
/* The network is listed as stacks of equal matrices, a stack is cut into pieces, and the threads
 * take pieces from a counter in that order: the disk sees one stream, and a slow thread delays
 * nobody by more than a piece. */
#include "worker/weights/weights_load.h"

#include "base/arena.h"
#include "base/clock.h"
#include "base/size.h"
#include "tensor/panels.h"
#include "worker/cache/mapping.h"

#include <assert.h>
#include <stdatomic.h>
#include <string.h>

/* Large against the counter and three calls of the system, small against what all threads have in
 * hand at the end. */
#define PIECE_BYTES (1u << 20)

/* So far ahead of its readers the disk is told to work: enough requests in flight for the fastest
 * of them, little against the memory of any machine. */
#define PIECES_AHEAD 64u

#define REPORT_NS 100000000u

/* Matrices of one shape that follow each other in memory: one linear, or a projection of all
 * experts. A panel is 16 rows here, also where it stays rows. */
struct stack {
    struct linear *linear; /* one of the two */
    struct expert_matrices *experts;
    const struct gguf_part *file; /* where the rows lie; NULL: not in a mapped file */
    struct cut rows_kept, columns_kept;
    uint64_t file_row_bytes;
    struct panel_rows rows; /* of a whole panel of ours */
    enum matrix_layout layout;
    uint32_t d_out, n_matrices;
    uint32_t n_panels; /* of each matrix */
    uint64_t panel_bytes, matrix_bytes;
    uint64_t offset;       /* of the first matrix in our memory */
    uint32_t piece_panels; /* a piece is so many panels of one matrix */
    uint64_t first_piece, n_pieces;
};

struct loader {
    const struct weights_load_options *options;
    const struct gguf *gguf; /* NULL: only counted */
    struct stack *stacks;    /* NULL: only counted */
    enum matrix_layout quantised;
    uint32_t n_stacks;
    uint64_t n_pieces;
    struct weights_load_size size;
    uint64_t gathered_bytes; /* of the largest panel that is put together from pieces of rows */
    unsigned char *gathered; /* [threads][gathered_bytes] */
    unsigned char *memory;
    _Atomic uint64_t next_piece, bytes_done;
    atomic_bool failed;
    struct error err; /* of the thread that failed first */
    uint64_t reported_ns;
};

/* Which of the model's files holds these bytes; NULL: none that is mapped. */
static const struct gguf_part *find_file(const struct loader *l, const void *data) {
    const struct gguf *gguf = l->gguf;
    for (uint32_t i = 0; gguf && i < gguf->n_parts; i++) {
        if (mapped_file_holds(&gguf->parts[i].file, data))
            return &gguf->parts[i];
    }
    return NULL;
}

/* Fills in what follows from the first matrix, and gives the stack its place. */
static void add_stack(struct loader *l, struct stack stack, const struct matrix *first) {
    if (first->d_out == 0 || stack.n_matrices == 0)
        return;
    bool panels = dtype_is_quantised(first->dtype) && l->quantised == MATRIX_PANELS;
    stack.layout = panels ? MATRIX_PANELS : MATRIX_ROWS;
    stack.rows = (struct panel_rows){.dtype = first->dtype,
                                     .d_in = first->d_in,
                                     .n_rows = PANEL_ROWS,
                                     .row_bytes = first->row_bytes};
    stack.d_out = first->d_out;
    stack.n_panels = panel_count(first->d_out);
    stack.panel_bytes =
        panels ? panel_bytes(first->dtype, first->d_in) : PANEL_ROWS * first->row_bytes;
    stack.matrix_bytes = panels ? stack.n_panels * stack.panel_bytes
                                : align_up(first->d_out * first->row_bytes, PANEL_ALIGNMENT);
    stack.piece_panels = (uint32_t)(PIECE_BYTES / stack.panel_bytes);
    if (stack.piece_panels == 0)
        stack.piece_panels = 1;
    stack.n_pieces = stack.n_matrices * div_up(stack.n_panels, stack.piece_panels);
    stack.offset = l->size.memory_bytes;
    stack.first_piece = l->n_pieces;
    uint64_t gathered = align_up(PANEL_ROWS * first->row_bytes, PANEL_ALIGNMENT);
    if (gathered > l->gathered_bytes)
        l->gathered_bytes = gathered;
    stack.file = find_file(l, first->data);
    if (l->stacks)
        l->stacks[l->n_stacks] = stack;
    l->n_stacks++;
    l->n_pieces += stack.n_pieces;
    l->size.file_bytes += first->d_out * first->row_bytes * stack.n_matrices;
    l->size.memory_bytes += stack.n_matrices * stack.matrix_bytes;
}

static void add_linear(struct loader *l, struct linear *linear) {
    struct stack stack = {.linear = linear,
                          .n_matrices = 1,
                          .rows_kept = linear->rows,
                          .columns_kept = linear->columns,
                          .file_row_bytes = linear->file_row_bytes};
    add_stack(l, stack, &linear->w);
}

static void add_experts(struct loader *l, struct expert_matrices *experts) {
    if (experts->n_experts == 0)
        return;
    struct matrix first = expert_matrix(experts, 0);
    struct stack stack = {
        .experts = experts, .n_matrices = experts->n_experts, .file_row_bytes = experts->row_bytes};
    add_stack(l, stack, &first);
}

static void add_layer(struct loader *l, struct bound_layer *layer) {
    struct layer_linears linears = forward_layer_linears(layer);
    for (size_t i = 0; i < LAYER_LINEARS; i++) {
        add_linear(l, linears.all[i]);
        if (linears.all[i] == &layer->ffn.router) {
            add_experts(l, &layer->ffn.gate_exps);
            add_experts(l, &layer->ffn.up_exps);
            add_experts(l, &layer->ffn.down_exps);
        }
    }
}

static void list_stacks(struct loader *l, struct forward *f) {
    for (uint32_t i = 0; i < f->hp->n_layers; i++)
        add_layer(l, &f->layers[i]);
    add_linear(l, &f->head);
    if (f->mtp) {
        add_linear(l, &f->mtp->eh_proj);
        add_layer(l, &f->mtp->layer);
    }
}

struct weights_load_size weights_load_size(struct forward *f, enum matrix_layout quantised) {
    struct loader counted = {.quantised = quantised};
    list_stacks(&counted, f);
    return counted.size;
}

/* Consecutive panels of one matrix: from rows in the file to their place. */
struct piece {
    const unsigned char *matrix; /* row 0 in the file */
    unsigned char *to;
    uint32_t first_row, n_rows; /* of ours */
};

static struct piece find_piece(const struct loader *l, const struct stack *s, uint64_t piece_idx) {
    uint64_t pieces_each = s->n_pieces / s->n_matrices;
    uint64_t in_stack = piece_idx - s->first_piece;
    uint64_t matrix_idx = in_stack / pieces_each;
    uint64_t panel_idx = in_stack % pieces_each * s->piece_panels;
    uint64_t row_idx = panel_idx * PANEL_ROWS, n_rows = (uint64_t)s->piece_panels * PANEL_ROWS;
    if (n_rows > s->d_out - row_idx)
        n_rows = s->d_out - row_idx;
    return (struct piece){.matrix = s->linear ? s->linear->w.data : s->experts->data[matrix_idx],
                          .to = l->memory + s->offset + matrix_idx * s->matrix_bytes +
                                panel_idx * s->panel_bytes,
                          .first_row = (uint32_t)row_idx,
                          .n_rows = (uint32_t)n_rows};
}

/* Rows that follow each other in the file, beginning with one of ours. */
struct file_rows {
    const unsigned char *data;
    uint32_t n_rows;
};

static struct file_rows find_rows(const struct stack *s, const struct piece *piece, uint32_t row,
                                  uint32_t n_rows) {
    uint32_t in_file = row, n = n_rows, before = 0;
    for (uint32_t i = 0; i < s->rows_kept.n_runs; i++) {
        const struct krun *run = &s->rows_kept.runs[i];
        uint32_t length = run->end - run->begin;
        if (row < before + length) {
            in_file = run->begin + (row - before);
            n = run->end - in_file < n_rows ? run->end - in_file : n_rows;
            break;
        }
        before += length;
    }
    return (struct file_rows){piece->matrix + in_file * s->file_row_bytes, n};
}

static enum status fetch(const struct stack *s, struct file_rows rows, struct error *err) {
    if (!s->file ||
        mapped_file_fetch(&s->file->file, rows.data, rows.n_rows * s->file_row_bytes, err) == OK)
        return OK;
    error_wrap(err, "%s", s->file->path);
    return err->status;
}

/* One row of ours from one of the file. */
static void take_columns(const struct stack *s, const unsigned char *row, unsigned char *to) {
    const struct dtype_info *info = dtype_info(s->rows.dtype);
    for (uint32_t i = 0; i < s->columns_kept.n_runs; i++) {
        const struct krun *run = &s->columns_kept.runs[i];
        uint64_t begin = (uint64_t)run->begin / info->block_elements * info->block_bytes;
        uint64_t end = (uint64_t)run->end / info->block_elements * info->block_bytes;
        memcpy(to, row + begin, end - begin);
        to += end - begin;
    }
    if (s->columns_kept.n_runs == 0)
        memcpy(to, row, s->rows.row_bytes);
}

/* Rows first .. first + n_rows - 1 of ours, one after the other, at `to`. */
static enum status gather_rows(const struct stack *s, const struct piece *piece, uint32_t first,
                               uint32_t n_rows, unsigned char *to, struct error *err) {
    for (uint32_t done = 0; done < n_rows;) {
        struct file_rows rows = find_rows(s, piece, first + done, n_rows - done);
        TRY(fetch(s, rows, err));
        for (uint32_t i = 0; i < rows.n_rows; i++)
            take_columns(s, rows.data + i * s->file_row_bytes, to + (done + i) * s->rows.row_bytes);
        done += rows.n_rows;
    }
    return OK;
}

/* Up to 16 rows to their panel, or to rows of ours. They are packed straight from the file where
 * they lie together in it. */
static enum status load_panel(const struct loader *l, const struct stack *s,
                              const struct piece *piece, uint32_t row, uint32_t thread_idx,
                              struct error *err) {
    struct panel_rows shape = s->rows;
    unsigned char *to = piece->to + (row - piece->first_row) / PANEL_ROWS * s->panel_bytes;
    if (shape.n_rows > piece->first_row + piece->n_rows - row)
        shape.n_rows = piece->first_row + piece->n_rows - row;
    if (s->layout == MATRIX_ROWS)
        return gather_rows(s, piece, row, shape.n_rows, to, err);
    struct file_rows rows = find_rows(s, piece, row, shape.n_rows);
    if (s->columns_kept.n_runs == 0 && rows.n_rows == shape.n_rows) {
        panel_pack(&shape, rows.data, to);
        return OK;
    }
    unsigned char *gathered = l->gathered + thread_idx * l->gathered_bytes;
    TRY(gather_rows(s, piece, row, shape.n_rows, gathered, err));
    panel_pack(&shape, gathered, to);
    return OK;
}

static enum status load_piece(const struct loader *l, const struct stack *s, uint64_t piece_idx,
                              uint32_t thread_idx, struct error *err) {
    struct piece piece = find_piece(l, s, piece_idx);
    uint32_t end = piece.first_row + piece.n_rows;
    struct file_rows rows = find_rows(s, &piece, piece.first_row, piece.n_rows);
    TRY(fetch(s, rows, err)); /* what begins the piece, mostly all of it, in one call */
    for (uint32_t row = piece.first_row; row < end; row += PANEL_ROWS)
        TRY(load_panel(l, s, &piece, row, thread_idx, err));
    for (uint32_t row = piece.first_row; s->file && row < end; row += rows.n_rows) {
        rows = find_rows(s, &piece, row, end - row);
        mapped_file_drop(&s->file->file, rows.data, rows.n_rows * s->file_row_bytes);
    }
    return OK;
}

/* The stack of a piece at or behind `s`. */
static const struct stack *stack_of(const struct stack *s, uint64_t piece_idx) {
    while (piece_idx >= s->first_piece + s->n_pieces)
        s++;
    return s;
}

static void expect_piece(const struct loader *l, const struct stack *s, uint64_t piece_idx) {
    if (piece_idx >= l->n_pieces)
        return;
    s = stack_of(s, piece_idx);
    struct piece piece = find_piece(l, s, piece_idx);
    struct file_rows rows = find_rows(s, &piece, piece.first_row, piece.n_rows);
    if (s->file)
        mapped_file_expect(&s->file->file, rows.data, rows.n_rows * s->file_row_bytes);
}

static void fail(struct loader *l, const struct error *err) {
    if (!atomic_exchange(&l->failed, true))
        l->err = *err;
}

/* Of thread 0 only. */
static void report(struct loader *l) {
    struct error err;
    if (!l->options->progress || clock_ns() - l->reported_ns < REPORT_NS)
        return;
    l->reported_ns = clock_ns();
    if (!l->options->progress(l->options->user, l->bytes_done, l->size.file_bytes)) {
        error_set(&err, ERR_CANCELLED, "loading was interrupted");
        fail(l, &err);
    }
}

static void load_pieces(void *arg, uint32_t thread_idx, uint32_t n_threads) {
    struct loader *l = arg;
    const struct stack *stack = l->stacks;
    (void)n_threads; /* who is free takes the next piece */
    while (!l->failed) {
        uint64_t piece_idx = atomic_fetch_add(&l->next_piece, 1);
        if (piece_idx >= l->n_pieces)
            return;
        struct error err;
        stack = stack_of(stack, piece_idx);
        expect_piece(l, stack, piece_idx + PIECES_AHEAD);
        if (load_piece(l, stack, piece_idx, thread_idx, &err) != OK)
            fail(l, &err);
        l->bytes_done += find_piece(l, stack, piece_idx).n_rows * stack->rows.row_bytes;
        if (thread_idx == 0)
            report(l);
    }
}

/* The bound network reads what was loaded from now on. */
static void replace(const struct stack *s, unsigned char *memory) {
    unsigned char *first = memory + s->offset;
    if (s->linear) {
        s->linear->w.data = first;
        s->linear->w.layout = s->layout;
        return;
    }
    /* bind made the array; the kernels' view of it is what is const. */
    const void **data = (const void **)(uintptr_t)s->experts->data;
    for (uint32_t i = 0; i < s->n_matrices; i++)
        data[i] = first + i * s->matrix_bytes;
    s->experts->layout = s->layout;
}

static enum status load_stacks(struct loader *l, struct error *err) {
    const struct weights_load_options *o = l->options;
    if (o->progress && !o->progress(o->user, 0, l->size.file_bytes))
        return error_set(err, ERR_CANCELLED, "loading was interrupted");
    l->reported_ns = clock_ns();
    for (uint64_t i = 0; i < PIECES_AHEAD; i++)
        expect_piece(l, l->stacks, i);
    thread_pool_run(o->pool, load_pieces, l);
    if (l->failed)
        return error_set(err, l->err.status, "%s", l->err.text);
    if (o->progress)
        o->progress(o->user, l->size.file_bytes, l->size.file_bytes);
    return OK;
}

/* What else was read of the files, headers above all, goes too and comes back where it is needed:
 * the page cache's huge pages bring their neighbours along. */
static void drop_files(const struct gguf *gguf) {
    for (uint32_t i = 0; i < gguf->n_parts; i++) {
        const struct mapped_file *file = &gguf->parts[i].file;
        mapped_file_drop(file, file->data, file->bytes);
    }
}

enum status weights_load(struct weights_load *load, struct forward *f,
                         const struct weights_load_options *options, struct error *err) {
    struct loader counted = {.quantised = options->quantised};
    struct loader l = {.options = options, .gguf = options->gguf, .quantised = options->quantised};
    struct arena arena = {0};
    bool tied = f->embedding.data == f->head.w.data && f->head.rows.n_runs == 0;
    *load = (struct weights_load){0};
    list_stacks(&counted, f);
    l.stacks = arena_array(&arena, counted.n_stacks, sizeof *l.stacks);
    l.gathered = arena_alloc(&arena, thread_pool_n_threads(options->pool) * counted.gathered_bytes);
    if (!l.stacks || !l.gathered) {
        arena_free(&arena);
        return error_set(err, ERR_NOMEM, "no memory for a list of %u matrices", counted.n_stacks);
    }
    list_stacks(&l, f);
    void *memory;
    enum status status = mapping_take_huge(&memory, l.size.memory_bytes, "weights", err);
    if (status != OK)
        goto done;
    l.memory = memory;
    status = load_stacks(&l, err);
    if (status != OK) {
        mapping_give_back(memory, l.size.memory_bytes);
        goto done;
    }
    for (uint32_t i = 0; i < l.n_stacks; i++)
        replace(&l.stacks[i], l.memory);
    if (tied)
        f->embedding = f->head.w;
    drop_files(options->gguf);
    *load = (struct weights_load){.memory = memory, .bytes = l.size.memory_bytes};
done:
    arena_free(&arena);
    return status;
}

void weights_load_free(struct weights_load *load) {
    mapping_give_back(load->memory, load->bytes);
    *load = (struct weights_load){0};
}

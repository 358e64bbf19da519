/* SPDX-License-Identifier: Apache-2.0 */
/* A plan as a table of ranks for people, CSV and JSON lines, and as one JSON object with
 * everything. Ranges are first-last for people, [begin, end) for programs. */
#include "cli/plan.h"

#include "base/json.h"
#include "cli/table.h"

#include <inttypes.h>
#include <stdio.h>

static const struct table_column columns[] = {
    {"rank", "rank", true},
    {"node", "node", true},
    {"group", "group", true},
    {"capacity", NULL, true},
    {"n_heads", "heads", true},
    {"kv_heads", "KV heads", true},
    {"n_k_heads", "key heads", true},
    {"d_ff", "FFN", true},
    {"experts", "experts", true},
    {"vocab", "vocabulary", true},
    {"experts_bytes", NULL, true},
    {"weights_bytes", "weights", true},
    {"kv_bytes", "KV cache", true},
    {"state_bytes", "states", true},
    {"buffers_bytes", "buffers", true},
    {"total_bytes", "total", true},
};

static void add_range(struct table *table, struct index_range range) {
    char people[32] = "-", json[32];
    if (range.end - range.begin == 1)
        snprintf(people, sizeof people, "%u", range.begin);
    else if (range.end > range.begin)
        snprintf(people, sizeof people, "%u-%u", range.begin, range.end - 1);
    snprintf(json, sizeof json, "[%u,%u]", range.begin, range.end);
    table_both(table, people, json);
}

static void add_bytes(struct table *table, uint64_t bytes) {
    char people[16], json[24];
    format_bytes(bytes, people);
    snprintf(json, sizeof json, "%" PRIu64, bytes);
    table_both(table, people, json);
}

static void add_rank(struct table *table, const struct planned_group *p, uint32_t rank_idx) {
    const struct rank_share *share = &p->shard.ranks[rank_idx];
    const struct planned_rank *rank = &p->ranks[rank_idx];
    table_row(table);
    table_int(table, rank_idx);
    table_int(table, share->node);
    table_int(table, share->group);
    table_double(table, rank->capacity, 0);
    table_int(table, rank->size.n_heads);
    add_range(table, rank->size.kv_heads);
    table_int(table, rank->size.n_k_heads);
    table_int(table, rank->size.d_ff);
    add_range(table, share->experts);
    add_range(table, share->vocab);
    table_int(table, (int64_t)rank->size.experts_bytes);
    add_bytes(table, rank->memory.weights_bytes);
    add_bytes(table, rank->memory.kv_bytes);
    add_bytes(table, rank->memory.state_bytes);
    add_bytes(table, rank->memory.buffers_bytes);
    add_bytes(table, rank->memory.total_bytes);
}

/* "It fits: ..." below the table, of the fullest node. */
static void write_verdict(const struct planned_group *p) {
    char need[16], have[16];
    uint32_t fullest = 0, n_groups = p->shard.n_groups;
    for (uint32_t n = 1; n < p->shard.n_nodes; n++) {
        if (p->node_bytes[n] > p->node_bytes[fullest])
            fullest = n;
    }
    format_bytes(p->node_bytes[fullest], need);
    format_bytes(p->node_bytes_max, have);
    fprintf(p->cli->out, "\nIt %s: node %u takes %s of %s, with %u sequence%s of %u tokens",
            p->fits ? "fits" : "does not fit", fullest, need, have, p->engine.n_seqs,
            p->engine.n_seqs == 1 ? "" : "s", p->ctx_size);
    if (n_groups > 1)
        fprintf(p->cli->out, " over %u attention groups", n_groups);
    fputs(".\n", p->cli->out);
}

enum status plan_write_table(const struct planned_group *p, struct error *err) {
    struct table table;
    enum table_format format = table_format_of(p->cli);
    table_open(&table, p->cli->out, format, columns, sizeof columns / sizeof columns[0]);
    for (uint32_t i = 0; i < p->shard.n_ranks; i++)
        add_rank(&table, p, i);
    TRY(table_close(&table, err));
    if (format == TABLE_TERMINAL || format == TABLE_MD)
        write_verdict(p);
    return OK;
}

static void json_share(struct text *out, const struct rank_share *share,
                       const struct share_size *size) {
    text_printf(out, "\"node\":%u,\"group\":%u,\"tp_idx\":%u,", share->node, share->group,
                share->tp_idx);
    text_printf(out, "\"n_heads\":%u,\"kv_heads\":[%u,%u],\"n_k_heads\":%u,\"d_ff\":%u,",
                size->n_heads, size->kv_heads.begin, size->kv_heads.end, size->n_k_heads,
                size->d_ff);
    text_printf(out, "\"experts\":[%u,%u],\"vocab\":[%u,%u],\"router\":[%u,%u],",
                share->experts.begin, share->experts.end, share->vocab.begin, share->vocab.end,
                share->router.begin, share->router.end);
    text_printf(out,
                "\"parts\":{\"attention\":[%u,%u],\"gdn\":[%u,%u],\"ffn\":[%u,%u],"
                "\"buckets\":[%u,%u]},",
                share->attention.begin, share->attention.end, share->gdn.begin, share->gdn.end,
                share->ffn.begin, share->ffn.end, share->buckets.begin, share->buckets.end);
}

static void json_bytes(struct text *out, const struct share_size *size,
                       const struct memory_plan *memory) {
    const struct {
        const char *name;
        uint64_t bytes;
    } rows[] = {
        {"attention_bytes", size->attention_bytes},
        {"gdn_bytes", size->gdn_bytes},
        {"ffn_bytes", size->ffn_bytes},
        {"router_bytes", size->router_bytes},
        {"experts_bytes", size->experts_bytes},
        {"head_bytes", size->head_bytes},
        {"mtp_bytes", size->mtp_bytes},
        {"embedding_bytes", size->embedding_bytes},
        {"vectors_bytes", size->vectors_bytes},
    };
    text_add_str(out, "\"weights\":{");
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        text_printf(out, "%s\"%s\":%" PRIu64, i ? "," : "", rows[i].name, rows[i].bytes);
    text_printf(out,
                "},\"weights_bytes\":%" PRIu64 ",\"kv_bytes\":%" PRIu64 ",\"state_bytes\":%" PRIu64
                ",\"buffers_bytes\":%" PRIu64 ",\"total_bytes\":%" PRIu64,
                memory->weights_bytes, memory->kv_bytes, memory->state_bytes, memory->buffers_bytes,
                memory->total_bytes);
}

enum status plan_write_json(const struct planned_group *p, struct error *err) {
    struct text out = {0};
    const struct shard_plan *shard = &p->shard;
    text_printf(&out,
                "{\"fits\":%s,\"n_ranks\":%u,\"n_nodes\":%u,\"n_groups\":%u,\"ctx_size\":%u,"
                "\"n_seqs\":%u,\"node_memory_bytes\":%" PRIu64 ",\"nodes\":[",
                p->fits ? "true" : "false", shard->n_ranks, shard->n_nodes, shard->n_groups,
                p->ctx_size, p->engine.n_seqs, p->node_bytes_max);
    for (uint32_t n = 0; n < shard->n_nodes; n++) {
        const struct plan_node *node = &shard->nodes[n];
        text_printf(&out,
                    "%s{\"node\":%u,\"ranks\":[%u,%u],\"groups\":[%u,%u],\"total_bytes\":%" PRIu64
                    "}",
                    n ? "," : "", n, node->ranks.begin, node->ranks.end, node->groups.begin,
                    node->groups.end, p->node_bytes[n]);
    }
    text_add_str(&out, "],\"ranks\":[");
    for (uint32_t i = 0; i < shard->n_ranks; i++) {
        const struct planned_rank *rank = &p->ranks[i];
        text_printf(&out, "%s{\"rank\":%u,\"capacity\":", i ? ",\n " : "", i);
        json_add_double(&out, rank->capacity);
        text_add_char(&out, ',');
        json_share(&out, &shard->ranks[i], &rank->size);
        json_bytes(&out, &rank->size, &rank->memory);
        text_add_char(&out, '}');
    }
    text_add_str(&out, "]}\n");
    enum status status = OK;
    if (out.failed)
        status = error_set(err, ERR_NOMEM, "no memory for the description of the plan");
    else
        fwrite(out.data, 1, out.len, p->cli->out);
    text_free(&out);
    return status;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* The hyperparameters of a model to be written: a preset, changed by options, then the rest
 * derived. What comes out has been read back by model/hparams, so that nothing is written that the
 * program itself would refuse. */
#ifndef SHOAL_CLI_SYNTH_SHAPE_H
#define SHOAL_CLI_SYNTH_SHAPE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "cli/synth_presets.h"
#include "model/gguf_writer.h"
#include "model/hparams.h"

enum synth_key {
    SYNTH_BLOCK_COUNT,
    SYNTH_NEXTN_PREDICT_LAYERS,
    SYNTH_CONTEXT_LENGTH,
    SYNTH_EMBEDDING_LENGTH,
    SYNTH_FEED_FORWARD_LENGTH,
    SYNTH_HEAD_COUNT,
    SYNTH_HEAD_COUNT_KV,
    SYNTH_KEY_LENGTH,
    SYNTH_VALUE_LENGTH,
    SYNTH_RMS_EPSILON,
    SYNTH_ROPE_FREQ_BASE,
    SYNTH_ROPE_DIMENSION_COUNT,
    SYNTH_ROPE_SCALING_FACTOR,
    SYNTH_ROPE_SCALING_ORIGINAL_CONTEXT,
    SYNTH_ROPE_SCALING_ATTN_FACTOR,
    SYNTH_ROPE_SCALING_BETA_FAST,
    SYNTH_ROPE_SCALING_BETA_SLOW,
    SYNTH_FULL_ATTENTION_INTERVAL,
    SYNTH_SSM_CONV_KERNEL,
    SYNTH_SSM_STATE_SIZE,
    SYNTH_SSM_GROUP_COUNT,
    SYNTH_SSM_TIME_STEP_RANK,
    SYNTH_SSM_INNER_SIZE,
    SYNTH_EXPERT_COUNT,
    SYNTH_EXPERT_USED_COUNT,
    SYNTH_EXPERT_FEED_FORWARD_LENGTH,
    SYNTH_EXPERT_SHARED_FEED_FORWARD_LENGTH,
    SYNTH_KEYS_N,
};

struct synth_shape {
    const char *name; /* of the preset */
    enum arch arch;
    uint32_t n_vocab, n_vocab_padding;
    bool tied;
    struct {
        double number;
        bool is_set;
    } values[SYNTH_KEYS_N];
};

/* arch NULL: the preset's. */
void synth_shape_init(struct synth_shape *shape, const struct synth_preset *preset,
                      const enum arch *arch);

/* Trunk layers; the MTP block comes on top. */
void synth_shape_set_layers(struct synth_shape *shape, uint32_t n_layers, bool with_mtp);
void synth_shape_set_vocab(struct synth_shape *shape, uint32_t n_vocab);

/* "key=value" with a GGUF key without its architecture. ERR_INPUT: no such key, or no number. */
enum status synth_shape_set(struct synth_shape *shape, const char *assignment, struct error *err);

/* Derives what is not set and reads the numbers back as a loader would. ERR_INPUT,
 * ERR_UNSUPPORTED: they contradict each other or are out of range. */
enum status synth_shape_finish(struct synth_shape *shape, struct hparams *hp, struct error *err);

/* The keys "<arch>.*". */
void synth_shape_write(const struct synth_shape *shape, struct gguf_writer *w);

#endif

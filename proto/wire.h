/* SPDX-License-Identifier: Apache-2.0 */
/* What serialised bytes must be before protobuf-c may unpack them.
 *
 * protobuf-c follows what a message claims: it merges a field that comes twice, keeps every field
 * it does not know, cuts a number that is too long and descends as deep as the schema allows. Bytes
 * of a peer are therefore walked once by the schema, without memory and without recursion, and
 * whatever no writer of ours makes is refused. Source: protobuf.dev, "Encoding". Any thread. */
#ifndef SHOAL_PROTO_WIRE_H
#define SHOAL_PROTO_WIRE_H

#include <protobuf-c/protobuf-c.h>

#include "base/error.h"
#include "base/span.h"

#define WIRE_DEPTH_MAX    4   /* messages inside each other, the outermost is 1 */
#define WIRE_FIELDS_MAX   256 /* of all messages together */
#define WIRE_UNKNOWNS_MAX 16  /* of them not in the schema: a newer writer's */

/* ERR_INPUT (with the byte offset): the bytes are cut, of the wrong kind for their field, too large
 * for it, or a field that is not repeated comes twice, of a oneof two; ERR_LIMIT: more than the
 * above. The descriptor's messages have at most 64 fields each. */
enum status wire_check(const ProtobufCMessageDescriptor *descriptor, struct span bytes,
                       struct error *err);

#endif

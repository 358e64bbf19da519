/* SPDX-License-Identifier: Apache-2.0 */
/* SANITIZED: this program is built with a sanitizer that has an allocator of its own (address or
 * thread), in gcc's words or clang's. Tests that replace the allocator then skip themselves. */
#ifndef SHOAL_TESTS_SUPPORT_SANITIZERS_H
#define SHOAL_TESTS_SUPPORT_SANITIZERS_H

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SANITIZED 1
#endif
#endif

#endif

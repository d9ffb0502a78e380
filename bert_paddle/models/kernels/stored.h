/* The type `Stored` of the activations that are kept for the backward pass or are factors of a
 * product: float, or, with BFLOAT16 defined, bfloat16, which halves their memory. GET and PUT
 * convert an element to float and back. Results of products (`x`, `dy`), the residual stream, norms
 * and sums are float32 in both. With float, an argument of type Stored may be the array that it is
 * computed from; `simd` then tells the compiler that elements of other indices are not read.
 */
#pragma once
#include <stdint.h>

/* A bfloat16, in 16 bits, as a float. */
static inline float widened(uint16_t x) {
    union {
        uint32_t i;
        float f;
    } bits = {(uint32_t)x << 16};
    return bits.f;
}

/* x rounded to the nearest bfloat16, ties to even. */
static inline uint16_t rounded(float x) {
    union {
        float f;
        uint32_t i;
    } bits = {x};
    return (uint16_t)((bits.i + 0x7fffu + ((bits.i >> 16) & 1u)) >> 16);
}

#ifdef BFLOAT16
typedef uint16_t Stored;
#define GET(x) widened(x)
#define PUT(x) rounded(x)
#else
typedef float Stored;
#define GET(x) (x)
#define PUT(x) (x)
#endif

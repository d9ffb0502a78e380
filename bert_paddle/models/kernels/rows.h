/* What the kernels have in common: dropout, exp and the normal distribution, LayerNorm of a row.
 *
 * The kernels are the operations between the matrix products of a BERT layer, and AdamW, on the
 * CPU: one pass over memory each, on all threads. Float32, rows contiguous; sums over rows are
 * computed in blocks of fixed size, so results do not depend on the number of threads. The formulas
 * are in the docstring of encoder_layer.py.
 *
 * Dropout is a function of (seed, element index): no mask is stored for the backward pass.
 *
 * Functions that return int return -1 when they cannot allocate memory, otherwise 0.
 */
#pragma once
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define CHUNK 8192 /* elements of a work item, where they are not taken by rows */
#define BLOCK 32   /* rows that are summed in float; the sums of blocks are added in double */

/* A 32-bit hash (multiply and xor-shift, full avalanche); `seed` selects the sequence. */
static inline uint32_t mixed(uint32_t index, uint32_t seed) {
    uint32_t x = index * 0x9E3779B9u + seed;
    x ^= x >> 16;
    x *= 0x21f0aaadu;
    x ^= x >> 15;
    x *= 0x735a2d97u;
    x ^= x >> 15;
    return x;
}

/* Dropout's factor for an element: `scale` with probability 1 - p, otherwise 0. p: the dropout
 * rate; threshold = p * 2^32; scale = 1 / (1 - p). */
static inline float kept(uint32_t index, uint32_t seed, uint32_t threshold, float scale) {
    return mixed(index, seed) >= threshold ? scale : 0.0f;
}

/* exp(x) = 2^whole * exp(r), accurate to about 1 ulp: r = x - whole * log(2), with log(2) split
 * into two constants; a polynomial for exp(r). x is clamped, so that 2^whole does not overflow. */
static inline float exponential(float x) {
    x = x < -87.0f ? -87.0f : (x > 88.0f ? 88.0f : x);
    float whole = rintf(x * 1.44269504089f);
    float r = x - whole * 0.693359375f + whole * 2.12194440e-4f;
    float y = 1.9875691500e-4f;
    y = y * r + 1.3981999507e-3f;
    y = y * r + 8.3334519073e-3f;
    y = y * r + 4.1665795894e-2f;
    y = y * r + 1.6666665459e-1f;
    y = y * r + 5.0000001201e-1f;
    y = y * r * r + r + 1.0f;
    union {
        int32_t i;
        float f;
    } power = {((int32_t)whole + 127) << 23};
    return y * power.f;
}

/* CDF of the standard normal distribution (Abramowitz and Stegun 7.1.26, absolute error 1e-7) and
 * its density, which uses the same exponential. */
static inline void normal(float x, float *distribution, float *density) {
    float e = exponential(-0.5f * x * x);
    float t = 1.0f / (1.0f + 0.3275911f * 0.70710678f * fabsf(x));
    float tail = 1.061405429f;
    tail = tail * t - 1.453152027f;
    tail = tail * t + 1.421413741f;
    tail = tail * t - 0.284496736f;
    tail = tail * t + 0.254829592f;
    tail = 0.5f * tail * t * e;
    *distribution = x < 0.0f ? tail : 1.0f - tail;
    *density = 0.39894228f * e;
}

static int64_t blocks_of(int64_t rows) { return (rows + BLOCK - 1) / BLOCK; }

/* out[j] = sum over blocks of partial[block * stride + j], in double */
static void add_up(const float *partial, int64_t blocks, int64_t stride, int64_t width, float *out) {
#pragma omp parallel for schedule(static)
    for (int64_t j0 = 0; j0 < width; j0 += 64) {
        int64_t j1 = j0 + 64 < width ? j0 + 64 : width;
        double sum[64] = {0};
        for (int64_t b = 0; b < blocks; b++)
            for (int64_t j = j0; j < j1; j++) sum[j - j0] += partial[b * stride + j];
        for (int64_t j = j0; j < j1; j++) out[j] = (float)sum[j - j0];
    }
}

/* LayerNorm of one row: y = (z - mean) * rstd * gamma + beta; stats: mean and rstd. */
static inline void norm(const float *z, const float *gamma, const float *beta, float *y,
                        float *stats, int64_t h, float epsilon) {
    float sum = 0.0f, squares = 0.0f;
    for (int64_t j = 0; j < h; j++) sum += z[j];
    float mean = sum / (float)h;
    for (int64_t j = 0; j < h; j++) squares += (z[j] - mean) * (z[j] - mean);
    float rstd = 1.0f / sqrtf(squares / (float)h + epsilon);
    for (int64_t j = 0; j < h; j++) y[j] = (z[j] - mean) * rstd * gamma[j] + beta[j];
    stats[0] = mean;
    stats[1] = rstd;
}

/* Gradient of norm for one row: dz, which may alias dy; accumulates into dgamma and dbeta. */
static inline void norm_grad(const float *dy, const float *z, const float *stats,
                             const float *gamma, float *dz, float *dgamma, float *dbeta,
                             int64_t h) {
    float mean = stats[0], rstd = stats[1], sum = 0.0f, product = 0.0f;
    for (int64_t j = 0; j < h; j++) {
        float normed = (z[j] - mean) * rstd, g = dy[j] * gamma[j];
        sum += g;
        product += g * normed;
        dgamma[j] += dy[j] * normed;
        dbeta[j] += dy[j];
    }
    sum /= (float)h;
    product /= (float)h;
    for (int64_t j = 0; j < h; j++)
        dz[j] = (dy[j] * gamma[j] - sum - (z[j] - mean) * rstd * product) * rstd;
}

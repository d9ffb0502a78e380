/* The operations between the matrix products of a BERT layer, and AdamW, on the CPU: one pass over
 * memory each, on all threads. Float32, rows contiguous; sums over rows are computed in blocks of
 * fixed size, so results do not depend on the number of threads. The formulas are in the docstring
 * of encoder_layer.py.
 *
 * Dropout is a function of (seed, element index): no mask is stored for the backward pass.
 *
 * Functions that return int return -1 when they cannot allocate memory, otherwise 0.
 */
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define BLOCK 32 /* rows that are summed in float; the sums of blocks are added in double */

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

/* z = W[word] + P[position] + T[segment]; y = dropout((z - mean) * rstd * gamma + beta).
 * z, y: [n, h]; stats: [n, 2]. */
void embed(const int64_t *words, const int64_t *positions, const int64_t *segments, const float *w,
           const float *p, const float *t, const float *gamma, const float *beta, float *z,
           float *y, float *stats, int64_t n, int64_t h, uint32_t seed, uint32_t threshold,
           float scale, float epsilon) {
#pragma omp parallel for schedule(static)
    for (int64_t i = 0; i < n; i++) {
        const float *a = w + words[i] * h, *b = p + positions[i] * h, *c = t + segments[i] * h;
        float *row = z + i * h, *out = y + i * h;
        uint32_t index = (uint32_t)(i * h);
        for (int64_t j = 0; j < h; j++) row[j] = a[j] + b[j] + c[j];
        norm(row, gamma, beta, out, stats + 2 * i, h, epsilon);
        if (threshold)
            for (int64_t j = 0; j < h; j++)
                out[j] *= kept(index + (uint32_t)j, seed, threshold, scale);
    }
}

/* out [rows, h] = 0, then out[places[i]] += grad[i] for i < n. Threads divide the columns among
 * them, so that each sum is computed in the order of i. */
static void scatter(const int64_t *places, const float *grad, float *out, int64_t rows, int64_t n,
                    int64_t h) {
#pragma omp parallel for schedule(static)
    for (int64_t i = 0; i < rows; i++) memset(out + i * h, 0, (size_t)h * sizeof(float));
#pragma omp parallel for schedule(static)
    for (int64_t j0 = 0; j0 < h; j0 += 64) {
        int64_t j1 = j0 + 64 < h ? j0 + 64 : h;
        for (int64_t i = 0; i < n; i++)
            for (int64_t j = j0; j < j1; j++) out[places[i] * h + j] += grad[i * h + j];
    }
}

/* The gradients of embed: dw [vocabulary, h], dp [lengths, h], dt [kinds, h], dgamma and dbeta [h].
 * vocabulary, lengths, kinds: rows of the token, position and segment embeddings; dz [n, h]:
 * workspace. */
int embed_grad(const float *dy, const float *z, const float *stats, const float *gamma,
               const int64_t *words, const int64_t *positions, const int64_t *segments, float *dz,
               float *dw, float *dp, float *dt, float *dgamma, float *dbeta, int64_t vocabulary,
               int64_t lengths, int64_t kinds, int64_t n, int64_t h, uint32_t seed,
               uint32_t threshold, float scale) {
    int64_t blocks = blocks_of(n);
    float *partial = calloc((size_t)(blocks * 2 * h), sizeof(float));
    if (!partial) return -1;
#pragma omp parallel for schedule(static)
    for (int64_t b = 0; b < blocks; b++) {
        float *gammas = partial + b * 2 * h, *betas = gammas + h;
        int64_t last = (b + 1) * BLOCK < n ? (b + 1) * BLOCK : n;
        for (int64_t i = b * BLOCK; i < last; i++) {
            float *grad = dz + i * h;
            uint32_t index = (uint32_t)(i * h);
            if (threshold)
                for (int64_t j = 0; j < h; j++)
                    grad[j] = dy[i * h + j] * kept(index + (uint32_t)j, seed, threshold, scale);
            else
                memcpy(grad, dy + i * h, (size_t)h * sizeof(float));
            norm_grad(grad, z + i * h, stats + 2 * i, gamma, grad, gammas, betas, h);
        }
    }
    add_up(partial, blocks, 2 * h, h, dgamma);
    add_up(partial + h, blocks, 2 * h, h, dbeta);
    free(partial);
    scatter(words, dz, dw, vocabulary, n, h);
    scatter(positions, dz, dp, lengths, n, h);
    scatter(segments, dz, dt, kinds, n, h);
    return 0;
}

/* A parameter of the optimizer: pointers to its values, gradient, first and second moment and the
 * powers of both betas; the number of elements; whether weight decay applies. */
typedef struct {
    float *p, *g, *m, *v, *power1, *power2;
    int64_t count, decays;
} Tensor;

#define CHUNK 8192 /* elements per work item of a thread */

/* sum[0] = sum of squares of all gradients. `first`, in which every thread counts for itself: the
 * index in `partial` of a tensor's first chunk. */
int squares(const Tensor *tensors, double *sum, int64_t n) {
    int64_t chunks = 0, first = 0;
    for (int64_t i = 0; i < n; i++) chunks += (tensors[i].count + CHUNK - 1) / CHUNK;
    double *partial = malloc((size_t)(chunks + 1) * sizeof(double));
    if (!partial) return -1;
#pragma omp parallel firstprivate(first)
    for (int64_t i = 0; i < n; i++) {
        const float *g = tensors[i].g;
        int64_t count = tensors[i].count;
#pragma omp for schedule(static) nowait
        for (int64_t begin = 0; begin < count; begin += CHUNK) {
            int64_t end = begin + CHUNK < count ? begin + CHUNK : count;
            float found = 0.0f;
            for (int64_t j = begin; j < end; j++) found += g[j] * g[j];
            partial[first + begin / CHUNK] = found;
        }
        first += (count + CHUNK - 1) / CHUNK;
    }
    sum[0] = 0.0;
    for (int64_t k = 0; k < chunks; k++) sum[0] += partial[k];
    free(partial);
    return 0;
}

/* One step of AdamW (Loshchilov and Hutter, arXiv:1711.05101) with gradients multiplied by `scale`.
 * Bias correction, m / (1 - beta1^t) / (sqrt(v / (1 - beta2^t)) + epsilon), is computed as
 * (root / (1 - beta1^t)) * m / (sqrt(v) + epsilon * root) with root = sqrt(1 - beta2^t). */
void adamw(const Tensor *tensors, int64_t n, float rate, float decay, float beta1, float beta2,
           float epsilon, float scale) {
#pragma omp parallel
    for (int64_t i = 0; i < n; i++) {
        Tensor t = tensors[i];
        float root = sqrtf(1.0f - *t.power2), step = rate * root / (1.0f - *t.power1);
        float least = epsilon * root, keep = t.decays ? 1.0f - rate * decay : 1.0f;
        float *restrict p = t.p, *restrict m = t.m, *restrict v = t.v;
        const float *restrict g = t.g;
#pragma omp for schedule(static) nowait
        for (int64_t begin = 0; begin < t.count; begin += CHUNK) {
            int64_t end = begin + CHUNK < t.count ? begin + CHUNK : t.count;
            for (int64_t j = begin; j < end; j++) {
                float grad = g[j] * scale;
                m[j] = beta1 * m[j] + (1.0f - beta1) * grad;
                v[j] = beta2 * v[j] + (1.0f - beta2) * grad * grad;
                p[j] = keep * p[j] - step * (m[j] / (sqrtf(v[j]) + least));
            }
        }
    }
    for (int64_t i = 0; i < n; i++) {
        *tensors[i].power1 *= beta1;
        *tensors[i].power2 *= beta2;
    }
}

/* The matrix product C [m, n] = factor * A B, with `depth` the inner dimension. A[i][k] is
 * a[i * row + k * column], so that A may be transposed; rows of B and C begin every ldb and ldc
 * elements. C is computed in tiles that stay in registers during the loop over k. */
#define WIDE 16
typedef float Vector __attribute__((vector_size(4 * WIDE), aligned(4)));

/* Adjacent vectors in each row of a tile: two on processors with 32 vector registers, so that each
 * loaded element of A is used twice. */
#ifdef __AVX512F__
#define BESIDE 2
#else
#define BESIDE 1
#endif

/* One tile: `rows` rows and `beside` vectors of C. Both are constants at each call, so that the
 * loops are unrolled. */
static inline __attribute__((always_inline)) void tile(int rows, int beside, const float *a,
                                                       int64_t row, int64_t column, const float *b,
                                                       int64_t ldb, float *c, int64_t ldc,
                                                       int64_t depth, float factor) {
    Vector sum[8 * BESIDE];
#pragma GCC unroll 16
    for (int r = 0; r < rows * beside; r++) sum[r] = (Vector){0};
    for (int64_t k = 0; k < depth; k++) {
        Vector values[BESIDE];
#pragma GCC unroll 2
        for (int w = 0; w < beside; w++) values[w] = *(const Vector *)(b + k * ldb + w * WIDE);
#pragma GCC unroll 8
        for (int r = 0; r < rows; r++)
#pragma GCC unroll 2
            for (int w = 0; w < beside; w++)
                sum[r * beside + w] += a[r * row + k * column] * values[w];
    }
#pragma GCC unroll 8
    for (int r = 0; r < rows; r++)
#pragma GCC unroll 2
        for (int w = 0; w < beside; w++)
            *(Vector *)(c + r * ldc + w * WIDE) = factor * sum[r * beside + w];
}

/* The tiles of WIDE * beside columns of C, the first ones of b and c. */
static inline __attribute__((always_inline)) void tiles(int beside, const float *a, int64_t row,
                                                        int64_t column, const float *b, int64_t ldb,
                                                        float *c, int64_t ldc, int64_t m,
                                                        int64_t depth, float factor) {
    int64_t i = 0;
    for (; i + 8 <= m; i += 8)
        tile(8, beside, a + i * row, row, column, b, ldb, c + i * ldc, ldc, depth, factor);
    for (; i + 2 <= m; i += 2)
        tile(2, beside, a + i * row, row, column, b, ldb, c + i * ldc, ldc, depth, factor);
    for (; i < m; i++)
        tile(1, beside, a + i * row, row, column, b, ldb, c + i * ldc, ldc, depth, factor);
}

/* The whole product; the columns left over at the end are computed without vectors. */
static void product(const float *a, int64_t row, int64_t column, const float *b, int64_t ldb,
                    float *c, int64_t ldc, int64_t m, int64_t n, int64_t depth, float factor) {
    int64_t j = 0;
    for (; j + WIDE * BESIDE <= n; j += WIDE * BESIDE)
        tiles(BESIDE, a, row, column, b + j, ldb, c + j, ldc, m, depth, factor);
    for (; j + WIDE <= n; j += WIDE)
        tiles(1, a, row, column, b + j, ldb, c + j, ldc, m, depth, factor);
    for (int64_t i = 0; i < m; i++)
        for (int64_t l = j; l < n; l++) {
            float sum = 0.0f;
            for (int64_t k = 0; k < depth; k++) sum += a[i * row + k * column] * b[k * ldb + l];
            c[i * ldc + l] = factor * sum;
        }
}

/* out[c][r] = x[r][c] for c < d; rows of x begin every `stride` elements; out is zero-padded to
 * `wide` columns. */
static void transpose(const float *x, int64_t rows, int64_t stride, int64_t d, int64_t wide,
                      float *out) {
    for (int64_t c = 0; c < d; c++) {
        for (int64_t r = 0; r < rows; r++) out[c * wide + r] = x[r * stride + c];
        for (int64_t r = rows; r < wide; r++) out[c * wide + r] = 0.0f;
    }
}

/* Attention of packed sequences (no padding between them): sequence b has the queries
 * first_q[b] .. first_q[b+1]-1 of q [nq, h] and the keys first_k[b] .. first_k[b+1]-1 of k and v
 * [nk, h], h = heads x d. Its probabilities before dropout are stored from place[b] on:
 * [heads, queries, keys rounded up to WIDE]. A Unit is one head of one sequence: its sizes, `wide`
 * being `keys` rounded up, and the index of its first probability, for dropout.
 */
typedef struct {
    int64_t queries, keys, wide, q, k, p; /* q, k, p: offset of the first query, key, probability */
    uint32_t index;
} Unit;

static Unit unit_of(int64_t number, int64_t heads, int64_t d, const int64_t *first_q,
                    const int64_t *first_k, const int64_t *place) {
    int64_t b = number / heads, head = number % heads, h = heads * d;
    Unit u = {first_q[b + 1] - first_q[b], first_k[b + 1] - first_k[b], 0, 0, 0, 0, 0};
    u.wide = (u.keys + WIDE - 1) / WIDE * WIDE;
    u.q = first_q[b] * h + head * d;
    u.k = first_k[b] * h + head * d;
    u.p = place[b] + head * u.queries * u.wide;
    u.index = (uint32_t)u.p;
    return u;
}

/* Largest [d, keys] and [queries, keys] of any sequence, in elements: sizes of the workspace. */
static void largest(const int64_t *first_q, const int64_t *first_k, int64_t sequences, int64_t d,
                    int64_t *turned, int64_t *scores) {
    *turned = *scores = 0;
    for (int64_t b = 0; b < sequences; b++) { /* only sizes are read: any `place` will do */
        Unit u = unit_of(b, 1, d, first_q, first_k, first_q);
        if (d * u.wide > *turned) *turned = d * u.wide;
        if (u.queries * u.wide > *scores) *scores = u.queries * u.wide;
    }
}

/* out = p with dropout; index: of the first element. */
static void drop(const float *p, float *out, int64_t count, uint32_t index, uint32_t seed,
                 uint32_t threshold, float scale) {
    for (int64_t j = 0; j < count; j++)
        out[j] = p[j] * kept(index + (uint32_t)j, seed, threshold, scale);
}

/* The softmax of p [keys], in place; the padding up to `wide` becomes 0. */
static void softmax(float *p, int64_t keys, int64_t wide) {
    float top = p[0], sum = 0.0f;
#pragma omp simd reduction(max : top) /* not vectorized otherwise, because of NaN */
    for (int64_t j = 1; j < keys; j++) top = p[j] > top ? p[j] : top;
    for (int64_t j = 0; j < keys; j++) {
        p[j] = exponential(p[j] - top);
        sum += p[j];
    }
    sum = 1.0f / sum;
    for (int64_t j = 0; j < keys; j++) p[j] *= sum;
    for (int64_t j = keys; j < wide; j++) p[j] = 0.0f;
}

/* The operations of a layer twice: with float32 and with bfloat16 activations. */
typedef uint16_t bfloat16;

static inline float widened(bfloat16 x) {
    union {
        uint32_t i;
        float f;
    } bits = {(uint32_t)x << 16};
    return bits.f;
}

/* x rounded to the nearest bfloat16, ties to even. */
static inline bfloat16 rounded(float x) {
    union {
        float f;
        uint32_t i;
    } bits = {x};
    return (bfloat16)((bits.i + 0x7fffu + ((bits.i >> 16) & 1u)) >> 16);
}

#define Stored float
#define GET(x) (x)
#define PUT(x) (x)
#define NAME(function) function
#include "layer_kernels.h"
#undef Stored
#undef GET
#undef PUT
#undef NAME
#define Stored bfloat16
#define GET(x) widened(x)
#define PUT(x) rounded(x)
#define NAME(function) function##_bfloat16
#include "layer_kernels.h"

/* The weights of products in bfloat16: out[i] = x[i] for i < counts[t] of each tensor t. */
typedef struct {
    const float *x;
    bfloat16 *out;
    int64_t count;
} Cast;

void cast_bfloat16(const Cast *casts, int64_t n) {
#pragma omp parallel
    for (int64_t t = 0; t < n; t++) {
        const float *restrict x = casts[t].x;
        bfloat16 *restrict out = casts[t].out;
#pragma omp for schedule(static) nowait
        for (int64_t begin = 0; begin < casts[t].count; begin += CHUNK) {
            int64_t end = begin + CHUNK < casts[t].count ? begin + CHUNK : casts[t].count;
            for (int64_t j = begin; j < end; j++) out[j] = rounded(x[j]);
        }
    }
}

/* A block of rows of w: its share of every y[r, j] = sum over i of x[r, i] w[i, j]. */
static void add_rows(const float *x, const float *w, float *y, int64_t rows, int64_t width,
                     int64_t first, int64_t last, int64_t out) {
    memset(y, 0, sizeof(float) * rows * out);
    int64_t i = first;
    for (; i + 4 <= last; i += 4)
        for (int64_t r = 0; r < rows; r++) {
            const float *a = x + r * width + i, *b = w + i * out;
            float *restrict sum = y + r * out;
            for (int64_t j = 0; j < out; j++)
                sum[j] += a[0] * b[j] + a[1] * b[out + j] + a[2] * b[2 * out + j] +
                          a[3] * b[3 * out + j];
        }
    for (; i < last; i++)
        for (int64_t r = 0; r < rows; r++)
            for (int64_t j = 0; j < out; j++) y[r * out + j] += x[r * width + i] * w[i * out + j];
}

#define SHARES 16 /* of w, which are summed apart, whatever the number of threads */

/* y [rows, out] = x [rows, width] w [width, out] + bias: w is read once, in the order of memory. */
int few_rows_linear(const float *x, const float *w, const float *bias, float *y, int64_t rows,
                    int64_t width, int64_t out) {
    float *partial = malloc(sizeof(float) * SHARES * rows * out);
    if (!partial) return -1;
#pragma omp parallel
    {
#pragma omp for schedule(static)
        for (int64_t s = 0; s < SHARES; s++)
            add_rows(x, w, partial + s * rows * out, rows, width, width * s / SHARES,
                     width * (s + 1) / SHARES, out);
#pragma omp for schedule(static)
        for (int64_t n = 0; n < rows * out; n++) {
            float sum = bias[n % out];
            for (int64_t s = 0; s < SHARES; s++) sum += partial[s * rows * out + n];
            y[n] = sum;
        }
    }
    free(partial);
    return 0;
}

/* y [rows, n] = x [rows, width] w^T, for w [n, width]. */
void few_rows_scores(const float *x, const float *w, float *y, int64_t rows, int64_t n,
                     int64_t width) {
#pragma omp parallel for schedule(static)
    for (int64_t j = 0; j < n; j++)
        for (int64_t r = 0; r < rows; r++) {
            float sum = 0.0f;
            for (int64_t i = 0; i < width; i++) sum += x[r * width + i] * w[j * width + i];
            y[r * n + j] = sum;
        }
}

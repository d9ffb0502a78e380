/* The attention of a layer, forward and backward: per head, scores, softmax and mixed values. */
#include "rows.h"
#include "small_products.h"
#include "stored.h"

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

/* The columns of one head, [rows, d], as floats whose rows begin every `stride` elements: the array
 * itself with float, else a copy in `buffer`, or room for one. */
typedef struct {
    float *x;
    int64_t stride;
} Block;

static inline Block room(Stored *x, int64_t h, int64_t d, float *buffer) {
    if (sizeof(Stored) == sizeof(float)) return (Block){(float *)x, h};
    return (Block){buffer, d};
}

static inline Block block_of(const Stored *x, int64_t rows, int64_t h, int64_t d, float *buffer) {
    Block block = room((Stored *)x, h, d, buffer);
    if (block.x == buffer)
        for (int64_t i = 0; i < rows; i++)
            for (int64_t c = 0; c < d; c++) buffer[i * d + c] = GET(x[i * h + c]);
    return block;
}

/* What was computed in `block` goes to x, where it is not there yet. */
static inline void keep(Block block, Stored *x, int64_t rows, int64_t h, int64_t d) {
    if ((void *)block.x != (void *)x)
        for (int64_t i = 0; i < rows; i++)
            for (int64_t c = 0; c < d; c++) x[i * h + c] = PUT(block.x[i * block.stride + c]);
}

static void add_bias(const float *x, const float *bias, Stored *sum, int64_t rows, int64_t h,
                     int64_t d) {
    for (int64_t i = 0; i < rows; i++)
#pragma omp simd
        for (int64_t c = 0; c < d; c++) sum[i * h + c] = PUT(x[i * h + c] + bias[c]);
}

/* Stores q, k and v, the products with their biases, the probabilities, and out [nq, h]. Each
 * thread's workspace, `held`, has room for transposed keys, for probabilities before and after
 * dropout, and for a head's queries and values. A thread without it skips its units, since a
 * parallel loop cannot be left. */
int attention(const float *xq, const float *xk, const float *xv, const float *bias_q,
              const float *bias_k, const float *bias_v, Stored *q, Stored *k, Stored *v,
              const int64_t *first_q, const int64_t *first_k, const int64_t *place,
              Stored *probabilities, Stored *out, int64_t sequences, int64_t heads, int64_t d,
              uint32_t seed, uint32_t threshold, float scale) {
    int64_t h = heads * d, turned, scores;
    int failed = 0;
    float factor = 1.0f / sqrtf((float)d);
    largest(first_q, first_k, sequences, d, &turned, &scores);
#pragma omp parallel
    {
        float *held = malloc((size_t)(3 * turned + 2 * scores) * sizeof(float));
        float *dropped = held + turned, *computed = dropped + scores, *first = computed + scores,
              *second = first + turned;
        if (!held) {
#pragma omp atomic write
            failed = 1;
        }
#pragma omp for schedule(monotonic : dynamic)
        for (int64_t number = 0; number < sequences * heads; number++) {
            if (!held) continue;
            Unit u = unit_of(number, heads, d, first_q, first_k, place);
            int64_t bias = number % heads * d, count = u.queries * u.wide;
            float *p = room(probabilities + u.p, u.wide, u.wide, computed).x;
            add_bias(xq + u.q, bias_q + bias, q + u.q, u.queries, h, d);
            add_bias(xk + u.k, bias_k + bias, k + u.k, u.keys, h, d);
            add_bias(xv + u.k, bias_v + bias, v + u.k, u.keys, h, d);
            Block queries = block_of(q + u.q, u.queries, h, d, first);
            Block keys = block_of(k + u.k, u.keys, h, d, second);
            transpose(keys.x, u.keys, keys.stride, d, u.wide, held);
            product(queries.x, queries.stride, 1, held, u.wide, p, u.wide, u.queries, u.wide, d,
                    factor);
            for (int64_t i = 0; i < u.queries; i++) softmax(p + i * u.wide, u.keys, u.wide);
            keep((Block){p, u.wide}, probabilities + u.p, u.queries, u.wide, u.wide);
            if (threshold) drop(p, dropped, count, u.index, seed, threshold, scale);
            Block values = block_of(v + u.k, u.keys, h, d, second);
            Block context = room(out + u.q, h, d, first);
            product(threshold ? dropped : p, u.wide, 1, values.x, values.stride, context.x,
                    context.stride, u.queries, d, u.keys, 1.0f);
            keep(context, out + u.q, u.queries, h, d);
        }
        free(held);
    }
    return -failed;
}

/* The gradients of attention: dq [nq, h], dk and dv [nk, h]. With P the probabilities, S the scores
 * before softmax, and dO = dout:
 *   dV = dropout(P)^T dO;  dP = dropout(dO V^T), with the same mask;
 *   dS = P * (dP - row sums of dP * P);  dQ = factor * dS K;  dK = factor * dS^T Q
 * `grads` holds dP, then dS. */
int attention_grad(const float *dout, const Stored *q, const Stored *k, const Stored *v,
                   const int64_t *first_q, const int64_t *first_k, const int64_t *place,
                   const Stored *probabilities, Stored *dq, Stored *dk, Stored *dv,
                   int64_t sequences, int64_t heads, int64_t d, uint32_t seed, uint32_t threshold,
                   float scale) {
    int64_t h = heads * d, turned, scores;
    int failed = 0;
    float factor = 1.0f / sqrtf((float)d);
    largest(first_q, first_k, sequences, d, &turned, &scores);
#pragma omp parallel
    {
        float *held = malloc((size_t)(3 * turned + 3 * scores) * sizeof(float));
        float *grads = held + turned, *dropped = grads + scores, *loaded = dropped + scores,
              *first = loaded + scores, *second = first + turned;
        if (!held) {
#pragma omp atomic write
            failed = 1;
        }
#pragma omp for schedule(monotonic : dynamic)
        for (int64_t number = 0; number < sequences * heads; number++) {
            if (!held) continue;
            Unit u = unit_of(number, heads, d, first_q, first_k, place);
            int64_t count = u.queries * u.wide;
            const float *p =
                block_of(probabilities + u.p, u.queries, u.wide, u.wide, loaded).x;
            Block values = block_of(v + u.k, u.keys, h, d, first);
            transpose(values.x, u.keys, values.stride, d, u.wide, held);
            product(dout + u.q, h, 1, held, u.wide, grads, u.wide, u.queries, u.wide, d, 1.0f);
            if (threshold) {
                drop(p, dropped, count, u.index, seed, threshold, scale);
                drop(grads, grads, count, u.index, seed, threshold, scale);
            }
            Block dvalues = room(dv + u.k, h, d, first);
            product(threshold ? dropped : p, 1, u.wide, dout + u.q, h, dvalues.x, dvalues.stride,
                    u.keys, d, u.queries, 1.0f);
            keep(dvalues, dv + u.k, u.keys, h, d);
            for (int64_t i = 0; i < u.queries; i++) {
                float *g = grads + i * u.wide, dot = 0.0f;
                const float *row = p + i * u.wide;
                for (int64_t j = 0; j < u.keys; j++) dot += g[j] * row[j];
                for (int64_t j = 0; j < u.keys; j++) g[j] = row[j] * (g[j] - dot);
            }
            Block keys = block_of(k + u.k, u.keys, h, d, first);
            Block dqueries = room(dq + u.q, h, d, second);
            product(grads, u.wide, 1, keys.x, keys.stride, dqueries.x, dqueries.stride, u.queries,
                    d, u.keys, factor);
            keep(dqueries, dq + u.q, u.queries, h, d);
            Block queries = block_of(q + u.q, u.queries, h, d, first);
            Block dkeys = room(dk + u.k, h, d, second);
            product(grads, 1, u.wide, queries.x, queries.stride, dkeys.x, dkeys.stride, u.keys, d,
                    u.queries, factor);
            keep(dkeys, dk + u.k, u.keys, h, d);
        }
        free(held);
    }
    return -failed;
}

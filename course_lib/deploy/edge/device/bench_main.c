/* Runs and times the network of network.c:
 *
 *     bench IMAGES LOGITS warmup calls pause_us
 *
 * IMAGES holds images one behind the other, as `classify` takes them; their logits are written to LOGITS. Then single
 * calls are made, with another image each time, one every `pause_us` microseconds (0: back to back): `warmup` of them,
 * then `calls` that are timed. Prints "classes", "load_ms" (opening and reading the images), "peak_kb", and a line "ms" for each call.
 */
#define _POSIX_C_SOURCE 200112L
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

void classify(const uint8_t *image, uint8_t *logits);
extern const int network_facts[6]; /* height, width, channels, classes, and two that are not needed here */

static double now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return 1e3 * (double)t.tv_sec + 1e-6 * (double)t.tv_nsec;
}

static void wait_until(double due_ms)
{
    double left = due_ms - now_ms();
    if (left > 0) {
        struct timespec t;
        t.tv_sec = (time_t)(left / 1e3);
        t.tv_nsec = (long)((left - 1e3 * (double)t.tv_sec) * 1e6);
        while (nanosleep(&t, &t) && errno == EINTR)
            ;
    }
}

/* The most memory that this process has held, in kB; 0 where the system does not tell. */
static long peak_kb(void)
{
    char line[256];
    long kb = 0;
    FILE *status = fopen("/proc/self/status", "r");
    while (status && fgets(line, sizeof line, status))
        if (!strncmp(line, "VmHWM:", 6))
            kb = strtol(line + 6, NULL, 10);
    if (status)
        fclose(status);
    return kb;
}

static int fail(const char *what, const char *name)
{
    fprintf(stderr, "%s: %s\n", name, what);
    return 1;
}

/* All of a file, and its size. */
static uint8_t *read_file(const char *name, size_t *size)
{
    size_t room = 1 << 16;
    uint8_t *bytes = malloc(room);
    FILE *file = fopen(name, "rb");
    *size = 0;
    while (file && bytes) {
        size_t got = fread(bytes + *size, 1, room - *size, file);
        if (got == 0)
            break;
        *size += got;
        if (*size == room)
            bytes = realloc(bytes, room *= 2);
    }
    if (file)
        fclose(file);
    return bytes;
}

int main(int argc, char **argv)
{
    size_t size, image = (size_t)network_facts[0] * (size_t)network_facts[1] * (size_t)network_facts[2];
    size_t classes = (size_t)network_facts[3];
    if (argc != 6)
        return fail("IMAGES LOGITS warmup calls pause_us", argv[0]);
    double start = now_ms(), pause = atof(argv[5]) / 1e3;
    uint8_t *images = read_file(argv[1], &size), *logits = malloc(classes);
    long count = (long)(size / image), warmup = atol(argv[3]), calls = atol(argv[4]);
    double *times = malloc((size_t)(calls > 0 ? calls : 1) * sizeof *times);
    if (!images || !logits || !times || count == 0)
        return fail("no images, or no memory", argv[1]);
    printf("classes %d\nload_ms %.6f\n", network_facts[3], now_ms() - start);
    FILE *out = fopen(argv[2], "wb");
    for (long i = 0; out && i < count; i++) {
        classify(images + (size_t)i * image, logits);
        if (fwrite(logits, 1, classes, out) != classes)
            return fail("cannot be written", argv[2]);
    }
    if (!out || fclose(out))
        return fail("cannot be written", argv[2]);
    double due = now_ms();
    for (long i = 0; i < warmup + calls; i++) {
        if (pause > 0)
            wait_until(due);
        double begin = now_ms();
        classify(images + (size_t)(i % count) * image, logits);
        if (i >= warmup)
            times[i - warmup] = now_ms() - begin;
        due = due + pause > begin ? due + pause : begin;
    }
    for (long i = 0; i < calls; i++)
        printf("ms %.6f\n", times[i]);
    printf("peak_kb %ld\n", peak_kb());
    free(images), free(logits), free(times);
    return 0;
}

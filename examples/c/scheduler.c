/* A scheduler: reads heartbeats and requests, and says which worker takes each request.
 *
 *     scheduler [--clock recorded|arrival] [--hold N] [--help] <FILE
 *
 * Each line of the input is a request, {"request": "MODEL"}, or a heartbeat in JSON, of either form. The output is that
 * of examples/cpp/scheduler.cpp, which says it in full:
 *
 *     MODEL -> URL (HIVE/WORKER)
 *     MODEL -> nobody: 3 workers, 2 full, 1 stale
 *     heartbeats 6, requests 7: HIVE/WORKER 2, HIVE/WORKER 4, nobody 1
 *
 * --clock recorded, the default, goes by the time of the heartbeats; --clock arrival by the system's clock. Reservations
 * are held to the end of the input; with --hold N the oldest is released when there are more than N.
 *
 * Exits with 0, with 1 if a line was bad, with 2 if the arguments were.
 */
#define _POSIX_C_SOURCE 200809L

#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "hive_registry.h"

static const char USAGE[] = "usage: scheduler [--clock recorded|arrival] [--hold N] [--help] <FILE\n";

/* How many requests a worker got. */
struct share {
    char *name;
    unsigned long requests;
};

struct scheduler {
    hive_clock_t *clock;
    hive_registry_t *registry;
    /* The oldest at `first`, up to `held`. */
    hive_reservation_t **reservations;
    size_t first, held, most;
    struct share *shares;
    size_t shares_len;
    unsigned long heartbeats, requests, nobody;
};

static void *room(void *old, size_t items, size_t size) {
    void *found = realloc(old, items * size);
    if (found == NULL) {
        fputs("scheduler: out of memory\n", stderr);
        exit(1);
    }
    return found;
}

/* === the recorded time === */

/* Days from 1970-01-01 to a day of the Gregorian calendar; a year begins in March here. */
static int64_t days(int64_t year, int month, int day) {
    year -= month <= 2;
    int day_of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
    return year * 365 + year / 4 - year / 100 + year / 400 + day_of_year - 719468;
}

/* RFC 3339, "2025-10-21T10:00:00.25+02:00", in milliseconds since 1970. What is not a time the library refuses. */
static bool parsed(const char *text, int64_t *out) {
    int year, month, day, hour, minute, second, used = 0;
    if (sscanf(text, "%4d-%2d-%2d%*1[Tt ]%2d:%2d:%2d%n", &year, &month, &day, &hour, &minute, &second, &used) != 6 ||
        month < 1 || month > 12) {
        return false;
    }
    int millis = 0, hours = 0, minutes = 0;
    const char *rest = text + used;
    if (*rest == '.') {
        for (int unit = 100; isdigit((unsigned char)*++rest); unit /= 10) {
            millis += unit * (*rest - '0');
        }
    }
    bool is_offset = *rest == '+' || *rest == '-';
    if (is_offset ? sscanf(rest + 1, "%2d:%2d", &hours, &minutes) != 2 : *rest != 'Z' && *rest != 'z') {
        return false;
    }
    int offset = (*rest == '-' ? -60 : 60) * (hours * 60 + minutes);
    int64_t seconds = days(year, month, day) * 86400 + hour * 3600 + minute * 60 + second - offset;
    *out = seconds * 1000 + millis;
    return true;
}

/* The time of a heartbeat: what follows the key "timestamp". */
static bool timestamp(const char *heartbeat, int64_t *out) {
    static const char KEY[] = "\"timestamp\"";
    const char *at = heartbeat;
    while ((at = strstr(at, KEY)) != NULL) {
        at += sizeof KEY - 1;
        const char *value = at + strspn(at, " \t");
        if (*value == ':') {
            value += 1 + strspn(value + 1, " \t");
            return *value == '"' && parsed(value + 1, out);
        }
    }
    return false;
}

/* === what a line asks for === */

static bool refused(size_t number) {
    hive_str_t why = hive_last_error_message();
    fprintf(stderr, "scheduler: line %zu: %.*s\n", number, (int)why.len, why.ptr);
    return false;
}

static bool heartbeat(struct scheduler *scheduler, size_t number, const char *line, size_t len) {
    int64_t time = 0, before = hive_clock_wall_ms(scheduler->clock);
    if (timestamp(line, &time) && time > before) {
        hive_clock_set(scheduler->clock, time);
    }
    if (hive_registry_ingest_json(scheduler->registry, line, len, NULL) != HIVE_OK) {
        /* A heartbeat that is refused moves no time. */
        hive_clock_set(scheduler->clock, before);
        return refused(number);
    }
    scheduler->heartbeats++;
    return true;
}

static void count(struct scheduler *scheduler, const char *name) {
    for (size_t at = 0; at < scheduler->shares_len; at++) {
        if (strcmp(scheduler->shares[at].name, name) == 0) {
            scheduler->shares[at].requests++;
            return;
        }
    }
    scheduler->shares = room(scheduler->shares, scheduler->shares_len + 1, sizeof *scheduler->shares);
    struct share *share = &scheduler->shares[scheduler->shares_len++];
    share->name = strcpy(room(NULL, strlen(name) + 1, 1), name);
    share->requests = 1;
}

static void hold(struct scheduler *scheduler, hive_reservation_t *reservation) {
    scheduler->reservations = room(scheduler->reservations, scheduler->held + 1, sizeof reservation);
    scheduler->reservations[scheduler->held++] = reservation;
    if (scheduler->held - scheduler->first > scheduler->most) {
        hive_reservation_free(scheduler->reservations[scheduler->first++]);
    }
}

static bool nobody(struct scheduler *scheduler, const char *model, size_t len) {
    hive_explanation_t why;
    if (hive_registry_explain(scheduler->registry, model, len, &why, NULL) != HIVE_OK) {
        return false;
    }
    const struct {
        size_t workers;
        const char *reason;
    } reasons[] = {
        {why.full, "full"},       {why.stale, "stale"},       {why.unhealthy, "unhealthy"},
        {why.loading, "loading"}, {why.draining, "draining"}, {why.other, "other"},
    };
    printf("%.*s -> nobody: %zu worker%s", (int)len, model, why.workers, why.workers == 1 ? "" : "s");
    for (size_t at = 0; at < sizeof reasons / sizeof *reasons; at++) {
        if (reasons[at].workers > 0) {
            printf(", %zu %s", reasons[at].workers, reasons[at].reason);
        }
    }
    printf("\n");
    scheduler->nobody++;
    return true;
}

static bool request(struct scheduler *scheduler, size_t number, const char *model, size_t len) {
    hive_reservation_t *reservation = NULL;
    switch (hive_registry_reserve_worker_for_model(scheduler->registry, model, len, &reservation)) {
    case HIVE_OK:
        break;
    case HIVE_NONE:
        scheduler->requests++;
        return nobody(scheduler, model, len) || refused(number);
    default:
        return refused(number);
    }
    const hive_worker_t *worker = hive_reservation_worker(reservation);
    hive_str_t hive = hive_worker_hive_id(worker), id = hive_worker_id(worker), url;
    if (!hive_worker_url(worker, &url)) {
        url = hive_str("-");
    }
    /* At most 256 bytes each. */
    char name[520];
    snprintf(name, sizeof name, "%.*s/%.*s", (int)hive.len, hive.ptr, (int)id.len, id.ptr);
    printf("%.*s -> %.*s (%s)\n", (int)len, model, (int)url.len, url.ptr, name);
    scheduler->requests++;
    count(scheduler, name);
    hold(scheduler, reservation);
    return true;
}

/* False if the line was bad. */
static bool line(struct scheduler *scheduler, size_t number, const char *text, size_t len) {
    static const char BEGIN[] = "{\"request\"", BEFORE[] = "{\"request\": \"", AFTER[] = "\"}";
    if (strncmp(text, BEGIN, sizeof BEGIN - 1) != 0) {
        return heartbeat(scheduler, number, text, len);
    }
    const char *model = text + sizeof BEFORE - 1;
    if (strncmp(text, BEFORE, sizeof BEFORE - 1) == 0 && strcspn(model, "\"\\") > 0 &&
        strcmp(model + strcspn(model, "\"\\"), AFTER) == 0) {
        return request(scheduler, number, model, strcspn(model, "\"\\"));
    }
    fprintf(stderr, "scheduler: line %zu: not of the form {\"request\": \"MODEL\"}\n", number);
    return false;
}

/* === all of it === */

static int by_name(const void *one, const void *other) {
    return strcmp(((const struct share *)one)->name, ((const struct share *)other)->name);
}

static void summary(struct scheduler *scheduler) {
    const char *between = ": ";
    printf("heartbeats %lu, requests %lu", scheduler->heartbeats, scheduler->requests);
    if (scheduler->shares_len > 0) {
        qsort(scheduler->shares, scheduler->shares_len, sizeof *scheduler->shares, by_name);
    }
    for (size_t at = 0; at < scheduler->shares_len; at++) {
        printf("%s%s %lu", between, scheduler->shares[at].name, scheduler->shares[at].requests);
        between = ", ";
    }
    if (scheduler->nobody > 0) {
        printf("%snobody %lu", between, scheduler->nobody);
    }
    printf("\n");
}

static void end(struct scheduler *scheduler) {
    while (scheduler->first < scheduler->held) {
        hive_reservation_free(scheduler->reservations[scheduler->first++]);
    }
    for (size_t at = 0; at < scheduler->shares_len; at++) {
        free(scheduler->shares[at].name);
    }
    free(scheduler->reservations);
    free(scheduler->shares);
    hive_registry_free(scheduler->registry);
    hive_clock_free(scheduler->clock);
}

int main(int argc, char **argv) {
    struct scheduler scheduler = {.most = SIZE_MAX};
    bool recorded = true;
    for (int at = 1; at < argc; at += 2) {
        const char *value = at + 1 < argc ? argv[at + 1] : "";
        char *left = NULL;
        if (strcmp(argv[at], "--help") == 0) {
            fputs(USAGE, stdout);
            return 0;
        } else if (strcmp(argv[at], "--clock") == 0 && (!strcmp(value, "recorded") || !strcmp(value, "arrival"))) {
            recorded = strcmp(value, "recorded") == 0;
        } else if (strcmp(argv[at], "--hold") == 0 && isdigit((unsigned char)*value) &&
                   (scheduler.most = strtoumax(value, &left, 10), *left == '\0')) {
            /* Taken. */
        } else {
            fputs(USAGE, stderr);
            return 2;
        }
    }

    /* Under --clock arrival it moves, too, but nobody goes by it. */
    if (hive_clock_new(0, &scheduler.clock) != HIVE_OK) {
        return 1;
    }
    hive_config_t config = {.size = sizeof config};
    if (recorded) {
        config.clock = scheduler.clock;
    } else {
        config.liveness_clock = HIVE_LIVENESS_ARRIVAL;
    }
    if (hive_registry_new(&config, &scheduler.registry) != HIVE_OK) {
        hive_str_t why = hive_last_error_message();
        fprintf(stderr, "scheduler: %.*s\n", (int)why.len, why.ptr);
        hive_clock_free(scheduler.clock);
        return 1;
    }

    bool all_good = true;
    char *text = NULL;
    size_t capacity = 0;
    ssize_t len;
    for (size_t number = 1; (len = getline(&text, &capacity, stdin)) >= 0; number++) {
        while (len > 0 && isspace((unsigned char)text[len - 1])) {
            text[--len] = '\0';
        }
        const char *begin = text + strspn(text, " \t");
        if (*begin != '\0') {
            all_good = line(&scheduler, number, begin, (size_t)(text + len - begin)) && all_good;
            fflush(stdout);
        }
    }
    free(text);
    summary(&scheduler);
    end(&scheduler);
    return all_good && !ferror(stdout) ? 0 : 1;
}

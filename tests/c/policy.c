/* Every way to choose, C functions among them. */
#include <math.h>
#include <pthread.h>
#include <sched.h>

#include "test.h"

/* Three idle workers of "m": a at 30 % of its GPU, b at 10 %, c at 20 %. */
static hive_registry_t *fleet(hive_clock_t *clock) {
    hive_config_t config = config_on(clock);
    config.seed = (hive_opt_u64_t){true, 7};
    hive_registry_t *registry = registry_of(&config);
    hive_worker_report_t workers[] = {worker("a", "m"), worker("b", "m"), worker("c", "m")};
    workers[0].gpu_percent = (hive_opt_f32_t){true, 30};
    workers[1].gpu_percent = (hive_opt_f32_t){true, 10};
    workers[2].gpu_percent = (hive_opt_f32_t){true, 20};
    beat(registry, "gpu-1", 0, workers, 3);
    return registry;
}

/* The name of who was picked, a single letter; '-' for nobody. */
static char picks(const hive_registry_t *registry, const hive_policy_t *policy) {
    hive_worker_t *picked = NULL;
    uint32_t status = hive_registry_pick(registry, TEXT("m"), policy, &picked);
    if (status == HIVE_NONE) {
        CHECK(picked == NULL);
        return '-';
    }
    CHECK_STATUS(status, HIVE_OK);
    char name = hive_worker_id(picked).ptr[0];
    hive_worker_free(picked);
    return name;
}

static void the_rules_that_are_built_in(void) {
    hive_clock_t *clock = clock_new();
    hive_registry_t *registry = fleet(clock);
    hive_policy_t policy = {0};
    CHECK_EQ(picks(registry, NULL), 'b');
    CHECK_EQ(picks(registry, &policy), 'b');

    policy.kind = HIVE_POLICY_POWER_OF_CHOICES;
    policy.choices = UINT32_MAX;
    CHECK_EQ(picks(registry, &policy), 'b');
    policy.choices = 2;
    for (int at = 0; at < 64; at++)
        CHECK(picks(registry, &policy) != 'a');

    int drawn[3] = {0};
    policy.choices = 0;
    for (int at = 0; at < 256; at++)
        drawn[picks(registry, &policy) - 'a']++;
    CHECK(drawn[0] > 0 && drawn[1] > 0 && drawn[2] > 0);

    memset(drawn, 0, sizeof drawn);
    policy.kind = HIVE_POLICY_RANDOM;
    for (int at = 0; at < 256; at++)
        drawn[picks(registry, &policy) - 'a']++;
    CHECK(drawn[0] > 0 && drawn[1] > 0 && drawn[2] > 0);

    memset(drawn, 0, sizeof drawn);
    policy.kind = HIVE_POLICY_ROUND_ROBIN;
    for (int at = 0; at < 12; at++)
        drawn[picks(registry, &policy) - 'a']++;
    CHECK(drawn[0] == 4 && drawn[1] == 4 && drawn[2] == 4);
    hive_registry_free(registry);
    hive_clock_free(clock);
}

/* What a callback is given, and what it answers for a, b and c. */
typedef struct {
    double scores[3];
    bool takes[3];
    int calls;
} table_t;

static bool by_table(void *user, const hive_candidate_t *candidate, double *out_score) {
    table_t *table = user;
    size_t at = (size_t)(hive_worker_id(candidate->worker).ptr[0] - 'a');
    const uint64_t loads[] = {300, 100, 200};
    CHECK_EQ(candidate->load, loads[at]);
    CHECK_EQ(candidate->reservations, 0);
    table->calls++;
    *out_score = table->scores[at];
    return table->takes[at];
}

static void the_lowest_score_wins(void) {
    hive_clock_t *clock = clock_new();
    hive_registry_t *registry = fleet(clock);
    const struct {
        table_t table;
        char winner;
    } cases[] = {
        {{{3, 2, 1}, {true, true, true}, 0}, 'c'},
        {{{-1, 2, 1}, {true, true, true}, 0}, 'a'},
        {{{-INFINITY, INFINITY, 1}, {true, true, true}, 0}, 'a'},
        {{{INFINITY, INFINITY, INFINITY}, {false, false, true}, 0}, 'c'},
        /* Of equal ones the one that was registered first. */
        {{{1, 1, 1}, {true, true, true}, 0}, 'a'},
        {{{0.0, -0.0, 1}, {true, true, true}, 0}, 'a'},
        /* Passed over. */
        {{{1, 2, 3}, {false, true, true}, 0}, 'b'},
        {{{NAN, 2, 1}, {true, true, true}, 0}, 'c'},
        {{{NAN, NAN, 1}, {true, true, false}, 0}, '-'},
        {{{1, 2, 3}, {false, false, false}, 0}, '-'},
    };
    for (size_t at = 0; at < LEN(cases); at++) {
        table_t table = cases[at].table;
        hive_policy_t policy = {.kind = HIVE_POLICY_SCORE, .score = by_table, .user = &table};
        CHECK_EQ(picks(registry, &policy), cases[at].winner);
        CHECK_EQ(table.calls, 3);
    }
    hive_registry_free(registry);
    hive_clock_free(clock);
}

/* All alike, and who has the least turn. */
typedef struct {
    uint64_t least;
    char whose;
    int calls;
} turns_t;

static bool all_alike(void *user, const hive_candidate_t *candidate, double *out_score) {
    turns_t *turns = user;
    CHECK(turns->calls == 0 || candidate->turn != turns->least);
    if (turns->calls++ == 0 || candidate->turn < turns->least) {
        turns->least = candidate->turn;
        turns->whose = hive_worker_id(candidate->worker).ptr[0];
    }
    *out_score = 0;
    return true;
}

/* Held or given back at once, and whatever was only picked in between. */
static void equal_scores_go_round(void) {
    hive_clock_t *clock = clock_new();
    hive_registry_t *registry = fleet(clock);
    hive_reservation_t *held[24];
    int drawn[3] = {0};
    for (size_t at = 0; at < LEN(held); at++) {
        turns_t turns = {0};
        hive_policy_t policy = {.kind = HIVE_POLICY_SCORE, .score = all_alike, .user = &turns};
        char next = picks(registry, &policy);
        CHECK_EQ(next, turns.whose);
        turns.calls = 0;
        CHECK_STATUS(hive_registry_reserve_with(registry, TEXT("m"), &policy, &held[at]), HIVE_OK);
        CHECK_EQ(hive_worker_id(hive_reservation_worker(held[at])).ptr[0], next);
        CHECK_EQ(next, "abc"[at % 3]);
        drawn[next - 'a']++;
        if (at % 2 == 0) {
            hive_reservation_free(held[at]);
            held[at] = NULL;
        }
    }
    CHECK(drawn[0] == 8 && drawn[1] == 8 && drawn[2] == 8);
    for (size_t at = 0; at < LEN(held); at++)
        hive_reservation_free(held[at]);
    hive_registry_free(registry);
    hive_clock_free(clock);
}

/* Takes "a" to "h", and whom it is about to choose goes to another, one after the other. */
typedef struct {
    const hive_registry_t *registry;
    hive_reservation_t *taken[8];
    size_t len;
} rival_t;

static bool only(void *user, const hive_candidate_t *candidate, double *out_score) {
    *out_score = 0;
    return hive_worker_id(candidate->worker).ptr[0] == *(const char *)user;
}

static bool loses(void *user, const hive_candidate_t *candidate, double *out_score) {
    rival_t *rival = user;
    char name = hive_worker_id(candidate->worker).ptr[0];
    if (rival->len < LEN(rival->taken) && name == "abcdefgh"[rival->len]) {
        hive_policy_t other = {.kind = HIVE_POLICY_SCORE, .score = only, .user = &name};
        CHECK_STATUS(hive_registry_reserve_with(rival->registry, TEXT("m"), &other,
                                                &rival->taken[rival->len++]),
                     HIVE_OK);
    }
    *out_score = name;
    return name != 'z';
}

/* Nobody is chosen rather than one whom the policy passes over. */
static void who_is_passed_over_is_not_chosen_after_lost_races(void) {
    hive_clock_t *clock = clock_new();
    hive_registry_t *registry = registry_on(clock);
    static const char *const names[] = {"a", "b", "c", "d", "e", "f", "g", "h", "z"};
    hive_worker_report_t workers[LEN(names)];
    for (size_t at = 0; at < LEN(names); at++) {
        workers[at] = worker(names[at], "m");
        workers[at].max_concurrency = (hive_opt_u32_t){true, 1};
    }
    beat(registry, "gpu-1", 0, workers, LEN(names));
    rival_t rival = {.registry = registry};
    hive_policy_t policy = {.kind = HIVE_POLICY_SCORE, .score = loses, .user = &rival};
    hive_reservation_t *held = NULL;
    CHECK_STATUS(hive_registry_reserve_with(registry, TEXT("m"), &policy, &held), HIVE_NONE);
    CHECK(held == NULL && rival.len == LEN(rival.taken));
    CHECK_EQ(picks(registry, NULL), 'z');
    for (size_t at = 0; at < rival.len; at++)
        hive_reservation_free(rival.taken[at]);
    hive_registry_free(registry);
    hive_clock_free(clock);
}

/* True, and nothing said: passed over as NaN is. */
static bool says_nothing(void *user, const hive_candidate_t *candidate, double *out_score) {
    (void)candidate, (void)out_score;
    CHECK(user == NULL);
    return true;
}

static void a_score_that_is_not_written_passes_over(void) {
    hive_clock_t *clock = clock_new();
    hive_registry_t *registry = fleet(clock);
    hive_policy_t policy = {.kind = HIVE_POLICY_SCORE, .score = says_nothing};
    CHECK_EQ(picks(registry, &policy), '-');
    hive_registry_free(registry);
    hive_clock_free(clock);
}

/* A callback that uses the registry while it is asked, and keeps what it was shown. */
typedef struct {
    hive_registry_t *registry;
    hive_reservation_t *held;
    hive_worker_t *kept;
    char first;
    int calls;
} caller_t;

static bool calls_back(void *user, const hive_candidate_t *candidate, double *out_score) {
    caller_t *caller = user;
    const hive_registry_t *registry = caller->registry;
    CHECK_EQ(picks(registry, NULL), caller->held == NULL ? 'b' : 'c');
    table_t table = {{3, 2, 1}, {true, true, true}, 0};
    hive_policy_t inner = {.kind = HIVE_POLICY_SCORE, .user = &table};
    CHECK_REFUSED(hive_registry_pick(registry, TEXT("m"), &inner, &caller->kept),
                  HIVE_NULL_ARGUMENT, "policy.score: NULL refused");
    if (caller->held == NULL) {
        inner.score = by_table;
        CHECK_EQ(picks(registry, &inner), 'c');
        CHECK_STATUS(hive_registry_reserve_worker_for_model(registry, TEXT("m"), &caller->held),
                     HIVE_OK);
        caller->kept = hive_worker_clone(candidate->worker);
        caller->first = hive_worker_id(candidate->worker).ptr[0];
    }
    beat_one(registry, "gpu-2", 0, "other", "another");
    hive_registry_t *clone = NULL;
    CHECK_STATUS(hive_registry_clone(registry, &clone), HIVE_OK);
    hive_registry_free(clone);
    caller->calls++;
    *out_score = (double)candidate->load;
    return true;
}

static void a_score_may_call_the_registry(void) {
    hive_clock_t *clock = clock_new();
    caller_t caller = {.registry = fleet(clock)};
    hive_policy_t policy = {.kind = HIVE_POLICY_SCORE, .score = calls_back, .user = &caller};
    /* It reserves b on its first call, when another is shown; so b is worse when it is. */
    CHECK_EQ(picks(caller.registry, &policy), 'c');
    CHECK_EQ(caller.calls, 3);
    CHECK_STR(hive_worker_id(hive_reservation_worker(caller.held)), "b");
    CHECK_EQ(totals(caller.registry).reservations_open, 1);

    hive_reservation_t *own = NULL;
    CHECK_STATUS(hive_registry_reserve_with(caller.registry, TEXT("m"), &policy, &own), HIVE_OK);
    CHECK_STR(hive_worker_id(hive_reservation_worker(own)), "c");
    CHECK_EQ(totals(caller.registry).reservations_open, 2);
    hive_reservation_free(own);
    hive_reservation_free(caller.held);
    CHECK_EQ(totals(caller.registry).reservations_open, 0);

    /* The worker shown first outlives the call and the registry. */
    hive_registry_free(caller.registry);
    CHECK_EQ(hive_worker_id(caller.kept).len, 1);
    CHECK_EQ(hive_worker_id(caller.kept).ptr[0], caller.first);
    hive_worker_free(caller.kept);
    hive_clock_free(clock);
}

static bool removes_its_hive(void *user, const hive_candidate_t *candidate, double *out_score) {
    hive_str_t hive = hive_worker_hive_id(candidate->worker);
    hive_registry_remove_hive(user, hive.ptr, hive.len);
    *out_score = 0;
    return true;
}

static void who_went_while_it_was_looked_at_is_not_picked(void) {
    hive_clock_t *clock = clock_new();
    hive_registry_t *registry = fleet(clock);
    hive_policy_t policy = {
        .kind = HIVE_POLICY_SCORE, .score = removes_its_hive, .user = registry};
    CHECK_EQ(picks(registry, &policy), '-');
    CHECK_EQ(hive_count(registry), 0);
    hive_registry_free(registry);
    hive_clock_free(clock);
}

/* The first letter, times what the user says. */
static bool by_name(void *user, const hive_candidate_t *candidate, double *out_score) {
    *out_score = *(const int *)user * (double)hive_worker_id(candidate->worker).ptr[0];
    return true;
}

/* "a" is full and still ranked, for nobody has looked since: it leaves its place to "c". */
static void who_is_full_hides_nobody(void) {
    hive_clock_t *clock = clock_new();
    hive_registry_t *registry = fleet(clock);
    hive_worker_report_t workers[] = {worker("a", "m"), worker("b", "m"), worker("c", "m")};
    workers[0].gpu_percent = (hive_opt_f32_t){true, 30};
    workers[0].max_concurrency = (hive_opt_u32_t){true, 1};
    beat(registry, "gpu-1", 1, workers, 3);
    int way = 1;
    hive_policy_t policy = {.kind = HIVE_POLICY_SCORE, .score = by_name, .user = &way};
    hive_reservation_t *held = NULL;
    CHECK_STATUS(hive_registry_reserve_with(registry, TEXT("m"), &policy, &held), HIVE_OK);
    CHECK_EQ(hive_worker_id(hive_reservation_worker(held)).ptr[0], 'a');
    way = -1;
    CHECK_EQ(picks(registry, &policy), 'c');
    hive_reservation_free(held);
    hive_registry_free(registry);
    hive_clock_free(clock);
}

/* What a callback that is shown all answers; whom it saw. */
typedef struct {
    char wanted;
    int calls;
    int seen;
    hive_worker_t *kept;
} chooser_t;

static bool names_one(void *user, const hive_candidates_t *candidates, size_t *out_at) {
    chooser_t *chooser = user;
    hive_candidate_t shown[3];
    size_t len = hive_candidates_len(candidates);
    CHECK_EQ(len, 3);
    CHECK(!hive_candidates_get(candidates, len, &shown[0]));
    chooser->calls++;
    chooser->seen = 0;
    for (size_t at = len; at-- > 0;)
        chooser->seen += hive_candidates_get(candidates, at, &shown[at]);
    /* All of them are valid until the policy returns. */
    for (size_t at = 0; at < len; at++) {
        char name = hive_worker_id(shown[at].worker).ptr[0];
        const uint64_t loads[] = {300, 100, 200};
        CHECK_EQ(shown[at].load, loads[name - 'a']);
        if (name == chooser->wanted) {
            hive_worker_free(chooser->kept);
            chooser->kept = hive_worker_clone(shown[at].worker);
            *out_at = at;
            return true;
        }
    }
    return false;
}

static void a_callback_that_is_shown_all_chooses(void) {
    hive_clock_t *clock = clock_new();
    hive_registry_t *registry = fleet(clock);
    for (const char *name = "abc-"; *name != 0; name++) {
        chooser_t chooser = {.wanted = *name};
        hive_policy_t policy = {.kind = HIVE_POLICY_CHOOSE, .choose = names_one, .user = &chooser};
        CHECK_EQ(picks(registry, &policy), *name);
        CHECK_EQ(chooser.calls, 1);
        CHECK_EQ(chooser.seen, 3);
        CHECK((chooser.kept == NULL) == (*name == '-'));
        hive_worker_free(chooser.kept);
    }
    hive_registry_free(registry);
    hive_clock_free(clock);
}

/* Looks at one place twice, and whoever was there first goes in between: nobody else has the record of one that is not the
   best. */
static bool outlives(void *user, const hive_candidates_t *candidates, size_t *out_at) {
    (void)out_at;
    hive_candidate_t first, second;
    CHECK(hive_candidates_get(candidates, 1, &first));
    hive_str_t name = hive_worker_id(first.worker);
    char gone[32];
    snprintf(gone, sizeof gone, "%.*s", (int)name.len, name.ptr);
    CHECK_STATUS(hive_registry_remove_hive(
                     user, HIVE_STR_ARGS(hive_worker_hive_id(first.worker))),
                 HIVE_OK);
    CHECK(hive_candidates_get(candidates, 1, &second));
    CHECK(first.worker != second.worker);
    CHECK_STR(name, gone);
    return false;
}

static void who_was_shown_is_valid_until_the_policy_returns(void) {
    hive_clock_t *clock = clock_new();
    hive_registry_t *registry = registry_on(clock);
    hive_worker_report_t reports[] = {worker("best", "m"), worker("goes", "m"), worker("stays", "m")};
    static const char *const hives[] = {"gpu-1", "gpu-2", "gpu-3"};
    for (size_t at = 0; at < LEN(hives); at++) {
        reports[at].gpu_percent = (hive_opt_f32_t){true, (float)at};
        beat(registry, hives[at], 0, &reports[at], 1);
    }
    hive_policy_t policy = {.kind = HIVE_POLICY_CHOOSE, .choose = outlives, .user = registry};
    CHECK_EQ(picks(registry, &policy), '-');
    CHECK_EQ(hive_count(registry), 2);
    hive_registry_free(registry);
    hive_clock_free(clock);
}

/* Says yes, and names nobody. */
static bool names_nobody(void *user, const hive_candidates_t *candidates, size_t *out_at) {
    ++*(int *)user;
    *out_at = hive_candidates_len(candidates);
    return true;
}

static bool says_yes(void *user, const hive_candidates_t *candidates, size_t *out_at) {
    (void)candidates, (void)out_at;
    ++*(int *)user;
    return true;
}

static void a_place_where_there_is_nobody_is_asked_for_again(void) {
    hive_clock_t *clock = clock_new();
    hive_registry_t *registry = fleet(clock);
    hive_choose_t odd[] = {names_nobody, says_yes};
    for (size_t at = 0; at < LEN(odd); at++) {
        int calls = 0;
        hive_policy_t policy = {.kind = HIVE_POLICY_CHOOSE, .choose = odd[at], .user = &calls};
        CHECK_EQ(picks(registry, &policy), '-');
        CHECK_EQ(calls, 64);
    }
    hive_registry_free(registry);
    hive_clock_free(clock);
}

static bool draws(void *user, const hive_candidates_t *candidates, size_t *out_at) {
    hive_candidate_t drawn;
    CHECK(!hive_candidates_random(candidates, NULL, &drawn));
    CHECK(!hive_candidates_random(candidates, out_at, NULL));
    CHECK(hive_candidates_random(candidates, out_at, &drawn));
    *(char *)user = hive_worker_id(drawn.worker).ptr[0];
    return true;
}

static void a_callback_may_draw_one(void) {
    hive_clock_t *clock = clock_new();
    hive_registry_t *registry = fleet(clock);
    int drawn[3] = {0};
    char told = 0;
    hive_policy_t policy = {.kind = HIVE_POLICY_CHOOSE, .choose = draws, .user = &told};
    for (int at = 0; at < 256; at++) {
        CHECK_EQ(picks(registry, &policy), told);
        drawn[told - 'a']++;
    }
    CHECK(drawn[0] > 0 && drawn[1] > 0 && drawn[2] > 0);
    hive_registry_free(registry);
    hive_clock_free(clock);
}

/* Eight threads reserve, and "z", the best by the default rule, is passed over by each. */
enum { RIVALS = 8 };

static bool all_but_z(void *user, const hive_candidate_t *candidate, double *out_score) {
    (void)user;
    /* Others reserve between this look and the choice. */
    sched_yield();
    *out_score = (double)candidate->reservations;
    return hive_worker_id(candidate->worker).ptr[0] != 'z';
}

static bool nobody(void *user, const hive_candidate_t *candidate, double *out_score) {
    (void)user, (void)candidate;
    *out_score = 0;
    return false;
}

static bool all_but_z_at_once(void *user, const hive_candidates_t *candidates, size_t *out_at) {
    hive_candidate_t candidate, best = {0};
    double score = 0;
    for (size_t at = hive_candidates_len(candidates); at-- > 0;) {
        if (hive_candidates_get(candidates, at, &candidate) &&
            all_but_z(user, &candidate, &score) &&
            (best.worker == NULL || candidate.reservations < best.reservations)) {
            best = candidate;
            *out_at = at;
        }
    }
    return best.worker != NULL;
}

static void *contends(void *argument) {
    const hive_registry_t *registry = argument;
    const hive_policy_t policies[] = {
        {.kind = HIVE_POLICY_SCORE, .score = all_but_z},
        {.kind = HIVE_POLICY_CHOOSE, .choose = all_but_z_at_once},
        {.kind = HIVE_POLICY_SCORE, .score = nobody},
    };
    const char *asked = getenv("HIVE_ITERATIONS");
    for (int round = asked != NULL ? atoi(asked) : 2000; round > 0; round--) {
        hive_reservation_t *held = NULL;
        for (size_t at = 0; at < 2; at++) {
            /* Each has room at any time, whatever its count became. */
            CHECK_STATUS(hive_registry_reserve_with(registry, TEXT("m"), &policies[at], &held),
                         HIVE_OK);
            CHECK(hive_worker_id(hive_reservation_worker(held)).ptr[0] != 'z');
            hive_reservation_free(held);
        }
        held = NULL;
        CHECK_STATUS(hive_registry_reserve_with(registry, TEXT("m"), &policies[2], &held),
                     HIVE_NONE);
        CHECK(held == NULL);
    }
    return NULL;
}

static void who_is_passed_over_is_not_chosen_under_contention(void) {
    hive_clock_t *clock = clock_new();
    hive_registry_t *registry = registry_on(clock);
    hive_worker_report_t workers[] = {worker("a", "m"), worker("b", "m"), worker("z", "m")};
    workers[0].gpu_percent = workers[1].gpu_percent = (hive_opt_f32_t){true, 99};
    workers[2].max_concurrency = (hive_opt_u32_t){true, 1000000};
    beat(registry, "gpu-1", 0, workers, 3);
    CHECK_EQ(picks(registry, NULL), 'z');
    pthread_t threads[RIVALS];
    for (size_t at = 0; at < RIVALS; at++)
        CHECK_EQ(pthread_create(&threads[at], NULL, contends, registry), 0);
    for (size_t at = 0; at < RIVALS; at++)
        CHECK_EQ(pthread_join(threads[at], NULL), 0);
    CHECK_EQ(totals(registry).reservations_open, 0);
    hive_registry_free(registry);
    hive_clock_free(clock);
}

static void what_means_nothing_is_refused(void) {
    hive_clock_t *clock = clock_new();
    hive_registry_t *registry = fleet(clock);
    hive_worker_t *picked = NULL;
    hive_reservation_t *held = NULL;
    hive_policy_t policy = {.kind = 6};
    const char *message = "policy.kind: 6 refused: a hive_policy_kind_t, 0 to 5";
    CHECK_REFUSED(hive_registry_pick(registry, TEXT("m"), &policy, &picked),
                  HIVE_INVALID_ARGUMENT, message);
    CHECK_REFUSED(hive_registry_reserve_with(registry, TEXT("m"), &policy, &held),
                  HIVE_INVALID_ARGUMENT, message);
    policy.kind = HIVE_POLICY_SCORE;
    message = "policy.score: NULL refused";
    CHECK_REFUSED(hive_registry_pick(registry, TEXT("m"), &policy, &picked),
                  HIVE_NULL_ARGUMENT, message);
    CHECK_REFUSED(hive_registry_reserve_with(registry, TEXT("m"), &policy, &held),
                  HIVE_NULL_ARGUMENT, message);
    policy.kind = HIVE_POLICY_CHOOSE;
    message = "policy.choose: NULL refused";
    CHECK_REFUSED(hive_registry_pick(registry, TEXT("m"), &policy, &picked),
                  HIVE_NULL_ARGUMENT, message);
    CHECK(picked == NULL && held == NULL);
    CHECK_EQ(totals(registry).picks + totals(registry).misses, 0);
    hive_registry_free(registry);
    hive_clock_free(clock);
}

int main(void) {
    the_rules_that_are_built_in();
    the_lowest_score_wins();
    equal_scores_go_round();
    who_is_passed_over_is_not_chosen_after_lost_races();
    a_score_that_is_not_written_passes_over();
    a_score_may_call_the_registry();
    who_went_while_it_was_looked_at_is_not_picked();
    who_is_full_hides_nobody();
    a_callback_that_is_shown_all_chooses();
    who_was_shown_is_valid_until_the_policy_returns();
    a_place_where_there_is_nobody_is_asked_for_again();
    a_callback_may_draw_one();
    who_is_passed_over_is_not_chosen_under_contention();
    what_means_nothing_is_refused();
    return 0;
}

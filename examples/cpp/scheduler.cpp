// A scheduler: reads heartbeats and requests, and says which worker takes each request.
//
//     scheduler [--clock recorded|arrival] [--hold N] [--help] <FILE
//
// Input, one line each; blanks around a line do not matter, and an empty line is passed over:
//
//     {"request": "MODEL"}    exactly so, MODEL being one byte or more, none of them a quote or a backslash
//     anything else           a heartbeat in JSON, of either form, as hives send it
//
// A line that begins with {"request" and is not of that form, and a line that the library refuses, is bad: standard
// error is told
//
//     scheduler: line N: MESSAGE
//
// with the library's message or `not of the form {"request": "MODEL"}`, and the program goes on, to exit with 1.
//
// Output, flushed after each line. For each request one of
//
//     MODEL -> URL (HIVE/WORKER)
//     MODEL -> nobody: WHY
//
// URL is - where the worker has none. WHY is `N workers` (`1 worker`), those that have the model loaded, and then, of
// `, N full`, `, N stale`, `, N unhealthy`, `, N loading`, `, N draining`, `, N other`, in this order, those that are
// not 0. At the end
//
//     heartbeats N, requests N: HIVE/WORKER N, HIVE/WORKER N, nobody N
//
// with the heartbeats that the library took, superseded ones included, the requests that were not bad, and how many of
// these each worker got, sorted by the bytes of "HIVE/WORKER"; nobody last, only where that is not 0; and nothing from
// the colon on where there were no requests.
//
// --clock recorded, the default, goes by the time of the heartbeats: before one is given to the library the clock goes
// to its "timestamp", never back, and a refused one moves no time. --clock arrival goes by the system's clock.
//
// A reservation is held to the end of the input; with --hold N the oldest is released when there are more than N.
//
// Exits with 0, with 1 if a line was bad, with 2 if the arguments were.

#include <charconv>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <exception>
#include <iostream>
#include <limits>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

#include "hive_registry.hpp"

namespace {

constexpr std::string_view USAGE = "usage: scheduler [--clock recorded|arrival] [--hold N] [--help] <FILE\n";

struct Options {
    bool recorded = true;
    std::size_t hold = std::numeric_limits<std::size_t>::max();
};

std::string_view trimmed(std::string_view line) {
    constexpr std::string_view BLANKS = " \t\r\n";
    const std::size_t first = line.find_first_not_of(BLANKS);
    return first == line.npos ? "" : line.substr(first, line.find_last_not_of(BLANKS) - first + 1);
}

template <class Number>
bool number(std::string_view text, Number& out) {
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), out);
    return !text.empty() && error == std::errc() && end == text.data() + text.size();
}

// === the recorded time ===

/// So many digits at `at`.
bool digits(std::string_view text, std::size_t at, std::size_t count, int& out) {
    const std::string_view part = at < text.size() ? text.substr(at, count) : "";
    return part.size() == count && part.find_first_not_of("0123456789") == part.npos && number(part, out);
}

/// Days from 1970-01-01 to a day of the Gregorian calendar.
std::int64_t days(std::int64_t year, int month, int day) {
    year -= month <= 2 ? 1 : 0;  // A year begins in March here, so that the leap day is its last.
    const std::int64_t day_of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
    return year * 365 + year / 4 - year / 100 + year / 400 + day_of_year - 719'468;
}

/// RFC 3339: "2025-10-21T10:00:00.25+02:00". Days of the month are left to the library to check.
std::optional<hive::Time> parsed(std::string_view text) {
    int year, month, day, hour, minute, second;
    if (!digits(text, 0, 4, year) || !digits(text, 5, 2, month) || !digits(text, 8, 2, day) ||
        !digits(text, 11, 2, hour) || !digits(text, 14, 2, minute) || !digits(text, 17, 2, second) || month < 1 ||
        month > 12) {
        return std::nullopt;
    }
    std::size_t at = 19;
    int millis = 0;
    if (at < text.size() && text[at] == '.') {
        for (int unit = 100; ++at < text.size() && text[at] >= '0' && text[at] <= '9'; unit /= 10) {
            millis += unit * (text[at] - '0');
        }
    }
    int hours = 0, minutes = 0;
    const char zone = at < text.size() ? text[at] : '\0';
    const bool is_offset = zone == '+' || zone == '-';
    if (is_offset ? !digits(text, at + 1, 2, hours) || !digits(text, at + 4, 2, minutes) : zone != 'Z' && zone != 'z') {
        return std::nullopt;
    }
    const int offset = (zone == '-' ? -60 : 60) * (hours * 60 + minutes);
    const std::int64_t seconds = days(year, month, day) * 86'400 + hour * 3'600 + minute * 60 + second - offset;
    return hive::Time(hive::milliseconds(seconds * 1'000 + millis));
}

/// The time of a heartbeat: what follows the key "timestamp". The library says what is wrong if there is none.
std::optional<hive::Time> timestamp(std::string_view heartbeat) {
    constexpr std::string_view KEY = "\"timestamp\"";
    for (std::size_t at = heartbeat.find(KEY); at != heartbeat.npos; at = heartbeat.find(KEY, at)) {
        at += KEY.size();
        std::string_view rest = trimmed(heartbeat.substr(at));
        if (rest.substr(0, 1) == ":") {
            rest = trimmed(rest.substr(1));
            return rest.substr(0, 1) == "\"" ? parsed(rest.substr(1, rest.find('"', 1) - 1)) : std::nullopt;
        }
    }
    return std::nullopt;
}

// === the scheduler ===

class Scheduler {
public:
    explicit Scheduler(const Options& options)
        : options_(options), clock_(hive::Time{}), registry_(config(options, clock_)) {}

    /// False if the line was bad.
    bool line(std::size_t number, std::string_view line) {
        constexpr std::string_view BEGIN = "{\"request\"", BEFORE = "{\"request\": \"", AFTER = "\"}";
        try {
            if (line.substr(0, BEGIN.size()) != BEGIN) {
                heartbeat(line);
                return true;
            }
            if (line.size() > BEFORE.size() + AFTER.size() && line.substr(0, BEFORE.size()) == BEFORE &&
                line.substr(line.size() - AFTER.size()) == AFTER) {
                line.remove_prefix(BEFORE.size());
                line.remove_suffix(AFTER.size());
                if (line.find_first_of("\"\\") == line.npos) {
                    request(line);
                    return true;
                }
            }
            std::cerr << "scheduler: line " << number << ": not of the form {\"request\": \"MODEL\"}\n";
        } catch (const hive::Error& error) {
            std::cerr << "scheduler: line " << number << ": " << error.what() << '\n';
        }
        return false;
    }

    void summary() const {
        std::cout << "heartbeats " << heartbeats_ << ", requests " << requests_;
        const char* between = ": ";
        for (const auto& [worker, count] : spread_) {
            std::cout << between << worker << ' ' << count;
            between = ", ";
        }
        if (nobody_ > 0) {
            std::cout << between << "nobody " << nobody_;
        }
        std::cout << std::endl;
    }

private:
    static hive::Config config(const Options& options, const hive::ManualClock& clock) {
        hive::Config config;
        if (options.recorded) {
            config.clock = &clock;
        } else {
            config.liveness_clock = hive::Liveness::arrival;
        }
        return config;
    }

    void heartbeat(std::string_view line) {
        const hive::Time before = clock_.wall();
        if (const auto time = timestamp(line); time && *time > before) {
            clock_.set(*time);
        }
        try {
            registry_.ingest_json(line);
        } catch (const hive::Error&) {
            clock_.set(before);
            throw;
        }
        ++heartbeats_;
    }

    void request(std::string_view model) {
        auto reservation = registry_.reserve_worker_for_model(model);
        ++requests_;
        std::cout << model << " -> ";
        if (!reservation) {
            std::cout << "nobody: " << why(model) << std::endl;
            ++nobody_;
            return;
        }
        const hive::WorkerView worker = reservation->worker();
        const std::string name = std::string(worker.hive_id()) + "/" + std::string(worker.id());
        std::cout << worker.url().value_or("-") << " (" << name << ")" << std::endl;
        ++spread_[name];
        held_.push_back(std::move(*reservation));
        if (held_.size() > options_.hold) {
            held_.pop_front();
        }
    }

    std::string why(std::string_view model) const {
        const hive::Explanation told = registry_.explain(model);
        std::string text = std::to_string(told.workers) + (told.workers == 1 ? " worker" : " workers");
        const std::pair<std::size_t, const char*> reasons[] = {
            {told.full, "full"},       {told.stale, "stale"},       {told.unhealthy, "unhealthy"},
            {told.loading, "loading"}, {told.draining, "draining"}, {told.other, "other"},
        };
        for (const auto& [count, reason] : reasons) {
            if (count > 0) {
                text += ", " + std::to_string(count) + " " + reason;
            }
        }
        return text;
    }

    Options options_;
    /// Moves under --clock arrival, too, but nobody goes by it there.
    hive::ManualClock clock_;
    hive::Registry registry_;
    std::deque<hive::Reservation> held_;
    std::map<std::string, std::uint64_t> spread_;
    std::uint64_t heartbeats_ = 0, requests_ = 0, nobody_ = 0;
};

}  // namespace

int main(int argc, char** argv) {
    Options options;
    for (int at = 1; at < argc; at += 2) {
        const std::string_view option = argv[at];
        const std::string_view value = at + 1 < argc ? argv[at + 1] : "";
        if (option == "--help") {
            std::cout << USAGE;
            return 0;
        }
        if (option == "--clock" && (value == "recorded" || value == "arrival")) {
            options.recorded = value == "recorded";
        } else if (option != "--hold" || !number(value, options.hold)) {
            std::cerr << USAGE;
            return 2;
        }
    }

    bool all_good = true;
    try {
        Scheduler scheduler(options);
        std::string line;
        for (std::size_t number = 1; std::getline(std::cin, line); ++number) {
            const std::string_view text = trimmed(line);
            all_good = (text.empty() || scheduler.line(number, text)) && all_good;
        }
        scheduler.summary();
    } catch (const std::exception& error) {
        std::cerr << "scheduler: " << error.what() << '\n';
        return 1;
    }
    return all_good && std::cout ? 0 : 1;
}
